/** At which authorization server a user logs in, and at which never. */
import { describe, expect, test } from "vitest";
import type { McpAuthError } from "../../src/errors.ts";
import type { AuthEvent } from "../../src/events.ts";
import { findLoginServer } from "../../src/login/login-server.ts";
import type { LoginOptions } from "../../src/login/options.ts";
import { createSession } from "../../src/login/session.ts";
import { MemoryStore } from "../../src/stores/memory.ts";
import { serverUrl, TestClock } from "../answers/support.ts";
import { world } from "../discovery/support.ts";

const net = world();

/** What a search ends with, where the protected server names this issuer. */
async function search(issuer: string, options: Partial<LoginOptions> = {}, metadata: object = {}) {
  const { origin, pathname } = new URL(issuer);
  net.serve({
    "https://mcp.example/.well-known/oauth-protected-resource/mcp": { resource: serverUrl, authorization_servers: [issuer] },
    [`${origin}/.well-known/oauth-authorization-server${pathname.replace(/\/$/, "")}`]: {
      issuer,
      authorization_endpoint: `${issuer}/authorize`,
      token_endpoint: `${issuer}/token`,
      code_challenge_methods_supported: ["S256"],
      ...metadata,
    },
  });
  const events: AuthEvent[] = [];
  const store = new MemoryStore();
  const session = createSession({ serverUrl, store, clock: new TestClock(), onEvent: (event) => void events.push(event), ...options });
  let error: McpAuthError | undefined;
  const found = await findLoginServer(session, { signal: new AbortController().signal }).then(
    (discovery) => discovery.issuer,
    (reason) => {
      error = reason;
      return reason.code;
    },
  );
  return { found, error, events, isKept: (await store.keys("servers/")).length > 0 };
}

describe("a profile that deviates", () => {
  test.each([
    ["https://login.microsoftonline.com/tenant/v2.0", "Microsoft Entra ID"],
    ["https://acme.eu.auth0.com", "Auth0"],
  ])("%s: the app hears of it", async (issuer, detail) => {
    const { found, events } = await search(issuer);
    expect(found).toBe(issuer);
    expect(events).toContainEqual(expect.objectContaining({ type: "discovery.concession", concession: "profile", issuer, detail }));
  });

  test("none, and nothing is said", async () => {
    const { events } = await search("https://as.example");
    expect(events.filter(({ type }) => type === "discovery.concession")).toEqual([]);
  });
});

test.each<[rule: string, options: Partial<LoginOptions>, metadata: object, found: string, isKept: boolean]>([
  ["without PKCE there is no login by browser", {}, { code_challenge_methods_supported: ["plain"] }, "pkce_unsupported", false],
  [
    "by device code there is: nothing can be intercepted",
    { onDeviceCode: () => {} },
    { code_challenge_methods_supported: undefined, device_authorization_endpoint: "https://as.example/device" },
    "https://as.example",
    true,
  ],
  ["the one that the app insists on", { issuer: "https://as.example" }, {}, "https://as.example", true],
  ["nor where it is not listed at all", {}, { code_challenge_methods_supported: undefined }, "pkce_unsupported", false],
  [
    "unless the app says that it is supported",
    { assumePkce: ["https://as.example/"] },
    { code_challenge_methods_supported: undefined },
    "https://as.example",
    true,
  ],
  [
    "which says nothing about other servers",
    { assumePkce: ["https://other.example"] },
    { code_challenge_methods_supported: undefined },
    "pkce_unsupported",
    false,
  ],
  ["without authorization endpoint there is no login by browser", {}, { authorization_endpoint: "" }, "discovery_failed", false],
  [
    "by device code there is",
    { onDeviceCode: () => {} },
    { authorization_endpoint: "", device_authorization_endpoint: "https://as.example/device" },
    "https://as.example",
    true,
  ],
  [
    "without token endpoint there is none at all",
    { onDeviceCode: () => {} },
    { token_endpoint: "", device_authorization_endpoint: "https://as.example/device" },
    "discovery_failed",
    false,
  ],
  ["not another one", { issuer: "https://other.example" }, {}, "issuer_mismatch", false],
])("%s", async (_rule, options, metadata, found, isKept) => {
  expect(await search("https://as.example", options, metadata)).toMatchObject({ found, isKept });
});

test("the hint about PKCE names the option", async () => {
  const { error } = await search("https://as.example", {}, { code_challenge_methods_supported: [] });
  expect(error?.hint).toContain("`assumePkce`");
});
