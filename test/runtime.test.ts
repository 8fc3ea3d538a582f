import { afterEach, describe, expect, test } from "vitest";
import manifest from "../package.json" with { type: "json" };
import { BearerCredential } from "../src/credentials/index.ts";
import { McpAuthError } from "../src/errors.ts";
import { discoverAuthorizationServer, MemoryStore, TokenManager } from "../src/index.ts";
import { MachineTokenManager } from "../src/machine/index.ts";
import { createMcpAuth, keychainStore, sqliteStore } from "../src/node/index.ts";
import { WebSocketTransport } from "../src/transports/websocket/websocket.ts";

const serverUrl = "https://mcp.example/mcp";

/** What a runtime of yesterday lacks; put back after each test. */
const lack = (owner: object, member: string) => {
  const own = Object.getOwnPropertyDescriptor(owner, member);
  if (!own) throw new Error(`${member} is not here either`);
  putBack = () => Object.defineProperty(owner, member, own);
  Reflect.deleteProperty(owner, member);
};
let putBack = () => {};
afterEach(() => {
  putBack();
  putBack = () => {};
});

const errorOf = async (action: () => unknown): Promise<McpAuthError> => {
  try {
    await action();
  } catch (error) {
    if (error instanceof McpAuthError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
};

describe("a runtime that is too old is named at the door", () => {
  const doors: Record<string, () => unknown> = {
    createMcpAuth: () => createMcpAuth(serverUrl, { interactive: false, store: new MemoryStore() }),
    TokenManager: () => new TokenManager({ serverUrl }),
    MachineTokenManager: () => new MachineTokenManager({ serverUrl, clientId: "a", clientSecret: "b" }),
    BearerCredential: () => new BearerCredential({ serverUrl, token: "abc" }),
    WebSocketTransport: () => new WebSocketTransport("wss://mcp.example/ws"),
    discoverAuthorizationServer: () => discoverAuthorizationServer("https://as.example"),
  };
  const members = [
    ["URL.parse", URL, "parse"],
    ["Promise.withResolvers", Promise, "withResolvers"],
    ["Map.groupBy", Map, "groupBy"],
  ] as const;
  const rows = Object.entries(doors).flatMap(([door, open]) =>
    members.map(([name, owner, member]) => ({ door, open, name, owner, member })),
  );
  test.each(rows)("$door without $name", async ({ open, name, owner, member }) => {
    lack(owner, member);
    const error = await errorOf(open);
    expect(error.code).toBe("unsupported_runtime");
    expect(error.message).toContain(`Node ${process.versions.node} has no \`${name}\``);
    expect(error.transient).toBe(false);
  });

  test("the hint names the version that package.json wants", async () => {
    const error = await errorOf(() => {
      lack(Promise, "withResolvers");
      new TokenManager({ serverUrl });
    });
    expect(`>=${/\d+\.\d+/.exec(error.hint)?.[0]}`).toBe(manifest.engines.node);
  });

  // Others tell the version of the Node which they imitate, too; a browser has no `process`.
  test.each([
    [{ versions: { node: "24.3.0", bun: "1.3.0" } }, "Bun 1.3.0 has no `Promise.withResolvers`"],
    [{ versions: { node: "24.3.0", deno: "2.5.0" } }, "Deno 2.5.0 has no `Promise.withResolvers`"],
    [undefined, `${navigator.userAgent} has no \`Promise.withResolvers\``],
  ])("a runtime with process %j", (process, message) => {
    lack(Promise, "withResolvers");
    const own = globalThis.process;
    Reflect.set(globalThis, "process", process);
    let error: unknown;
    try {
      new TokenManager({ serverUrl });
    } catch (thrown) {
      error = thrown;
    } finally {
      globalThis.process = own;
    }
    expect(String(error)).toContain(message);
  });
});

describe("without `node:sqlite`", () => {
  const withoutSqlite = () => {
    const { getBuiltinModule } = process;
    putBack = () => {
      process.getBuiltinModule = getBuiltinModule;
    };
    process.getBuiltinModule = ((name: string) => (name === "node:sqlite" ? undefined : getBuiltinModule(name))) as typeof getBuiltinModule;
  };

  test.each([
    ["sqliteStore", sqliteStore],
    ["keychainStore", keychainStore],
  ] as const)("%s says so with its first use, a read that would find nothing included", async (_name, create) => {
    withoutSqlite();
    const error = await errorOf(() => create({ app: "runtime-test" }).get("tokens"));
    expect(error.message).toBe(`This runtime cannot be used: Node ${process.versions.node} has no \`node:sqlite\`.`);
    expect(error.hint).toBe("Pass a `store`, or use Node 22.13 or newer.");
  });

  test("a login fails with it, before anything is requested", async () => {
    withoutSqlite();
    const requests: unknown[] = [];
    const fetch: typeof globalThis.fetch = async (input) => {
      requests.push(input);
      return new Response();
    };
    const auth = createMcpAuth(serverUrl, { interactive: true, fetch });
    expect((await errorOf(() => auth.authorize())).code).toBe("unsupported_runtime");
    expect(requests).toEqual([]);
  });
});
