/** A program with client credentials at a real authorization server: one token request, however many want it. */
import { inspect } from "node:util";
import { Client as CurrentClient, StreamableHTTPClientTransport as CurrentTransport } from "@modelcontextprotocol/client";
import { describe, expect, onTestFinished, test } from "vitest";
import { McpAuthError, MemoryStore } from "../../src/index.ts";
import { authProvider as authProviderV1 } from "../../src/transports/sdk/v1.ts";
import { authProvider as authProviderV2 } from "../../src/transports/sdk/v2.ts";
import { answer, gate, recordingFetch, roundTrips, tokenRequest, when } from "../fixture/index.ts";
import { connect, manualClock, minutes, shiftedClock } from "../storm/support.ts";
import { clientId, clientSecret, program, startServer } from "./support.ts";

const failure = async (promise: Promise<unknown>): Promise<McpAuthError> => {
  const error = await promise.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (!(error instanceof McpAuthError)) throw new Error(`not an McpAuthError: ${inspect(error)}`);
  return error;
};

describe("the way to a token", () => {
  test("REQ-CC-01, REQ-CC-04 from a server URL alone: the challenge leads there; resource and scope are sent", async () => {
    const server = await startServer();
    const { call, types } = program(server);
    expect((await call()).status).toBe(200);
    const [request] = server.authorizationServer.tokenRequests("client_credentials");
    expect(Object.fromEntries(request?.form ?? [])).toEqual({
      grant_type: "client_credentials",
      resource: server.mcpServer.resource,
      scope: "mcp:read",
    });
    expect(server.authorizationServer.registrations).toHaveLength(0);
    expect(types()).toEqual(["discovery.started", "discovery.finished", "refresh.started", "refresh.finished"]);
  });

  test.each([
    ["a server URL alone", () => ({}), 4],
    ["an issuer", (as: { issuer: string }) => ({ issuer: as.issuer, scopes: ["mcp:read"] }), 3],
    ["a token endpoint", (as: { issuer: string }) => ({ tokenEndpoint: `${as.issuer}/token`, scopes: ["mcp:read"] }), 2],
  ])("from %s: as few round trips as can be", async (_name, options, expected) => {
    const server = await startServer();
    const fetch = recordingFetch();
    const { call } = program(server, { fetch, ...options(server.authorizationServer) });
    expect((await call()).status).toBe(200);
    expect(roundTrips(fetch.log)).toBe(expected);
    const before = fetch.log.length;
    expect((await call()).status).toBe(200);
    expect(fetch.log.length - before).toBe(1);
  });

  test.each([
    ["metadata at a URL that nobody can guess", { resourceMetadata: "other" }],
    ["metadata at the root", { resourceMetadata: "root" }],
    ["a challenge without anything", { challenge: { header: false, resourceMetadata: false, scope: false } }],
  ] as const)("with %s", async (_name, mcpServer) => {
    const { call } = program(await startServer({ mcpServer }));
    expect((await call()).status).toBe(200);
  });

  test("scopes of its own replace those that the server names", async () => {
    const server = await startServer();
    const { call } = program(server, { scopes: ["mcp:write"], tokenParameters: { audience: "somewhere" } });
    await call();
    const [request] = server.authorizationServer.tokenRequests();
    expect(request?.form.get("scope")).toBe("mcp:write");
    expect(request?.form.get("audience")).toBe("somewhere");
  });

  test.each([
    ["is sent", undefined, true],
    ["is sent where the app wants it", true, true],
    ["is not sent where the app does not want it: some servers refuse it", false, false],
  ])("the resource %s", async (_rule, resourceParameter, isSent) => {
    const server = await startServer();
    const { call } = program(server, { resourceParameter, tokenParameters: { audience: "somewhere" } });
    await call();
    const [request] = server.authorizationServer.tokenRequests();
    expect(request?.form.get("resource")).toBe(isSent ? server.mcpServer.resource : null);
  });

  test("a server that wants no token gets none, and is not asked again", async () => {
    const server = await startServer({ mcpServer: { auth: false, resourceMetadata: "none" } });
    const { auth, call } = program(server);
    expect(await auth.authorize()).toBe("not-required");
    expect((await call()).status).toBe(200);
    expect((await call()).status).toBe(200);
    expect(server.mcpServer.calls("server/discover")).toHaveLength(1);
    expect(server.authorizationServer.tokenRequests()).toHaveLength(0);
    expect(await failure(auth.getAccessToken())).toMatchObject({ code: "token_not_required", party: "server" });
  });

  test("a server that begins to want one gets one", async () => {
    const server = await startServer({ mcpServer: { auth: false } });
    server.mcpServer.resourceMetadata = "none";
    const { auth, call } = program(server);
    expect(await auth.authorize()).toBe("not-required");
    server.mcpServer.auth = true;
    server.mcpServer.resourceMetadata = "path";
    expect((await call()).status).toBe(200);
  });
});

describe("integration", () => {
  test("SDK v1: `fetch`, `authProvider`, `requestInit`", async () => {
    const server = await startServer();
    const { auth } = program(server);
    const client = await connect(server.url, auth.fetch);
    const { content } = await client.callTool({ name: "whoami", arguments: {} });
    expect(JSON.stringify(content)).toContain(clientId);

    const { Client } = await import("@modelcontextprotocol/sdk/client/index.js");
    const { StreamableHTTPClientTransport } = await import("@modelcontextprotocol/sdk/client/streamableHttp.js");
    for (const options of [{ authProvider: authProviderV1(auth) }, { requestInit: auth.requestInit() }]) {
      const other = new Client({ name: "test", version: "1" });
      onTestFinished(() => other.close());
      await other.connect(new StreamableHTTPClientTransport(new URL(server.url), options) as never);
      expect((await other.listTools()).tools.length).toBeGreaterThan(0);
    }
    expect(server.authorizationServer.tokenRequests()).toHaveLength(1);
  });

  test("SDK v2: `fetch` and `authProvider`", async () => {
    const server = await startServer();
    const { auth } = program(server);
    for (const options of [{ fetch: auth.fetch }, { authProvider: authProviderV2(auth) }]) {
      const client = new CurrentClient({ name: "test", version: "1" });
      onTestFinished(() => client.close());
      await client.connect(new CurrentTransport(new URL(server.url), options));
      expect((await client.listTools()).tools.length).toBeGreaterThan(0);
    }
    expect(server.authorizationServer.tokenRequests()).toHaveLength(1);
  });

  test("`requestInit` before there is a token says what to do", async () => {
    const { auth } = program(await startServer());
    expect(() => auth.requestInit().headers).toThrow(
      expect.objectContaining({ code: "login_required", hint: "Call `authorize()` first." }),
    );
  });
});

describe("once", () => {
  // Server and callers share a process: what a time limit would measure is how long it takes to serve all of them.
  test("1000 callers, cold and at expiry: one token request each time, and nobody fails", async () => {
    const server = await startServer();
    const clock = manualClock();
    const { call } = program(server, { clock });
    const storm = async () => (await Promise.all(Array.from({ length: 1000 }, () => call()))).map(({ status }) => status);
    expect(new Set(await storm())).toEqual(new Set([200]));
    expect(server.authorizationServer.tokenRequests()).toHaveLength(1);
    clock.advance(minutes(6));
    expect(new Set(await storm())).toEqual(new Set([200]));
    expect(server.authorizationServer.tokenRequests()).toHaveLength(2);
  });

  test("1000 callers whose token is refused", async () => {
    const server = await startServer();
    const { auth, call } = program(server, { clock: manualClock() });
    await auth.getAccessToken();
    server.mcpServer.revokeAll();
    const statuses = (await Promise.all(Array.from({ length: 1000 }, () => call()))).map(({ status }) => status);
    expect(new Set(statuses)).toEqual(new Set([200]));
    expect(server.authorizationServer.tokenRequests()).toHaveLength(2);
  });

  test("managers that share a store share the token; others do not", async () => {
    const server = await startServer();
    const store = new MemoryStore();
    const [one, other] = [program(server, { store }), program(server, { store })];
    expect(await one.auth.getAccessToken()).toBe(await other.auth.getAccessToken());
    expect(server.authorizationServer.tokenRequests()).toHaveLength(1);
    for (const options of [
      { scopes: ["mcp:write"] },
      { account: "other" },
      { tokenParameters: { a: "b" } },
      { issuer: server.authorizationServer.issuer },
    ])
      expect(await program(server, { store, ...options }).auth.getAccessToken()).not.toBe(await one.auth.getAccessToken());
    expect(server.authorizationServer.tokenRequests()).toHaveLength(5);
  });

  test("a new token is there before the old one expires, and nobody waits for it", async () => {
    const server = await startServer();
    const clock = shiftedClock();
    const { auth } = program(server, { clock });
    const first = await auth.getAccessToken();
    const held = gate(tokenRequest(), "before");
    server.authorizationServer.intercept(held.hook);
    clock.shift(minutes(3.5));
    expect(await auth.getAccessToken()).toBe(first);
    await held.reached;
    expect(await auth.getAccessToken()).toBe(first);
    held.open();
    await expect.poll(() => auth.getAccessToken()).not.toBe(first);
    expect(server.authorizationServer.tokenRequests()).toHaveLength(2);
  });

  test("`keepFresh` renews by a timer, without any call", async () => {
    const server = await startServer();
    const clock = manualClock();
    const { auth } = program(server, { clock, keepFresh: true });
    const first = await auth.getAccessToken();
    clock.advance(minutes(3.5));
    await expect.poll(() => server.authorizationServer.tokenRequests().length).toBe(2);
    await expect.poll(() => auth.getAccessToken()).not.toBe(first);
  });

  test("a token without lifetime is used until it is refused", async () => {
    const server = await startServer();
    const clock = shiftedClock();
    server.authorizationServer.intercept(
      when(tokenRequest(), async (_request, response) => {
        const access_token = await server.authorizationServer.mint({ aud: server.mcpServer.resource, expiresIn: 86_400 });
        return answer(200, { access_token, token_type: "Bearer" })(_request, response);
      }),
    );
    const { call } = program(server, { clock });
    expect((await call()).status).toBe(200);
    clock.shift(minutes(600));
    expect((await call()).status).toBe(200);
    expect(server.authorizationServer.tokenRequests()).toHaveLength(1);
  });
});

describe("a refusal of the protected server", () => {
  test("of every token: two token requests, then its answer; not one a call", async () => {
    const server = await startServer();
    const { auth, call } = program(server);
    server.mcpServer.refuseTokens(() => true);
    expect((await call()).status).toBe(401);
    expect(auth.lastError?.code).toBe("token_refused");
    expect((await call()).status).toBe(401);
    expect(server.authorizationServer.tokenRequests()).toHaveLength(2);
  });

  test("for lack of scopes: a token with more of them (REQ-STEP-01, REQ-STEP-02)", async () => {
    const server = await startServer();
    const { call, types } = program(server);
    expect((await call("whoami")).status).toBe(200);
    expect((await call("write_note", { text: "hello" })).status).toBe(200);
    expect(server.authorizationServer.tokenRequests().map(({ form }) => form.get("scope"))).toEqual(["mcp:read", "mcp:read mcp:write"]);
    expect(types()).toContain("step-up.started");
    expect((await call("whoami")).status).toBe(200);
    expect(server.authorizationServer.tokenRequests()).toHaveLength(2);
  });

  test("for scopes that the authorization server refuses: a clear error, and what worked goes on working (REQ-STEP-03)", async () => {
    const server = await startServer();
    const { auth, call } = program(server);
    expect((await call("whoami")).status).toBe(200);
    server.authorizationServer.intercept(when(tokenRequest(), answer(400, { error: "invalid_scope" })));
    for (let i = 0; i < 3; i++) {
      const error = await failure(call("write_note", { text: "hello" }));
      expect(error).toMatchObject({ code: "insufficient_scope", requiredScopes: ["mcp:read", "mcp:write"] });
    }
    expect((await call("whoami")).status).toBe(200);
    expect(server.authorizationServer.tokenRequests()).toHaveLength(2);
    expect(auth.lastError).toBeUndefined();
  });

  test("for scopes that the authorization server leaves out: a few token requests, then the server's answer", async () => {
    const server = await startServer({ mcpServer: { toolScopes: { write_note: "mcp:admin" } } });
    const { auth, call } = program(server);
    for (let i = 0; i < 3; i++) expect((await call("write_note", { text: "hello" })).status).toBe(403);
    expect(auth.lastError?.code).toBe("insufficient_scope");
    expect((await call("whoami")).status).toBe(200);
    expect(server.authorizationServer.tokenRequests()).toHaveLength(3);
  });

  test("that asks for a newer login of a user (RFC 9470): an error that says so", async () => {
    const server = await startServer();
    const { call } = program(server);
    server.mcpServer.intercept(
      when(
        ({ tool }) => tool === "whoami",
        answer(401, "", { "www-authenticate": 'Bearer error="insufficient_user_authentication", acr_values="urn:mfa"' }),
      ),
    );
    const error = await failure(call());
    expect(error.code).toBe("authentication_insufficient");
    expect(server.authorizationServer.tokenRequests()).toHaveLength(1);
  });

  test("that names another authorization server: it never sees the secret (REQ-REG-06)", async () => {
    const server = await startServer();
    const elsewhere = await startServer();
    const { call } = program(server);
    expect((await call()).status).toBe(200);
    server.mcpServer.moveTo(elsewhere.authorizationServer);
    expect((await failure(call())).code).toBe("client_issuer_mismatch");
    expect(elsewhere.authorizationServer.tokenRequests()).toHaveLength(0);
  });
});

describe("secrets that change while a program runs", () => {
  const rotated = "another secret";

  test("one that is supplied by a callback: no call fails, and it is asked for again only then", async () => {
    const server = await startServer();
    const clock = shiftedClock();
    let asked = 0;
    let current = clientSecret;
    const supply = () => {
      asked++;
      // The vault has the new one as soon as it is asked again.
      const supplied = current;
      current = rotated;
      return supplied;
    };
    const { call, events } = program(server, { clock, clientSecret: supply });
    expect((await call()).status).toBe(200);
    await server.authorizationServer.setSecret(clientId, rotated);
    current = clientSecret;
    clock.shift(minutes(6));
    const statuses = await Promise.all(Array.from({ length: 50 }, async () => (await call()).status));
    expect(new Set(statuses)).toEqual(new Set([200]));
    expect(asked).toBe(3);
    expect(events.filter(({ type }) => type === "credential.renewed")).toMatchObject([{ kind: "secret" }]);
    expect(server.authorizationServer.tokenRequests().map(({ status }) => status)).toEqual([200, 401, 200]);
  });

  test("one that is fixed: one clear error for everybody, one token request", async () => {
    const server = await startServer();
    const clock = shiftedClock();
    const { call, events } = program(server, { clock });
    expect((await call()).status).toBe(200);
    await server.authorizationServer.setSecret(clientId, rotated);
    clock.shift(minutes(6));
    const errors = await Promise.all(Array.from({ length: 50 }, () => failure(call())));
    expect(new Set(errors.map(({ code }) => code))).toEqual(new Set(["invalid_client"]));
    expect((await failure(call())).hint).toMatch(/secret/);
    expect(server.authorizationServer.tokenRequests()).toHaveLength(2);
    expect(events.at(-1)).toMatchObject({ type: "refresh.failed", code: "invalid_client", transient: false });
    // After a while it is worth another try.
    await server.authorizationServer.setSecret(clientId, clientSecret);
    clock.shift(minutes(2));
    expect((await call()).status).toBe(200);
  });

  test("a stream that reconnects with a wrong one does not send it again and again", async () => {
    const server = await startServer();
    const { auth } = program(server, { clientSecret: "certainly-wrong-secret" });
    const stream = () => auth.fetch(server.url, { headers: { accept: "text/event-stream" } });
    for (let i = 0; i < 5; i++) expect((await stream()).status).toBe(401);
    expect(auth.lastError?.code).toBe("invalid_client");
    expect(server.authorizationServer.tokenRequests()).toHaveLength(1);
  });

  test("while the token is still good, nobody notices", async () => {
    const server = await startServer();
    const clock = shiftedClock();
    const { call } = program(server, { clock });
    await call();
    await server.authorizationServer.setSecret(clientId, rotated);
    clock.shift(minutes(3.5));
    for (let i = 0; i < 5; i++) expect((await call()).status).toBe(200);
    expect(server.authorizationServer.tokenRequests().length).toBeLessThanOrEqual(2);
  });
});

test("a refresh token that a server gives is not kept, and told of", async () => {
  const server = await startServer();
  const store = new MemoryStore();
  const access_token = await server.authorizationServer.mint({ aud: server.mcpServer.resource });
  server.authorizationServer.intercept(
    when(tokenRequest(), answer(200, { access_token, token_type: "Bearer", expires_in: 300, refresh_token: "unasked-for" })),
  );
  const { call, types } = program(server, { store });
  expect((await call()).status).toBe(200);
  expect(types()).toContain("refresh-token.ignored");
  const records = await Promise.all((await store.keys("")).map((key) => store.get(key)));
  expect(JSON.stringify(records)).not.toContain("unasked-for");
});

test("a store that cannot be written costs no token", async () => {
  const server = await startServer();
  const store = new MemoryStore();
  const { withLock } = store;
  store.withLock = (key, action, options) =>
    withLock.call(store, key, (held) => action({ ...held, set: () => Promise.reject(new Error("disk full")) }) as never, options) as never;
  const { call, types } = program(server, { store });
  expect((await call()).status).toBe(200);
  expect(types()).toContain("tokens.unsaved");
});

test("after `dispose()` nothing is sent", async () => {
  const server = await startServer();
  const { auth, call } = program(server);
  await auth.dispose();
  expect((await failure(call())).code).toBe("disposed");
  expect((await failure(auth.getAccessToken())).code).toBe("disposed");
  expect(server.requests).toHaveLength(0);
});

test("neither the secret nor the token is in what is printed of a manager, in an error or an event", async () => {
  const server = await startServer();
  const { auth, events } = program(server);
  const token = await auth.getAccessToken();
  const { auth: wrong, events: more } = program(server, { clientSecret: "certainly-wrong-secret" });
  const error = await failure(wrong.getAccessToken());
  const printed = inspect([auth, wrong, events, more, error], { depth: 20, showHidden: true }) + JSON.stringify([auth, error]);
  for (const secret of [token, clientSecret, "certainly-wrong-secret", encodeURIComponent(clientSecret)])
    expect(printed).not.toContain(secret);
});

describe("options", () => {
  const serverUrl = "https://mcp.example.com/mcp";
  test.each([
    ["nothing to identify by", {}, "invalid_option"],
    ["a secret without a client", { clientSecret: "s", assertion: (): string => "a" }, "invalid_option"],
    ["an empty secret", { clientId, clientSecret: "" }, "invalid_option"],
    ["somebody's assertion in a shared store", { assertion: (): string => "a", store: new MemoryStore() }, "invalid_option"],
    ["an account with a slash", { clientId, clientSecret, account: "a/b" }, "invalid_option"],
    ["a token endpoint without TLS", { clientId, clientSecret, tokenEndpoint: "http://as.example.com/token" }, "insecure_url"],
    ["an issuer without TLS", { clientId, clientSecret, issuer: "http://as.example.com" }, "insecure_url"],
    ["a server without TLS", { clientId, clientSecret, serverUrl: "http://mcp.example.com" }, "insecure_url"],
  ] as const)("%s", async (_name, options, code) => {
    const { MachineTokenManager } = await import("../../src/machine/index.ts");
    expect(() => new MachineTokenManager({ serverUrl, ...options })).toThrow(expect.objectContaining({ code }));
  });
});
