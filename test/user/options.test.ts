/** Options that decide whose login it is, where it is made, and what a profile may not decide. */
import { expect, test } from "vitest";
import { MemoryStore } from "../../src/index.ts";
import { createSession, requestProfile } from "../../src/login/session.ts";
import { startAuthorizationServer } from "../fixture/index.ts";
import { failure, manager, post, seed, startServer, toolRequest, userAtHand } from "../storm/support.ts";

test("a client ID that is given must match: another client's login is not used", async () => {
  const server = await startServer();
  const store = new MemoryStore();
  const tokens = await seed(server, store);
  expect(await manager(server, { store, clientId: tokens.clientId }).auth.getAccessToken()).toBe(tokens.accessToken);
  const other = manager(server, { store, clientId: "another" }).auth;
  expect((await failure(other.getAccessToken())).code).toBe("login_required");
  const given = { accessToken: "x", clientId: tokens.clientId };
  expect((await failure(other.setTokens(given))).code).toBe("invalid_option");
});

test.each([
  ["without issuer and client", {}],
  ["without the issuer", { clientId: "c" }],
  ["without the client", { issuer: "https://as.example" }],
])("a refresh token %s is not taken: nobody could use it", async (_what, parts) => {
  const store = new MemoryStore();
  const { auth } = manager({ url: "https://mcp.example/mcp" }, { store });
  const refused = await failure(auth.setTokens({ accessToken: "a", refreshToken: "r", ...parts }));
  expect([refused.code, await store.keys("")]).toEqual(["invalid_option", []]);
});

test.each([
  ["the manager's own client: its secret", {}, "own", "client_secret_basic"],
  ["the same client, given without a secret: none", { clientId: "c" }, undefined, "none"],
  ["with a secret of their own: that", { clientId: "c", clientSecret: "given" }, "given", "client_secret_basic"],
])("tokens for %s", async (_whose, parts, clientSecret, tokenEndpointAuthMethod) => {
  const store = new MemoryStore();
  const { auth, events } = manager({ url: "https://mcp.example/mcp" }, { store, clientId: "c", clientSecret: "own" });
  await auth.setTokens({ accessToken: "a", refreshToken: "r", issuer: "https://as.example", ...parts });
  const { client } = ((await store.get("tokens/default/https://mcp.example/mcp")) ?? {}) as { client?: object };
  expect(client).toMatchObject({ kind: "pre-registered", clientId: "c", tokenEndpointAuthMethod });
  expect((client as { clientSecret?: string }).clientSecret).toBe(clientSecret);
  expect(events).toMatchObject([{ type: "tokens.given", issuer: "https://as.example", scopes: [] }]);
});

test("an issuer that the app insists on and the server does not name: no login elsewhere", async () => {
  const server = await startServer();
  const wanted = await startAuthorizationServer();
  const handler = userAtHand();
  const { auth } = manager(server, { issuer: wanted.issuer, loginHandler: handler });
  const error = await failure(auth.authorize());
  expect([error.code, error.issuer]).toEqual(["issuer_mismatch", server.authorizationServer.issuer]);
  expect(error.message).toContain(wanted.issuer);
  expect([handler.started, server.authorizationServer.registrations.length]).toEqual([0, 0]);
  await wanted.close();
});

test.each([
  ["https://login.microsoftonline.com/tenant/v2.0", { resourceParameter: true, refreshScope: false }],
  ["https://company.salesforce.com", { redirectHost: "127.0.0.1" }],
] as const)("options win over the profile of %s", (issuer, options) => {
  const session = createSession({ serverUrl: "https://mcp.example/mcp", ...options });
  expect(requestProfile(createSession({ serverUrl: "https://mcp.example/mcp" }), issuer)).not.toMatchObject(options);
  expect(requestProfile(session, issuer)).toMatchObject(options);
});

test("the query of the server's URL stays out of the store and the events, and is sent", async () => {
  const server = await startServer();
  const store = new MemoryStore();
  const { auth, events } = manager({ url: `${server.url}?key=hunter2` }, { store, loginHandler: userAtHand() });
  expect((await auth.fetch(auth.serverUrl, toolRequest("add", { a: 1, b: 2 }))).status).toBe(200);
  expect(auth.serverUrl.search).toBe("?key=hunter2");
  const stored = await Promise.all((await store.keys("")).map(async (key) => [key, await store.get(key)]));
  expect(JSON.stringify([stored, events])).not.toContain("hunter2");
  expect(stored.length).toBeGreaterThan(2);
});

test("after a logout during a login, the next request may log in at once", async () => {
  const server = await startServer();
  const handler = userAtHand();
  const { auth } = manager(server, { loginHandler: handler });
  handler.until = new Promise(() => {});
  const call = failure(post(auth));
  await expect.poll(() => handler.opened).toBe(1);
  await auth.logout();
  expect((await call).code).toBe("login_required");
  handler.until = Promise.resolve();
  expect(await post(auth)).toBe(200);
});

test("`lastError` is cleared by the next success", async () => {
  const server = await startServer();
  const { auth } = manager(server, { loginHandler: userAtHand() });
  expect(await post(auth)).toBe(200);
  server.authorizationServer.nextDecision = "deny";
  expect((await failure(post(auth, "write_note", { text: "x" }))).code).toBe("authorization_denied");
  expect(auth.lastError?.code).toBe("authorization_denied");
  expect(await post(auth)).toBe(200);
  expect(auth.lastError).toBeUndefined();
});
