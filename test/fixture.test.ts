import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import type { ProtectedServer } from "./fixture/index.ts";
import {
  answer,
  closeAfter,
  closeBefore,
  enterDeviceCode,
  gate,
  hang,
  logInByHand,
  person,
  recordingFetch,
  refreshByHand,
  registerByHand,
  roundTrips,
  secondFactorAcr,
  startAuthorizationServer,
  startProtectedServer,
  tokenRequest,
  when,
} from "./fixture/index.ts";
import { isTotp, totp } from "./fixture/totp.ts";

let server: ProtectedServer;
beforeAll(async () => {
  server = await startProtectedServer();
});
afterAll(() => server.close());
beforeEach(() => server.reset());

const authorizeUrl = async (extra: Record<string, string> = {}) => {
  const { authorizationServer: as, mcpServer } = server;
  const client_id = extra.client_id ?? (await registerByHand(as));
  const challenge = { code_challenge: "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", code_challenge_method: "S256" };
  const query = { client_id, response_type: "code", redirect_uri: "http://127.0.0.1:1/callback", state: "s", resource: mcpServer.resource };
  return `${as.issuer}/authorize?${new URLSearchParams({ ...query, ...challenge, ...extra })}`;
};

describe("round trips", () => {
  test.each([
    ["no request", [], 0],
    [
      "one after the other",
      [
        [1, 2],
        [3, 4],
        [5, 6],
      ],
      3,
    ],
    [
      "all at once",
      [
        [1, 6],
        [2, 5],
        [3, 4],
      ],
      1,
    ],
    [
      "two side by side, then one",
      [
        [1, 3],
        [2, 4],
        [5, 6],
      ],
      2,
    ],
    [
      "a slow one beside three",
      [
        [1, 10],
        [2, 3],
        [4, 5],
        [6, 7],
      ],
      3,
    ],
    [
      "one that is not answered yet",
      [
        [1, 2],
        [3, undefined],
      ],
      2,
    ],
    [
      "in any order of the log",
      [
        [5, 6],
        [1, 2],
        [3, 4],
      ],
      3,
    ],
  ])("%s", (_name, log, expected) => {
    expect(roundTrips(log.map(([start, end]) => ({ start: start as number, end })))).toBe(expected);
  });

  test("recordingFetch writes down URL, method, status and order, of failures too", async () => {
    const { origin } = server.authorizationServer;
    const recording = recordingFetch();
    await recording(`${origin}/nothing`);
    await Promise.all([recording(new Request(`${origin}/nothing`, { method: "POST" })), recording(`${origin}/jwks`)]);
    await expect(recording("http://127.0.0.1:1/")).rejects.toThrow();
    expect(recording.log.map(({ url, method, status }) => [url.pathname, method, status])).toEqual([
      ["/nothing", "GET", 404],
      ["/nothing", "POST", 404],
      ["/jwks", "GET", 200],
      ["/", "GET", undefined],
    ]);
    expect(roundTrips(recording.log)).toBe(3);
  });
});

describe("authorization server", () => {
  test.each([
    // mode, issuer's path, oauth, openid inserted, openid appended
    ["both", "", true, true, true],
    ["both", "/t1", true, true, true],
    ["oauth", "/t1", true, false, false],
    ["openid", "/t1", false, true, false],
    ["openid-appended", "/t1", false, false, true],
    ["openid-appended", "", false, true, true],
    ["none", "", false, false, false],
  ] as const)("REQ-ASM-01 metadata %s for an issuer with path '%s'", async (metadata, path, ...served) => {
    await using as = await startAuthorizationServer({ metadata, path });
    const locations = [
      `/.well-known/oauth-authorization-server${path}`,
      `/.well-known/openid-configuration${path}`,
      `${path}/.well-known/openid-configuration`,
    ];
    const answers = await Promise.all(locations.map((location) => fetch(as.origin + location)));
    expect(answers.map(({ ok }) => ok)).toEqual(served);
    for (const response of answers.filter(({ ok }) => ok)) {
      expect(await response.json()).toMatchObject({
        issuer: as.origin + path,
        token_endpoint: `${as.origin}${path}/token`,
        authorization_response_iss_parameter_supported: true,
        code_challenge_methods_supported: ["S256"],
        client_id_metadata_document_supported: true,
      });
    }
  });

  test("a member of the metadata can be replaced or removed", async () => {
    const { authorizationServer: as } = server;
    as.metadataPatch = { issuer: "https://other.example", code_challenge_methods_supported: undefined };
    const document = await (await fetch(`${as.origin}/.well-known/oauth-authorization-server`)).json();
    expect(document).toMatchObject({ issuer: "https://other.example" });
    expect(document).not.toHaveProperty("code_challenge_methods_supported");
  });

  test.each(["", "/t1"])("a whole login at an issuer with path '%s': JWT for the resource, refresh token, order of issue", async (path) => {
    await using as = await startAuthorizationServer({ path, accessTokenTtlSeconds: 7 });
    const first = await logInByHand(as, { resource: "https://mcp.example/mcp", scope: "mcp:read mcp:write unknown" });
    expect(first).toMatchObject({ scopes: ["mcp:read", "mcp:write"], expiresIn: 7, refreshToken: expect.any(String) });
    const claims = JSON.parse(Buffer.from(first.accessToken.split(".")[1] ?? "", "base64url").toString());
    expect(claims).toMatchObject({ iss: as.issuer, aud: "https://mcp.example/mcp", sub: "alice" });
    as.accessTokenTtlSeconds = 3;
    const { tokens } = await refreshByHand(as, first);
    expect(tokens?.expiresIn).toBe(3);
    expect(tokens?.refreshToken).not.toBe(first.refreshToken);
    expect(as.tokenRequests().map(({ grantType, status }) => [grantType, status])).toEqual([
      ["authorization_code", 200],
      ["refresh_token", 200],
    ]);
    expect(as.registrations).toHaveLength(1);
    expect(as.liveLogins).toBe(1);
  });

  test("a request without scope gets the default, a narrowed one what was granted, an unknown resource is refused", async () => {
    await using as = await startAuthorizationServer({ scopes: { "https://a.example/mcp": ["mcp:read", "mcp:write"] } });
    const resource = "https://a.example/mcp";
    expect((await logInByHand(as, { resource })).scopes).toEqual(["mcp:read"]);
    as.grantScopes = (scopes) => scopes.filter((scope) => scope !== "mcp:write");
    expect((await logInByHand(as, { resource, scope: "mcp:read mcp:write" })).scopes).toEqual(["mcp:read"]);
    as.defaultScope = undefined;
    await expect(logInByHand(as, { resource })).rejects.toThrow("access_denied");
    await expect(logInByHand(as, { resource: "https://b.example/mcp", scope: "mcp:read" })).rejects.toThrow("invalid_target");
  });

  test.each([
    ["always", undefined, true],
    ["offline_access", "mcp:read", false],
    ["offline_access", "mcp:read offline_access", true],
    ["never", "mcp:read offline_access", false],
  ] as const)("refresh tokens: %s, scope %s", async (refreshTokens, scope, issued) => {
    const { authorizationServer: as, mcpServer } = server;
    as.refreshTokens = refreshTokens;
    expect(Boolean((await logInByHand(as, { resource: mcpServer.resource, scope })).refreshToken)).toBe(issued);
  });

  test("ten refreshes with one token at once: one 200, and the family is dead", async () => {
    const { authorizationServer: as, mcpServer } = server;
    as.endLogins();
    const first = await logInByHand(as, { resource: mcpServer.resource });
    const answers = await Promise.all(Array.from({ length: 10 }, () => refreshByHand(as, first)));
    const won = answers.filter(({ status }) => status === 200);
    expect(won).toHaveLength(1);
    expect(answers.filter(({ error }) => error === "invalid_grant")).toHaveLength(9);
    expect(as.liveLogins).toBe(0);
    expect((await refreshByHand(as, won[0]?.tokens ?? first)).error).toBe("invalid_grant");
  });

  test("within the grace window a used refresh token is answered again, after it the family is dead", async () => {
    const { authorizationServer: as, mcpServer } = server;
    as.graceSeconds = 60;
    const first = await logInByHand(as, { resource: mcpServer.resource });
    const answers = await Promise.all(Array.from({ length: 5 }, () => refreshByHand(as, first)));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
    as.graceSeconds = 0;
    expect((await refreshByHand(as, first)).error).toBe("invalid_grant");
    expect((await refreshByHand(as, answers[4]?.tokens ?? first)).error).toBe("invalid_grant");
  });

  test("without rotation the refresh token stays; revoked or ended it is gone; forgotten clients are unknown", async () => {
    const { authorizationServer: as, mcpServer } = server;
    as.rotation = false;
    const login = await logInByHand(as, { resource: mcpServer.resource });
    expect((await refreshByHand(as, login)).tokens?.refreshToken).toBe(login.refreshToken);
    const revocation = new URLSearchParams({ token: login.refreshToken ?? "", client_id: login.clientId });
    expect((await fetch(`${as.issuer}/revoke`, { method: "POST", body: revocation })).status).toBe(200);
    expect((await refreshByHand(as, login)).error).toBe("invalid_grant");
    const second = await logInByHand(as, { resource: mcpServer.resource, clientId: login.clientId });
    as.endLogins();
    expect((await refreshByHand(as, second)).error).toBe("invalid_grant");
    as.forgetClients();
    expect((await refreshByHand(as, second)).error).toBe("invalid_client");
  });

  test("the user: callback page, denial with iss, an error page without callback", async () => {
    const { authorizationServer: as } = server;
    const denied = await person(await authorizeUrl(), { deny: as, followCallback: false });
    expect(Object.fromEntries(denied.callbackUrl?.searchParams ?? [])).toMatchObject({
      error: "access_denied",
      state: "s",
      iss: as.issuer,
    });
    expect(as.nextDecision).toBe("allow");
    const unknown = await person(await authorizeUrl({ client_id: "nobody" }));
    expect(unknown).toMatchObject({ callbackUrl: undefined, status: 400 });
    const listener = createServer((req, res) => res.end(`got ${new URL(req.url ?? "", "http://x").searchParams.get("state")}`));
    await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
    // A native client may come back on another loopback port than the registered one (RFC 8252 §7.3).
    const redirect_uri = `http://127.0.0.1:${(listener.address() as AddressInfo).port}/callback`;
    const { page, callbackUrl } = await person(await authorizeUrl({ redirect_uri }));
    listener.close();
    expect(page).toBe("got s");
    expect(callbackUrl?.searchParams.get("iss")).toBe(as.issuer);
  });

  test.each(["allow", "deny"])("pages: login, then consent: %s", async (decision) => {
    const { authorizationServer: as } = server;
    as.interaction = "pages";
    let cookie = "";
    const visit = async (url: string, body?: URLSearchParams): Promise<{ url: string; text: string }> => {
      const response = await fetch(url, { redirect: "manual", headers: { cookie }, ...(body ? { method: "POST", body } : {}) });
      for (const set of response.headers.getSetCookie()) cookie = `${set.split(";")[0]}; ${cookie}`;
      const location = response.headers.get("location");
      if (location === null) return { url, text: await response.text() };
      return location.startsWith("http://127.0.0.1:1/") ? { url: location, text: "" } : visit(new URL(location, url).href);
    };
    const login = await visit(await authorizeUrl({ scope: "mcp:read" }));
    expect(login.text).toContain("Log in");
    const consent = await visit(login.url, new URLSearchParams({ account: "bob", action: "login" }));
    expect(consent.text).toContain("mcp:read");
    const { searchParams } = new URL((await visit(consent.url, new URLSearchParams({ action: decision }))).url);
    expect(searchParams.get(decision === "allow" ? "code" : "error")).toBeTruthy();
  });

  test.each(["map", "http URL"])("REQ-REG-02 a client ID metadata document served from a %s", async (from) => {
    const { authorizationServer: as, mcpServer } = server;
    const clientId = `https://app.example/${encodeURIComponent(from)}/client.json`;
    const redirect_uris = ["http://127.0.0.1:1/callback"];
    const document = {
      client_id: clientId,
      client_name: "App",
      redirect_uris,
      token_endpoint_auth_method: "none",
      application_type: "native",
      grant_types: ["authorization_code", "refresh_token"],
    };
    const host = createServer((_req, res) => res.setHeader("content-type", "application/json").end(JSON.stringify(document)));
    await new Promise<void>((resolve) => host.listen(0, "127.0.0.1", resolve));
    as.clientMetadataDocuments = { [clientId]: from === "map" ? document : `http://127.0.0.1:${(host.address() as AddressInfo).port}/` };
    const login = await logInByHand(as, { resource: mcpServer.resource, clientId });
    host.close();
    expect((await refreshByHand(as, login)).status).toBe(200);
    expect(as.registrations).toHaveLength(0);
  });

  test.each([false, true])("REQ-DPOP-03 DPoP-bound tokens; nonces demanded: %s", async (dpopNonces) => {
    const client = {
      client_id: "machine",
      client_secret: "s3cret",
      grant_types: ["client_credentials"],
      redirect_uris: [],
      response_types: [],
    };
    await using as = await startAuthorizationServer({
      dpopNonces,
      clients: [{ ...client, token_endpoint_auth_method: "client_secret_post" }],
    });
    const { privateKey, publicKey } = await generateKeyPair("ES256");
    const send = async (nonce?: string) => {
      const proof = new SignJWT({
        htm: "POST",
        htu: `${as.issuer}/token`,
        jti: crypto.randomUUID(),
        ...(nonce === undefined ? {} : { nonce }),
      });
      const header = { typ: "dpop+jwt", alg: "ES256", jwk: await exportJWK(publicKey) };
      const dpop = await proof.setProtectedHeader(header).setIssuedAt().sign(privateKey);
      const form = {
        grant_type: "client_credentials",
        client_id: "machine",
        client_secret: "s3cret",
        scope: "mcp:read",
        resource: "https://mcp.example/mcp",
      };
      return fetch(`${as.issuer}/token`, { method: "POST", headers: { dpop }, body: new URLSearchParams(form) });
    };
    let response = await send();
    if (dpopNonces) {
      expect(await response.json()).toMatchObject({ error: "use_dpop_nonce" });
      response = await send(response.headers.get("dpop-nonce") ?? "");
    }
    expect(await response.json()).toMatchObject({ token_type: "DPoP", scope: "mcp:read" });
  });

  test("it writes nothing to the console", async () => {
    const spies = (["info", "warn", "error", "log"] as const).map((name) => vi.spyOn(console, name).mockReturnValue());
    await using as = await startAuthorizationServer();
    const login = await logInByHand(as, { resource: "https://mcp.example/mcp" });
    await refreshByHand(as, login);
    for (const spy of spies) {
      expect(spy).not.toHaveBeenCalled();
      spy.mockRestore();
    }
  });
});

describe("a user with a second factor or another device", () => {
  test.each([
    // RFC 6238, Appendix B (SHA-1)
    [59, "94287082"],
    [1111111109, "07081804"],
    [1111111111, "14050471"],
    [1234567890, "89005924"],
    [2000000000, "69279037"],
    [20000000000, "65353130"],
  ])("RFC 6238: the code at %i s", (seconds, code) => {
    expect(totp(Buffer.from("12345678901234567890"), seconds * 1000, 8)).toBe(code);
  });

  test.each([
    [-31, true],
    [0, true],
    [31, true],
    [-61, false],
    [61, false],
  ])("a code %i s off: %s", (seconds, accepted) => {
    const secret = Buffer.from("12345678901234567890");
    const now = 1_700_000_025_000;
    expect(isTotp(secret, totp(secret, now + seconds * 1000), now)).toBe(accepted);
  });

  test("the login page asks for the code where `acr_values` does, and again when it is wrong", async () => {
    const { authorizationServer: as } = server;
    as.interaction = "pages";
    const url = await authorizeUrl({ acr_values: secondFactorAcr, scope: "openid mcp:read" });
    expect(await enterDeviceCode(url, undefined, { fields: { totp: "12345" } })).toContain("The code is wrong.");
  });

  test("a device code waits for the user, and is worth one login", async () => {
    await using other = await startAuthorizationServer({ deviceFlow: true });
    const grant = "urn:ietf:params:oauth:grant-type:device_code";
    const client_id = await registerByHand(other, { grant_types: [grant, "authorization_code"] });
    const post = async (path: string, body: Record<string, string>) => {
      const response = await fetch(other.issuer + path, { method: "POST", body: new URLSearchParams({ client_id, ...body }) });
      return (await response.json()) as Record<string, string>;
    };
    const {
      device_code = "",
      user_code,
      verification_uri = "",
    } = await post("/device/auth", { scope: "mcp:read", resource: "https://mcp.example" });
    const poll = () => post("/token", { grant_type: grant, device_code });
    expect(await poll()).toMatchObject({ error: "authorization_pending" });
    expect(await enterDeviceCode(verification_uri, "AAAA-AAAA")).toContain("not a code");
    expect(await enterDeviceCode(verification_uri, user_code)).toContain("connected");
    expect(await poll()).toMatchObject({ token_type: "Bearer" });
    expect(await poll()).toMatchObject({ error: "invalid_grant" });
  });
});

describe("faults", () => {
  test("answer: once, then as usual", async () => {
    const { authorizationServer: as, mcpServer } = server;
    const login = await logInByHand(as, { resource: mcpServer.resource });
    as.intercept(when(tokenRequest("refresh_token"), answer(503, { error: "busy" }, { "retry-after": "1" }), 1));
    expect((await refreshByHand(as, login)).status).toBe(503);
    expect((await refreshByHand(as, login)).status).toBe(200);
  });

  test("closeBefore leaves the token unused, closeAfter spends it and tells nobody", async () => {
    const { authorizationServer: as, mcpServer } = server;
    const login = await logInByHand(as, { resource: mcpServer.resource });
    as.intercept(when(tokenRequest(), closeBefore, 1));
    await expect(refreshByHand(as, login)).rejects.toThrow("fetch failed");
    const next = (await refreshByHand(as, login)).tokens;
    as.intercept(when(tokenRequest(), closeAfter, 1));
    await expect(refreshByHand(as, next ?? login)).rejects.toThrow("fetch failed");
    expect(as.tokenRequests("refresh_token").map(({ status }) => status)).toEqual([undefined, 200, undefined]);
    expect((await refreshByHand(as, next ?? login)).error).toBe("invalid_grant");
  });

  test("hang is ended by the client, a gate holds until it is opened", async () => {
    const { authorizationServer: as } = server;
    const remove = as.intercept(hang);
    await expect(fetch(`${as.issuer}/jwks`, { signal: AbortSignal.timeout(50) })).rejects.toThrow();
    remove();
    const held = gate();
    as.intercept(held.hook);
    const answers = [fetch(`${as.issuer}/jwks`), fetch(`${as.issuer}/jwks`)];
    await held.reached(2);
    held.open(1);
    await Promise.race(answers);
    expect(held.waiting).toBe(1);
    held.open();
    expect((await Promise.all(answers)).map(({ status }) => status)).toEqual([200, 200]);
    await expect.poll(() => as.requests[0]?.end).toBeTypeOf("number");
    expect(as.requests[0]?.status).toBeUndefined();
  });
});
