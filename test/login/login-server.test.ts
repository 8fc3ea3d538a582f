/** At which authorization server a user logs in, and at which never. */
import { describe, expect, test } from "vitest";
import type { AuthorizationServerMetadata } from "../../src/discovery/server-metadata.ts";
import type { McpAuthError } from "../../src/errors.ts";
import type { AuthEvent } from "../../src/events.ts";
import { findLoginServer } from "../../src/login/login-server.ts";
import { requireSupportedPkce } from "../../src/login/needs.ts";
import type { LoginOptions } from "../../src/login/options.ts";
import { createSession } from "../../src/login/session.ts";
import { storedLoginServer } from "../../src/login/stored-server.ts";
import { MemoryStore } from "../../src/stores/memory.ts";
import { serverMetadata } from "../../src/tokens/known-server.ts";
import { hasMoved } from "../../src/tokens/moved-server.ts";
import { serverUrl, TestClock } from "../answers/support.ts";
import { world } from "../discovery/support.ts";

const net = world();
const cognito = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_abc";

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

describe("an authorization server that the app describes", () => {
  const [issuer, authorizationEndpoint, tokenEndpoint] = ["https://as.example", "https://as.example/a", "https://as.example/t"];
  const metadataUrl = "https://as.example/metadata.json";

  test.each<[rule: string, options: Partial<LoginOptions>, code: string]>([
    ["no issuer", { authorizationEndpoint, tokenEndpoint }, "invalid_option"],
    ["no token endpoint", { issuer, authorizationEndpoint }, "invalid_option"],
    ["no authorization endpoint", { issuer, tokenEndpoint }, "invalid_option"],
    ["plain http", { issuer, authorizationEndpoint, tokenEndpoint: "http://as.example/t" }, "insecure_url"],
    ["a script", { issuer, authorizationEndpoint: "javascript:alert(1)", tokenEndpoint }, "invalid_url"],
    ["metadata by plain http", { metadataUrl: "http://as.example/metadata.json" }, "insecure_url"],
  ])("is refused where it is passed: %s", (_, options, code) => {
    expect(() => createSession({ serverUrl, ...options })).toThrow(expect.objectContaining({ code, party: "app" }));
  });

  test.each<[rule: string, options: Partial<LoginOptions>]>([
    ["endpoints", { issuer, authorizationEndpoint, tokenEndpoint }],
    ["metadata", { metadataUrl }],
  ])("%s: the protected server's list neither replaces it nor moves its logins", async (_, options) => {
    net.serve({ [metadataUrl]: { issuer, authorization_endpoint: authorizationEndpoint, token_endpoint: tokenEndpoint } });
    const { found } = await search("https://listed.example", { assumePkce: [issuer], ...options });
    expect(found).toBe(issuer);
    const session = createSession({ serverUrl, ...options });
    expect(await hasMoved(session, { status: 401, challenges: [] }, issuer)).toBe(false);
    expect(await storedLoginServer(session)).toBeUndefined();
  });

  test("of its own place metadata are renewed for a refresh; a login from elsewhere is refreshed where it came from", async () => {
    net.serve({ [metadataUrl]: { issuer, token_endpoint: tokenEndpoint } });
    const session = createSession({ serverUrl, metadataUrl, issuer });
    expect(await serverMetadata(session, { issuer, resource: serverUrl })).toMatchObject({ token_endpoint: tokenEndpoint });
    const former = "https://former.example";
    net.serve({ [`${former}/.well-known/oauth-authorization-server`]: { issuer: former, token_endpoint: `${former}/t` } });
    const another = createSession({ serverUrl, metadataUrl });
    expect(await serverMetadata(another, { issuer: former, resource: serverUrl })).toMatchObject({ token_endpoint: `${former}/t` });
  });

  test("for a login from elsewhere endpoints that are given do not count", async () => {
    const former = "https://former.example";
    net.serve({ [`${former}/.well-known/oauth-authorization-server`]: { issuer: former, token_endpoint: `${former}/t` } });
    const session = createSession({ serverUrl, issuer, authorizationEndpoint, tokenEndpoint });
    expect(await serverMetadata(session, { issuer, resource: serverUrl })).toMatchObject({ token_endpoint: tokenEndpoint });
    expect(await serverMetadata(session, { issuer: former, resource: serverUrl })).toMatchObject({ token_endpoint: `${former}/t` });
  });
});

test("the app hears what is assumed about PKCE, each time that the user is sent to a browser", async () => {
  const server = { issuer: "https://as.example" } as AuthorizationServerMetadata;
  const events: AuthEvent[] = [];
  const session = (options: Partial<LoginOptions>) => createSession({ serverUrl, onEvent: (event) => void events.push(event), ...options });
  requireSupportedPkce(session({ assumePkce: ["https://as.example"] }), server);
  requireSupportedPkce(session({}), { ...server, issuer: cognito });
  requireSupportedPkce(session({ assumePkce: ["https://as.example"] }), { ...server, code_challenge_methods_supported: ["S256"] });
  const concession = { type: "discovery.concession", concession: "pkce-not-listed", serverUrl };
  expect(events).toEqual([
    { ...concession, issuer: "https://as.example", detail: "`assumePkce`" },
    { ...concession, issuer: cognito, detail: "Amazon Cognito" },
  ]);
  expect(() => requireSupportedPkce(session({}), server)).toThrow(expect.objectContaining({ code: "pkce_unsupported" }));
});
