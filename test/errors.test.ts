import { inspect } from "node:util";
import { describe, expect, test } from "vitest";
import { aboutServer, McpAuthError, type McpAuthErrorCode, type McpAuthErrorParty } from "../src/errors.ts";
import { LoginRequiredError } from "../src/index.ts";
import { MemoryStore } from "../src/stores/memory.ts";
import { manager, startServer } from "./storm/support.ts";

const facts = { serverUrl: "https://mcp.example/mcp?key=1", status: 401, detail: "`a` is missing" };

describe("message and hint", () => {
  test("`message` says what happened and where; the hint stands apart; whoever prints the error sees both", () => {
    const error = new McpAuthError("invalid_option", facts);
    expect(error.message).toBe("An option is wrong: `a` is missing (server https://mcp.example/mcp, status 401).");
    expect(error.hint).toBe("Correct the option.");
    expect(String(error)).toBe(`McpAuthError: ${error.message} ${error.hint}`);
    expect(inspect(error)).toContain(error.message);
    expect(inspect(error)).toContain(error.hint);
    expect(String(new LoginRequiredError())).toMatch(/^LoginRequiredError: /);
  });

  test("a hint of its own takes the place of the code's", () => {
    expect(new McpAuthError("login_required", { hint: "Call `authorize()` first." }).hint).toBe("Call `authorize()` first.");
  });

  test("the server that was learnt late is in message and stack as if it had been known", () => {
    const late = new McpAuthError("invalid_option", { ...facts, serverUrl: undefined });
    const [where] = late.stack?.split("\n").slice(1) ?? [];
    expect(aboutServer(late, facts.serverUrl)).toBe(late);
    expect(late).toMatchObject({ message: new McpAuthError("invalid_option", facts).message, serverUrl: "https://mcp.example/mcp" });
    expect(late.stack?.split("\n").slice(0, 2)).toEqual([
      expect.stringMatching(/Error: An option .* \(server https:\/\/mcp\.example\/mcp, status 401\)\.$/),
      where,
    ]);
    // Whose server is known stays there.
    expect(aboutServer(late, "https://other.example").message).toBe(late.message);
    expect(Object.keys(late)).not.toContain("message");
  });

  test("`lastError` names the server, wherever the error came from", async () => {
    const server = await startServer();
    const { auth } = manager(server, { fetch: () => Promise.reject(new TypeError("fetch failed")) });
    await auth.authorize().catch(() => {});
    expect(auth.lastError?.message).toContain(`(server ${server.url})`);
    const closed = manager(server, {
      store: Object.assign(new MemoryStore(), { get: () => Promise.reject(new McpAuthError("store_failed")) }),
    });
    await closed.auth.getAccessToken().catch(() => {});
    expect(closed.auth.lastError?.message).toEqual(expect.stringContaining(`(server ${server.url})`));
  });
});

describe("party: at whom it failed", () => {
  test.each<[McpAuthErrorCode, McpAuthErrorParty]>([
    ["invalid_option", "app"],
    ["authorization_denied", "user"],
    ["login_timeout", "user"],
    ["store_failed", "machine"],
    ["lock_timeout", "machine"],
    ["network_error", "network"],
    ["token_refused", "server"],
    ["not_an_mcp_response", "server"],
    ["server_error", "server"],
    ["invalid_client", "authorization-server"],
    ["invalid_grant", "authorization-server"],
  ])("%s: %s", (code, party) => expect(new McpAuthError(code).party).toBe(party));

  test("where the code alone does not say it, the error does", () => {
    expect(new McpAuthError("server_error", { party: "authorization-server" }).party).toBe("authorization-server");
  });
});
