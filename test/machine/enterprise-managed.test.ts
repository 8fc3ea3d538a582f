/** A company's sign-on lets a program into an MCP server: two authorization servers and a protected server. */

import { inspect } from "node:util";
import { describe, expect, onTestFinished, test } from "vitest";
import { systemClock } from "../../src/clock.ts";
import { tokenTypes } from "../../src/grants/token-exchange.ts";
import { createHttp } from "../../src/http/http.ts";
import type { AuthEvent } from "../../src/index.ts";
import { MemoryStore } from "../../src/index.ts";
import type { AssertionRequest } from "../../src/machine/assertion.ts";
import { type EnterpriseManagedOptions, enterpriseManaged, MachineTokenManager } from "../../src/machine/index.ts";
import { failure } from "../discovery/support.ts";
import { answer, gate, logInByHand, startAuthorizationServer, tokenRequest, when } from "../fixture/index.ts";
import { connect, startServer } from "../storm/support.ts";

const atProvider = { clientId: "agent", clientSecret: "the-secret-at-the-provider" };
const atServer = { clientId: "agent-there", clientSecret: "the-secret-at-the-server" };
const jwtBearer = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const exchangeToken = "urn:ietf:params:oauth:grant-type:token-exchange";

/** A company with an identity provider, an MCP server that trusts it, and a user who has signed on. */
async function world() {
  const idp = await startAuthorizationServer({ trust: {}, account: "alice@acme.example" });
  onTestFinished(() => idp.close());
  const server = await startServer({ authorizationServer: { trust: { identityProviders: [idp] } } });
  const { authorizationServer: as, mcpServer: mcp } = server;
  idp.trust = { audiences: { [as.issuer]: { clientId: atServer.clientId } } };
  const callback = "http://127.0.0.1:1/callback";
  await idp.addClient({
    ...{ client_id: atProvider.clientId, client_secret: atProvider.clientSecret, application_type: "native" },
    ...{ redirect_uris: [callback], response_types: ["code"], grant_types: ["authorization_code", "refresh_token", exchangeToken] },
  });
  await as.addClient({ client_id: atServer.clientId, client_secret: atServer.clientSecret, grant_types: [jwtBearer] });
  const login = { ...atProvider, resource: "https://acme.example/sign-on", scope: "openid offline_access" };
  const signOn = await logInByHand(idp, login);
  const idToken = String(signOn.idToken);
  const refreshToken = String(signOn.refreshToken);
  idp.requests.length = 0;

  const source = (options: Partial<EnterpriseManagedOptions> = {}) =>
    enterpriseManaged({ issuer: idp.issuer, ...atProvider, subjectToken: idToken, identity: "alice", ...options });
  const events: AuthEvent[] = [];
  const program = (assertion = source(), options: object = {}) => {
    const onEvent = (event: AuthEvent) => void events.push(event);
    const auth = new MachineTokenManager({ serverUrl: server.url, ...atServer, assertion, onEvent, ...options });
    onTestFinished(() => auth.dispose());
    return auth;
  };
  const request: AssertionRequest = {
    ...{ issuer: as.issuer, tokenEndpoint: `${as.issuer}/token`, resource: mcp.resource },
    ...{ http: createHttp(), clock: systemClock },
  };
  /** Nothing that is secret may be in what is shown. */
  const secrets = () => [
    ...[idToken, refreshToken, atProvider.clientSecret, atServer.clientSecret],
    ...[...idp.tokenRequests(), ...as.tokenRequests()].flatMap(({ form }) => [form.get("assertion"), form.get("subject_token")]),
  ];
  const expectNoSecretIn = (...things: unknown[]) => {
    const shown = inspect(things, { depth: 12, showHidden: true });
    for (const secret of secrets()) if (secret) expect(shown).not.toContain(secret);
  };
  return { idp, as, mcp, server, idToken, refreshToken, source, program, events, request, expectNoSecretIn };
}

const whoami = async (auth: MachineTokenManager) => {
  const client = await connect(auth.serverUrl, auth.fetch);
  const { content } = await client.callTool({ name: "whoami" });
  return JSON.parse((content as [{ text: string }])[0].text);
};

describe("REQ-EMA-01…03 a user's sign-on is good at an MCP server", () => {
  test("from the server's 401 to a tool's result: one exchange, one grant, nobody is asked", async () => {
    const { idp, as, mcp, idToken, program, events, expectNoSecretIn } = await world();
    const auth = program();
    expect(await whoami(auth)).toMatchObject({ sub: "alice@acme.example", clientId: atServer.clientId, scopes: ["mcp:read"] });

    const [exchange, ...more] = idp.tokenRequests();
    expect(more).toEqual([]);
    expect(Object.fromEntries(exchange?.form ?? [])).toEqual({
      ...{
        grant_type: exchangeToken,
        requested_token_type: tokenTypes.idJag,
        subject_token: idToken,
        subject_token_type: tokenTypes.idToken,
      },
      ...{ audience: as.issuer, resource: mcp.resource, scope: "mcp:read" },
    });
    expect(exchange?.headers.authorization).toMatch(/^Basic /);
    expect(as.tokenRequests().map(({ grantType }) => grantType)).toEqual([jwtBearer]);
    expect(as.requests.filter(({ path }) => path === "/authorize")).toEqual([]);
    expectNoSecretIn(auth, events);
  });

  test("at expiry the exchange is made again; the metadata of the identity provider is known", async () => {
    const { idp, as, program } = await world();
    const auth = program();
    await whoami(auth);
    as.accessTokenTtlSeconds = 60;
    const asked = idp.requests.length;
    await auth.onChallenge(
      { status: 401, challenges: [] },
      { authorization: `Bearer ${await auth.getAccessToken()}` },
      {
        method: "POST",
        url: auth.serverUrl,
      },
    );
    expect(idp.requests.slice(asked).map(({ path }) => path)).toEqual(["/token"]);
    const [first, second] = as.tokenRequests().map(({ form }) => form.get("assertion"));
    expect(first).not.toBe(second);
  });

  test("REQ-EMA-04 of all that, only the access token is stored", async () => {
    const { idToken, program, as } = await world();
    const store = new MemoryStore();
    await program(undefined, { store }).getAccessToken();
    const records = JSON.stringify(await Promise.all((await store.keys("")).map(async (key) => [key, await store.get(key)])));
    expect(records).toContain("accessToken");
    for (const secret of [idToken, as.tokenRequests()[0]?.form.get("assertion"), "the-secret-at"]) expect(records).not.toContain(secret);
  });

  test("two users in one store do not share a token", async () => {
    const { as, source, program } = await world();
    const store = new MemoryStore();
    const [alice, bob] = ["alice", "bob"].map((identity) => program(source({ identity }), { store }));
    expect(await alice?.getAccessToken()).not.toBe(await bob?.getAccessToken());
    expect(as.tokenRequests().length).toBe(2);
  });

  test.each<[named: string, options: (idp: { issuer: string }) => Partial<EnterpriseManagedOptions>, asksMetadata: boolean]>([
    ["its issuer: its metadata say where", () => ({}), true],
    ["its token endpoint", ({ issuer }) => ({ issuer: undefined, tokenEndpoint: `${issuer}/token` }), false],
    ["both: the metadata do not decide", ({ issuer }) => ({ tokenEndpoint: `${issuer}/token` }), false],
  ])("an identity provider that is named by %s", async (_named, options, asksMetadata) => {
    const { idp, source, request } = await world();
    await source(options(idp))(request);
    expect(idp.requests.some(({ path }) => path.startsWith("/.well-known/"))).toBe(asksMetadata);
    expect(idp.tokenRequests()).toHaveLength(1);
  });

  test("that the subject is an ID token may be said", async () => {
    const { idp, source, request } = await world();
    await source({ subjectTokenType: "id_token" })(request);
    expect(idp.tokenRequests().map(({ form }) => form.get("subject_token_type"))).toEqual([tokenTypes.idToken]);
  });

  test("a token endpoint instead of metadata, a key instead of a secret, and parameters of the provider's own", async () => {
    const { idp, source, request } = await world();
    const keys = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"]);
    const jwks = { keys: [{ ...(await crypto.subtle.exportKey("jwk", keys.publicKey)), kid: "k1", alg: "ES256", use: "sig" }] };
    await idp.addClient({
      ...{ client_id: atProvider.clientId, token_endpoint_auth_method: "private_key_jwt", jwks: jwks as never },
      ...{ grant_types: [exchangeToken] },
    });
    const tokenEndpoint = `${idp.issuer}/token`;
    const assertion = await source({
      ...{ issuer: undefined, tokenEndpoint, clientSecret: undefined, privateKey: keys.privateKey, keyId: "k1" },
      ...{ clientAssertionAudience: idp.issuer, parameters: { tenant: "acme" }, scopes: ["mcp:write"] },
    })(request);
    expect(assertion.split(".")).toHaveLength(3);
    expect(idp.requests.map(({ path }) => path)).toEqual(["/token"]);
    expect(idp.requests[0]?.form.get("tenant")).toBe("acme");
    expect(idp.requests[0]?.form.get("scope")).toBe("mcp:write");
  });
});

describe("REQ-EMA-01 a refresh token as the subject", () => {
  test("the new one is stored before the assertion is used, and is what the next exchange shows", async () => {
    const { idp, refreshToken, source, request } = await world();
    const stored: string[] = [];
    const assertion = source({
      ...{ subjectToken: refreshToken, subjectTokenType: "refresh_token" },
      onRefreshToken: (token) => void stored.push(token),
    });
    await assertion(request);
    await assertion(request);
    expect(idp.tokenRequests().map(({ form }) => form.get("subject_token"))).toEqual([refreshToken, stored[0]]);
    expect(stored).toHaveLength(2);
    expect(idp.liveLogins).toBe(1);
  });

  test("many MCP servers at once take turns: no token is shown twice", async () => {
    const { idp, refreshToken, source, request } = await world();
    const assertion = source({ subjectToken: refreshToken, subjectTokenType: "refresh_token", onRefreshToken: () => {} });
    await Promise.all(Array.from({ length: 5 }, () => assertion(request)));
    const shown = idp.tokenRequests().map(({ form }) => form.get("subject_token"));
    expect(new Set(shown).size).toBe(5);
    expect(idp.liveLogins).toBe(1);
  });

  test("who stops waiting does not lose it", async () => {
    const { idp, refreshToken, source, request } = await world();
    const stored: string[] = [];
    const assertion = source({
      ...{ subjectToken: refreshToken, subjectTokenType: "refresh_token" },
      onRefreshToken: (token) => void stored.push(token),
    });
    const held = gate(tokenRequest(exchangeToken), "after");
    idp.intercept(held.hook);
    const controller = new AbortController();
    const waiting = Promise.resolve(assertion({ ...request, signal: controller.signal }));
    await held.reached(1);
    controller.abort(new Error("enough"));
    await expect(waiting).rejects.toThrow("enough");
    held.open();
    await expect.poll(() => stored).toHaveLength(1);
    await assertion(request);
    expect(idp.tokenRequests()[1]?.form.get("subject_token")).toBe(stored[0]);
  });

  test("one that cannot be stored is told again before anything else is asked", async () => {
    const { idp, refreshToken, source, request, expectNoSecretIn } = await world();
    let disk: "full" | "writable" = "full";
    const stored: string[] = [];
    const assertion = source({
      ...{ subjectToken: () => stored.at(-1) ?? refreshToken, subjectTokenType: "refresh_token" },
      onRefreshToken: async (token) => {
        if (disk === "full") throw new Error("ENOSPC");
        stored.push(token);
      },
    });
    const error = await failure(Promise.resolve(assertion(request)));
    expect(error).toMatchObject({ code: "assertion_unavailable", cause: { message: "ENOSPC" } });
    expect((await failure(Promise.resolve(assertion(request)))).code).toBe("assertion_unavailable");
    expect(idp.tokenRequests()).toHaveLength(1);
    disk = "writable";
    await assertion(request);
    expect(idp.tokenRequests()[1]?.form.get("subject_token")).toBe(stored[0]);
    expect(idp.liveLogins).toBe(1);
    expectNoSecretIn(error, assertion);
  });

  test("one beside an answer that cannot be used is not lost", async () => {
    const { idp, refreshToken, source, request } = await world();
    const stored: string[] = [];
    const assertion = source({
      ...{ subjectToken: refreshToken, subjectTokenType: "refresh_token" },
      onRefreshToken: (token) => void stored.push(token),
    });
    idp.intercept(when(tokenRequest(exchangeToken), answer(200, { access_token: null, refresh_token: "the-next-one" }), 1));
    expect((await failure(Promise.resolve(assertion(request)))).code).toBe("invalid_token_response");
    expect(stored).toEqual(["the-next-one"]);
  });

  test("who cannot store it is told at once", () => {
    const make = () =>
      enterpriseManaged({ issuer: "https://idp.example", clientId: "a", subjectToken: "r", subjectTokenType: "refresh_token" });
    expect(make).toThrow(expect.objectContaining({ code: "invalid_option", message: expect.stringContaining("onRefreshToken") }));
  });

  test("an ID token stays the subject, whatever comes with the answer", async () => {
    const { idp, idToken, source, request } = await world();
    const body = { access_token: "a.e30.b", issued_token_type: tokenTypes.idJag, token_type: "N_A", refresh_token: "surplus" };
    idp.intercept(when(tokenRequest(exchangeToken), answer(200, body)));
    const assertion = source();
    await assertion(request);
    await assertion(request);
    expect(idp.tokenRequests().map(({ form }) => form.get("subject_token"))).toEqual([idToken, idToken]);
  });
});

describe("what is wrong is said of the server where it went wrong", () => {
  test.each<[string, Partial<EnterpriseManagedOptions>, object, string]>([
    [
      "the sign-on is over",
      { subjectToken: "eyJhbGciOiJub25lIn0.e30.over" },
      { code: "invalid_grant" },
      "Sign on again at the identity provider.",
    ],
    ["a wrong secret", { clientSecret: "a-wrong-secret" }, { code: "invalid_client" }, "at the identity provider"],
    [
      "nobody can say who signed on",
      { subjectToken: () => Promise.reject(new Error("no session")) },
      { code: "assertion_unavailable" },
      "`subjectToken` failed",
    ],
  ])("at the identity provider: %s", async (_what, options, expected, words) => {
    const { idp, as, source, program, events, expectNoSecretIn } = await world();
    const auth = program(source(options));
    const error = await failure(auth.getAccessToken());
    expect(error).toMatchObject(expected);
    expect(String(error)).toContain(words);
    if (error.code !== "assertion_unavailable") expect(error.issuer).toBe(idp.issuer);
    expect(as.tokenRequests()).toEqual([]);
    expectNoSecretIn(error, events, auth);
    expect(inspect([error, events, auth], { depth: 12, showHidden: true })).not.toContain("a-wrong-secret");
  });

  test("an identity provider that is named by its token endpoint is named so in errors", async () => {
    const { idp, source, request } = await world();
    const tokenEndpoint = `${idp.issuer}/token`;
    const assertion = source({ issuer: undefined, tokenEndpoint, clientSecret: "a-wrong-secret" });
    expect(await failure(Promise.resolve(assertion(request)))).toMatchObject({ code: "invalid_client", issuer: tokenEndpoint });
  });

  test.each([
    ["issuer", { issuer: "https://idp.example" }, "https://idp.example"],
    ["token endpoint, if no more is known", { issuer: undefined }, undefined],
  ])("a client assertion for the identity provider has its %s as audience", async (_name, options, audience) => {
    const { idp, source, request } = await world();
    const tokenEndpoint = `${idp.issuer}/token`;
    const signed: string[] = [];
    const sign = async (data: Uint8Array) => {
      signed.push(new TextDecoder().decode(data));
      return new Uint8Array(64);
    };
    const assertion = source({ ...options, tokenEndpoint, clientSecret: undefined, privateKey: { algorithm: "ES256", sign } });
    await failure(Promise.resolve(assertion(request)));
    const claims = signed.map((jwt) => JSON.parse(Buffer.from(String(jwt.split(".")[1]), "base64url").toString()));
    expect(claims).toMatchObject([{ aud: audience ?? tokenEndpoint }]);
  });

  test("the company does not allow this MCP server", async () => {
    const { idp, program } = await world();
    idp.trust = { audiences: {} };
    const error = await failure(program().getAccessToken());
    expect(error).toMatchObject({ code: "token_request_refused", serverError: "invalid_target", issuer: idp.issuer });
  });

  test.each([
    ["an access token instead", { access_token: "some-token", issued_token_type: tokenTypes.accessToken, token_type: "Bearer" }],
    ["nobody knows what", { access_token: "some-token", token_type: "N_A" }],
  ])("REQ-EMA-02 the identity provider gives %s", async (_what, body) => {
    const { idp, as, program, expectNoSecretIn } = await world();
    idp.intercept(when(tokenRequest(exchangeToken), answer(200, body)));
    const error = await failure(program().getAccessToken());
    expect(error).toMatchObject({ code: "invalid_token_response", issuer: idp.issuer });
    expect(as.tokenRequests()).toEqual([]);
    expect(inspect(error, { depth: 9 })).not.toContain("some-token");
    expectNoSecretIn(error);
  });

  test("an identity provider that lists its grants, without this one", async () => {
    const { idp, program } = await world();
    idp.metadataPatch = { grant_types_supported: ["authorization_code"] };
    expect(await failure(program().getAccessToken())).toMatchObject({ code: "grant_unsupported", issuer: idp.issuer });
  });

  test("one that cannot be reached is asked again the next time", async () => {
    const { source, request, idp } = await world();
    const assertion = source();
    idp.metadata = "none";
    expect(await failure(Promise.resolve(assertion(request)))).toMatchObject({ code: "discovery_failed", issuer: idp.issuer });
    idp.metadata = "both";
    expect(await assertion(request)).toMatch(/^eyJ/);
  });

  test("at the MCP server's authorization server: it does not trust the identity provider", async () => {
    const { as, program, events, expectNoSecretIn } = await world();
    as.trust = { identityProviders: [] };
    const error = await failure(program().getAccessToken());
    expect(error).toMatchObject({
      code: "invalid_assertion",
      issuer: as.issuer,
      serverDescription: "the identity provider is not trusted",
    });
    expect(as.tokenRequests()).toHaveLength(1);
    expectNoSecretIn(error, events);
  });

  test("at the MCP server's authorization server: the ID-JAG was made for another client", async () => {
    const { idp, as, program } = await world();
    idp.trust = { audiences: { [as.issuer]: { clientId: "somebody-else" } } };
    expect(await failure(program().getAccessToken())).toMatchObject({
      ...{ code: "invalid_assertion", issuer: as.issuer, serverDescription: "the ID-JAG was made for another client" },
    });
  });

  test("at the MCP server's authorization server: the client there has another secret", async () => {
    const { as, program } = await world();
    expect(await failure(program(undefined, { clientSecret: "a-wrong-secret" }).getAccessToken())).toMatchObject({
      ...{ code: "invalid_client", issuer: as.issuer },
    });
  });

  test.each<[rule: string, options: object]>([
    ["an identity provider must be named", {}],
    ["by a name that is not empty", { issuer: "" }],
    ["options are those that there are", { issuer: "https://idp.example", clientID: "a" }],
    ["a subject token is one of two", { issuer: "https://idp.example", subjectTokenType: "access_token" }],
  ])("when the source is made: %s", (_rule, options) => {
    const make = () => enterpriseManaged({ clientId: "a", subjectToken: "t", ...options });
    expect(make).toThrow(expect.objectContaining({ code: "invalid_option" }));
  });
});
