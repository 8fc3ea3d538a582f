/** Bearer tokens from elsewhere: fetched once for all, never sent after their end; and basic authentication. */
import { createLocalJWKSet, exportJWK, generateKeyPair, SignJWT } from "jose";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { BasicCredential, BearerCredential } from "../../src/credentials/index.ts";
import { authProvider as providerV1 } from "../../src/transports/sdk/v1.ts";
import { authProvider as providerV2 } from "../../src/transports/sdk/v2.ts";
import { basicAuthentication, jwts } from "../fixture/index.ts";
import { kinds } from "../interop/support.ts";
import { type Answer, plainServer, status } from "../transports/support.ts";
import { expectHidden, failureOf, httpKinds, listening, post, protectedBy, stillClock, whoami } from "./support.ts";

const issuer = "https://issuer.example";
const audience = "https://mcp.example";

/** A server that trusts an issuer of JWTs, which is here, and one clock for both sides. */
async function jwtServer() {
  const { publicKey, privateKey } = await generateKeyPair("ES256");
  const clock = stillClock();
  const key = createLocalJWKSet({ keys: [{ ...(await exportJWK(publicKey)), alg: "ES256" }] });
  const server = await protectedBy(jwts({ key, issuer, audience, now: clock.now }));
  let issued = 0;
  const issue = (lifetimeSeconds = 60) => {
    issued++;
    const now = clock.now() / 1000;
    return new SignJWT({ n: issued })
      .setProtectedHeader({ alg: "ES256" })
      .setIssuer(issuer)
      .setAudience(audience)
      .setSubject("robot")
      .setExpirationTime(now + lifetimeSeconds)
      .sign(privateKey);
  };
  return {
    url: server.url,
    server,
    clock,
    issue,
    get issued() {
      return issued;
    },
  };
}

/** Takes only this token. */
const wants =
  (accepted: () => string): Answer =>
  (request, response) =>
    void response.writeHead(request.headers.authorization === `Bearer ${accepted()}` ? 200 : 401, { "www-authenticate": "Bearer" }).end();

describe("real clients at a server that verifies JWTs", () => {
  test.each(httpKinds)("%s: a constant, and a function", async (_name, kind) => {
    const { url, clock, issue } = await jwtServer();
    expect(await whoami(kind, new BearerCredential({ serverUrl: url, token: await issue(), clock }))).toBe("robot");
    expect(await whoami(kind, new BearerCredential({ serverUrl: url, token: () => issue(), clock }))).toBe("robot");
  });

  test.each([
    ["v1", kinds["v1 Streamable HTTP"], providerV1],
    ["v2", kinds["v2 Streamable HTTP, 2025-11-25"], providerV2],
  ] as const)("%s, `authProvider`: works; without a token its reason surfaces", async (_name, kind, provider) => {
    const { url, clock, issue } = await jwtServer();
    const auth = new BearerCredential({ serverUrl: url, token: () => issue(), clock });
    const sdk = kind.create(auth.serverUrl, { authProvider: provider(auth) });
    await sdk.connect();
    expect(await sdk.call("whoami")).toMatchObject({ sub: "robot" });
    const expired = new BearerCredential({ serverUrl: url, token: await issue(-1), clock });
    const refused = kind.create(auth.serverUrl, { authProvider: provider(expired) });
    expect(await failureOf(refused.connect())).toMatchObject({ code: "credential_expired" });
  });
});

describe("a function", () => {
  test("100 callers, cold and at expiry: it is asked once each time, and nobody sends what has expired", async () => {
    const jwt = await jwtServer();
    const auth = new BearerCredential({ serverUrl: jwt.url, token: () => jwt.issue(60), clock: jwt.clock });
    for (const asked of [1, 2, 3]) {
      const answers = await Promise.all(Array.from({ length: 100 }, () => post(auth)));
      expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
      expect(jwt.issued).toBe(asked);
      jwt.clock.advance(56_000);
    }
    expect(jwt.server.requests.every(({ status }) => status === 200)).toBe(true);
  });

  test.each([
    // seconds to its end, asked again, outcome
    [60, 1, "sent"],
    [6, 1, "sent"],
    [4, 2, "sent"],
    [0, 2, "credential_expired"],
    [-600, 2, "credential_expired"],
  ])("that always gives a JWT with %i s left is asked %i times in two requests: %s", async (left, asked, outcome) => {
    const jwt = await jwtServer();
    const auth = new BearerCredential({ serverUrl: jwt.url, token: () => jwt.issue(left), clock: jwt.clock });
    for (let request = 0; request < 2; request++) {
      if (outcome === "sent") expect((await post(auth)).status).toBe(200);
      else expect(await failureOf(post(auth))).toMatchObject({ code: outcome, serverUrl: jwt.url });
    }
    expect(jwt.issued).toBe(asked);
    if (outcome !== "sent") expect(jwt.server.requests).toHaveLength(0);
  });

  test("a secret rotated at the server: 50 refusals at once ask once, and no call fails", async () => {
    let accepted = "token-1";
    const token = vi.fn(() => accepted);
    const { url } = await plainServer((...exchange) => wants(() => accepted)(...exchange));
    const { events, onEvent } = listening();
    const auth = new BearerCredential({ serverUrl: url, onEvent, token });
    await post(auth);
    accepted = "token-2";
    const answers = await Promise.all(Array.from({ length: 50 }, () => post(auth)));
    expect(answers.every(({ ok }) => ok)).toBe(true);
    expect(token).toHaveBeenCalledTimes(2);
    expect(events).toMatchObject([{ type: "credential.renewed", kind: "token" }]);
  });

  test("the same token again: the server's answer, and the reason", async () => {
    const { url, received } = await plainServer(status(401, "no", { "www-authenticate": "Bearer" }));
    const token = vi.fn(() => "token");
    const auth = new BearerCredential({ serverUrl: url, token });
    const answer = await post(auth);
    expect([answer.status, await answer.text(), received.length, token.mock.calls.length]).toEqual([401, "no", 1, 2]);
    expect(auth.lastError).toMatchObject({ code: "credential_refused", status: 401, serverUrl: url });
  });

  test("ever new tokens that are refused: one request tries two", async () => {
    const { url, received } = await plainServer(status(401, "no"));
    let asked = 0;
    const auth = new BearerCredential({ serverUrl: url, token: () => `token-${++asked}` });
    expect((await post(auth)).status).toBe(401);
    expect([received.length, asked]).toEqual([2, 2]);
  });

  test("a late refusal of an old token asks nobody", async () => {
    let accepted = "token-1";
    const token = vi.fn(() => accepted);
    const held: (() => void)[] = [];
    const { url } = await plainServer((request, response, raw) => {
      if (request.path === "/late" && held.length === 0) return void held.push(() => void wants(() => accepted)(request, response, raw));
      return wants(() => accepted)(request, response, raw);
    });
    const auth = new BearerCredential({ serverUrl: url, token });
    const late = auth.fetch(new URL("/late", url));
    await expect.poll(() => held.length).toBe(1);
    accepted = "token-2";
    expect((await post(auth)).status).toBe(200);
    held[0]?.();
    expect((await late).status).toBe(200);
    expect(token).toHaveBeenCalledTimes(2);
  });

  test.each([
    [() => Promise.reject(new Error("vault is sealed")), "credential_unavailable"],
    [() => "line\nbreak", "invalid_option"],
    [() => undefined as unknown as string, "invalid_option"],
  ])("that fails (%s) ends the call with %s; the next call asks again", async (bad, code) => {
    const { url } = await plainServer(wants(() => "token"));
    let calls = 0;
    const auth = new BearerCredential({ serverUrl: url, token: () => (calls++ === 0 ? bad() : "token") });
    expect(await failureOf(post(auth))).toMatchObject({ code });
    expect(auth.lastError?.code).toBe(code);
    expect((await post(auth)).status).toBe(200);
    expect(auth.lastError).toBeUndefined();
  });
});

describe("a constant", () => {
  test("that has expired is not sent; the error says both times", async () => {
    const { url, server, clock, issue } = await jwtServer();
    const auth = new BearerCredential({ serverUrl: url, token: await issue(30), clock });
    clock.advance(29_000);
    expect((await post(auth)).status).toBe(200);
    clock.advance(1_000);
    const error = await failureOf(post(auth));
    expect(error).toMatchObject({ code: "credential_expired" });
    expect(String(error)).toMatch(/ended at 2026-01-01T00:00:30.000Z, and it is now 2026-01-01T00:00:30.000Z/);
    expect(server.requests).toHaveLength(1);
  });

  test("that is refused is not sent again", async () => {
    const { url, received } = await plainServer(status(401));
    const auth = new BearerCredential({ serverUrl: url, token: "token" });
    expect((await post(auth)).status).toBe(401);
    expect(received).toHaveLength(1);
    expect(auth.lastError?.code).toBe("credential_refused");
  });

  test("403 for lack of scopes is the server's answer; the reason names them", async () => {
    const { url } = await plainServer(status(403, "", { "www-authenticate": 'Bearer error="insufficient_scope", scope="a b"' }));
    const token = vi.fn(() => "token");
    const auth = new BearerCredential({ serverUrl: url, token });
    expect((await post(auth)).status).toBe(403);
    expect(token).toHaveBeenCalledTimes(1);
    expect(auth.lastError).toMatchObject({ code: "insufficient_scope", requiredScopes: ["a", "b"] });
  });

  const encode = (payload: unknown) => Buffer.from(JSON.stringify(payload)).toString("base64url");
  test.each([
    // what looks like a JWT, but says nothing of its end, is sent as it is
    "opaque",
    "a.b.c",
    "..",
    `x.${encode({})}.x`,
    `x.${encode({ exp: "1" })}.x`,
    `x.${encode({ exp: null })}.x`,
    `x.${encode({ exp: 1e300 })}.x`,
    `x.${encode([])}.x`,
    `x.${encode("text")}.x`,
    `x.${encode({ exp: 1 })}.x.x.x`,
    "~-._+/==",
  ])("%s is sent", async (token) => {
    const { url, received } = await plainServer(status(200));
    await post(new BearerCredential({ serverUrl: url, token }));
    expect(received[0]?.headers.authorization).toBe(`Bearer ${token}`);
  });

  test("an end is read from a payload beyond ASCII, too", async () => {
    const token = `x.${encode({ exp: 1, name: "Zoë ÿ>?" })}.x`;
    expect(await failureOf(new BearerCredential({ serverUrl: audience, token }).getAccessToken())).toMatchObject({
      code: "credential_expired",
    });
  });

  test.each(["", "line\nbreak", "tokén"])("%j is refused", async (token) => {
    expect(await failureOf(() => new BearerCredential({ serverUrl: audience, token }))).toMatchObject({ code: "invalid_option" });
  });
});

test("nothing that can be seen of a credential holds a token", async () => {
  const { url } = await plainServer(status(401));
  const { events, onEvent } = listening();
  let n = 0;
  const auth = new BearerCredential({ serverUrl: url, token: () => `hush-${++n}`, onEvent });
  await post(auth);
  expectHidden(["hush-"], auth, auth.lastError, events);
});

describe("RFC 7617", () => {
  test.each(httpKinds)("%s: name and password as UTF-8", async (_name, kind) => {
    const server = await protectedBy(basicAuthentication({ username: "zoë", password: "pä:ss €🔑" }));
    expect(await whoami(kind, new BasicCredential({ serverUrl: server.url, username: "zoë", password: "pä:ss €🔑" }))).toBe("zoë");
  });

  test("refused: the server's answer, one request, the reason without the password", async () => {
    const server = await protectedBy(basicAuthentication({ username: "a", password: "right" }));
    const auth = new BasicCredential({ serverUrl: server.url, username: "a", password: "hush" });
    expect((await post(auth)).status).toBe(401);
    expect(server.requests).toHaveLength(1);
    expect(auth.lastError).toMatchObject({ code: "credential_refused", status: 401 });
    expectHidden(["hush", btoa("a:hush")], auth, auth.lastError);
  });

  test("`requestInit()` for transports without `fetch`", async () => {
    const server = await protectedBy(basicAuthentication({ username: "a", password: "b" }));
    const auth = new BasicCredential({ serverUrl: server.url, username: "a", password: "b" });
    const sdk = kinds["v1 Streamable HTTP"].create(auth.serverUrl, { requestInit: auth.requestInit() });
    onTestFinished(() => sdk.close());
    await sdk.connect();
    expect(await sdk.call("whoami")).toMatchObject({ sub: "a" });
  });

  test.each([
    ["a:b", "c"],
    ["a\n", "c"],
    ["a", "c\0"],
    ["a", "\u007f"],
    ["a", undefined as unknown as string],
  ])("%j with %j is refused", async (username, password) => {
    expect(await failureOf(() => new BasicCredential({ serverUrl: audience, username, password }))).toMatchObject({
      code: "invalid_option",
    });
  });
});
