import { execFile } from "node:child_process";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Client as ClientV2, SSEClientTransport as SseV2, StreamableHTTPClientTransport as HttpV2 } from "@modelcontextprotocol/client";
import { Client as ClientV1 } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport as SseV1 } from "@modelcontextprotocol/sdk/client/sse.js";
import { StreamableHTTPClientTransport as HttpV1 } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import type { Transport as TransportV1 } from "@modelcontextprotocol/sdk/shared/transport.js";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import {
  answer,
  closeAfter,
  closeBefore,
  gate,
  hang,
  logInByHand,
  person,
  recordingFetch,
  refreshByHand,
  registerByHand,
  roundTrips,
  startAuthorizationServer,
  startMcpServer,
  startProtectedServer,
  tokenRequest,
  toolCall,
  when,
} from "./fixture/index.ts";
import type { ProtectedServer } from "./fixture/index.ts";

let server: ProtectedServer;
beforeAll(async () => {
  server = await startProtectedServer();
});
afterAll(() => server.close());
beforeEach(() => server.reset());

/** A `fetch` with a token that can be changed on the way. */
function bearer(token: string) {
  const fetchWithToken = (url: string | URL | Request, init?: RequestInit) => {
    const headers = new Headers(init?.headers);
    headers.set("authorization", `Bearer ${fetchWithToken.token}`);
    return fetch(url, { ...init, headers });
  };
  fetchWithToken.token = token;
  return fetchWithToken;
}

const rpc = (method: string, params: object = {}) => JSON.stringify({ jsonrpc: "2.0", id: 1, method, params });
const post = (token: string | undefined, body = rpc("ping"), url = server.url) =>
  fetch(url, {
    method: "POST",
    body,
    headers: {
      "content-type": "application/json",
      accept: "application/json, text/event-stream",
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    },
  });
const mint = (claims: object = {}) => server.authorizationServer.mint({ aud: server.mcpServer.resource, ...claims });
const authorizeUrl = async (extra: Record<string, string> = {}) => {
  const { authorizationServer: as, mcpServer } = server;
  const client_id = extra["client_id"] ?? (await registerByHand(as));
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
    expect(first).toMatchObject({ scope: "mcp:read mcp:write", expiresIn: 7, refreshToken: expect.any(String) });
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
    expect((await logInByHand(as, { resource })).scope).toBe("mcp:read");
    as.grantScopes = (scopes) => scopes.filter((scope) => scope !== "mcp:write");
    expect((await logInByHand(as, { resource, scope: "mcp:read mcp:write" })).scope).toBe("mcp:read");
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

  test("the person: callback page, denial with iss, an error page without callback", async () => {
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

describe("MCP server", () => {
  const v2 = (mode: "legacy" | "auto" | { pin: string }) => async (fetch: typeof globalThis.fetch) => {
    const client = new ClientV2({ name: "test", version: "1" }, { versionNegotiation: { mode } });
    await client.connect(new HttpV2(new URL(server.url), { fetch }));
    return client;
  };
  test.each([
    [
      "SDK v1 over Streamable HTTP",
      async (fetch: typeof globalThis.fetch) => {
        const client = new ClientV1({ name: "test", version: "1" });
        await client.connect(new HttpV1(new URL(server.url), { fetch }) as TransportV1);
        return client;
      },
    ],
    [
      "SDK v1 over SSE",
      async (fetch: typeof globalThis.fetch) => {
        const client = new ClientV1({ name: "test", version: "1" });
        await client.connect(new SseV1(new URL(server.mcpServer.sseUrl), { fetch }));
        return client;
      },
    ],
    [
      "SDK v2 over SSE",
      async (fetch: typeof globalThis.fetch) => {
        const client = new ClientV2({ name: "test", version: "1" });
        await client.connect(new SseV2(new URL(server.mcpServer.sseUrl), { fetch }));
        return client;
      },
    ],
    ["SDK v2, 2025-11-25", v2("legacy")],
    ["SDK v2, probing", v2("auto")],
    ["SDK v2, 2026-07-28", v2({ pin: "2026-07-28" })],
  ])("%s: tools, caller, progress, step-up", async (_name, connect) => {
    const { mcpServer } = server;
    const authorization = bearer(await mint({ sub: "bob" }));
    const client = await connect(authorization);
    // The overloads of both generations differ in everything but this.
    const call = client.callTool.bind(client) as (params: object, a?: unknown, b?: unknown) => Promise<{ content: { text: string }[] }>;
    const result = async (name: string, input: object = {}) => JSON.parse((await call({ name, arguments: input })).content[0]?.text ?? "");
    expect((await client.listTools()).tools.map(({ name }) => name)).toContain("count");
    expect(await result("whoami")).toMatchObject({ sub: "bob", scopes: ["mcp:read"] });
    expect(await result("add", { a: 2, b: 3 })).toBe(5);
    expect(await result("count", { id: "x" })).toBe(1);
    expect(mcpServer.tools.counts.get("x")).toBe(1);

    const progress: unknown[] = [];
    const options = { onprogress: (step: unknown) => progress.push(step) };
    const slow = client instanceof ClientV1 ? call({ name: "slow" }, undefined, options) : call({ name: "slow" }, options);
    await mcpServer.tools.reached(1);
    await vi.waitFor(() => expect(progress).toHaveLength(2));
    mcpServer.tools.release();
    expect((await slow).content[0]?.text).toBe('"done"');

    await expect(result("write_note", { text: "hi" })).rejects.toThrow();
    expect(mcpServer.calls("write_note").map(({ status }) => status)).toEqual([403]);
    authorization.token = await mint({ scope: "mcp:read mcp:write" });
    expect(await result("write_note", { text: "hi" })).toBe(1);
    await client.close();
  });

  test.each([
    ["a valid one", {}, 200],
    ["for another audience", { aud: "https://other.example/mcp" }, 401],
    ["of another issuer", { iss: "https://other.example" }, 401],
    ["expired", { expiresIn: -1 }, 401],
    ["expired this second", { expiresIn: 0 }, 401],
  ])("a token %s", async (_name, claims, status) => {
    const response = await post(
      await mint(claims),
      rpc("initialize", { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "t", version: "1" } }),
    );
    expect(response.status).toBe(status);
    await response.body?.cancel();
  });

  test("a token signed by a stranger that claims our issuer is refused", async () => {
    await using stranger = await startAuthorizationServer();
    const token = await stranger.mint({ aud: server.mcpServer.resource, iss: server.authorizationServer.issuer });
    expect((await post(token)).status).toBe(401);
  });

  test.each([
    [
      "everything",
      {},
      "path",
      /^Bearer resource_metadata="http:.*\/\.well-known\/oauth-protected-resource\/mcp", scope="mcp:read"$/,
      "/.well-known/oauth-protected-resource/mcp",
    ],
    [
      "no scope, metadata at the root",
      { scope: false },
      "root",
      /^Bearer resource_metadata="[^"]*oauth-protected-resource"$/,
      "/.well-known/oauth-protected-resource",
    ],
    ["no URL", { resourceMetadata: false }, "path", /^Bearer scope="mcp:read"$/, "/.well-known/oauth-protected-resource/mcp"],
    ["another URL", { scope: false }, "other", /^Bearer resource_metadata=".*\/metadata\/of-the-resource"$/, "/metadata/of-the-resource"],
    ["no header", { header: false }, "path", null, "/.well-known/oauth-protected-resource/mcp"],
    ["no metadata", {}, "none", /^Bearer scope="mcp:read"$/, undefined],
  ] as const)("REQ-DISC-01 challenge: %s", async (_name, challenge, resourceMetadata, header, location) => {
    const { mcpServer: mcp, authorizationServer: as } = server;
    Object.assign(mcp, { challenge: { ...mcp.challenge, ...challenge }, resourceMetadata });
    const response = await post(undefined);
    expect(response.status).toBe(401);
    const found = response.headers.get("www-authenticate");
    if (header === null) expect(found).toBeNull();
    else expect(found).toMatch(header);
    const places = ["/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-protected-resource", "/metadata/of-the-resource"];
    for (const place of places) {
      const document = await fetch(mcp.origin + place);
      expect([place, document.status]).toEqual([place, place === location ? 200 : 404]);
      if (document.ok)
        expect(await document.json()).toMatchObject({
          resource: server.url,
          authorization_servers: [as.issuer],
          scopes_supported: ["mcp:read", "mcp:write"],
        });
    }
  });

  test("REQ-STEP-01 403 names the scope that the tool needs", async () => {
    const response = await post(await mint(), rpc("tools/call", { name: "write_note", arguments: { text: "x" } }));
    expect(response.status).toBe(403);
    expect(response.headers.get("www-authenticate")).toMatch(
      /^Bearer error="insufficient_scope", resource_metadata="[^"]+", scope="mcp:write"$/,
    );
    expect(server.mcpServer.tools.notes).toEqual([]);
  });

  test("revokeAll refuses what was issued before and takes what comes after, within the same second", async () => {
    const { mcpServer: mcp } = server;
    const before = await mint();
    mcp.revokeAll();
    const after = await mint();
    expect((await post(before)).status).toBe(401);
    expect((await post(after)).status).not.toBe(401);
    mcp.refuseTokens(({ sub }) => sub === "alice");
    expect((await post(after)).status).toBe(401);
  });

  test("refuseTokens by jti; the log tells jti, tool and order", async () => {
    const { mcpServer: mcp } = server;
    const token = await mint();
    await post(token, rpc("tools/call", { name: "count", arguments: { id: "1" } }));
    const [call] = mcp.calls("count");
    expect(call).toMatchObject({ authorized: true, rpcMethod: "tools/call", tokenJti: expect.any(String) });
    mcp.refuseTokens(call?.tokenJti ?? "");
    expect((await post(token)).status).toBe(401);
    expect(call?.end).toBeGreaterThan(call?.start ?? Infinity);
  });

  test("moveTo: tokens of the old server are refused, those of the new one taken", async () => {
    const { mcpServer: mcp, authorizationServer: as } = server;
    await using next = await startAuthorizationServer({ path: "/t2" });
    const old = await mint();
    mcp.moveTo(next);
    expect((await post(old)).status).toBe(401);
    expect((await post(await next.mint({ aud: mcp.resource }))).status).not.toBe(401);
    mcp.moveTo(as);
    expect((await post(old)).status).not.toBe(401);
  });

  test("GET streams are counted and can be ended", async () => {
    const { mcpServer: mcp } = server;
    await vi.waitFor(() => expect(mcp.openStreams).toBe(0));
    const client = new ClientV1({ name: "test", version: "1" });
    await client.connect(new HttpV1(new URL(server.url), { fetch: bearer(await mint()) }) as TransportV1);
    await mcp.streamsReached(1);
    expect(mcp.openStreams).toBe(1);
    mcp.closeStreams();
    await vi.waitFor(() => expect(mcp.openStreams).toBe(0));
    await client.close();
  });

  test("without an authorization server it asks for nothing", async () => {
    await using open = await startMcpServer();
    const client = new ClientV2({ name: "test", version: "1" });
    await client.connect(new HttpV2(new URL(open.url)));
    const result = await client.callTool({ name: "whoami", arguments: {} });
    expect(JSON.stringify(result)).toContain("anonymous");
    await client.close();
    expect((await fetch(`${open.origin}/.well-known/oauth-protected-resource/mcp`)).status).toBe(404);
  });

  test("REQ-LEG-01 REQ-LEG-02 one origin for both, and metadata of another issuer at the origin", async () => {
    await using legacy = await startProtectedServer({
      sameOrigin: true,
      mcpServer: { resourceMetadata: "none" },
      authorizationServer: { metadata: "none" },
    });
    const { authorizationServer: as, mcpServer: mcp } = legacy;
    expect(new URL(mcp.url).origin).toBe(as.origin);
    expect((await fetch(`${as.origin}/.well-known/oauth-authorization-server`)).status).toBe(404);
    const { accessToken } = await logInByHand(as, { resource: mcp.resource });
    expect((await post(accessToken, rpc("ping"), mcp.url)).status).not.toBe(401);
    server.mcpServer.originMetadata = true;
    const pointer = await fetch(`${server.mcpServer.origin}/.well-known/oauth-authorization-server`);
    expect(await pointer.json()).toMatchObject({ issuer: server.authorizationServer.issuer });
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

  test("closeAfter on the MCP server: the call was made", async () => {
    const { mcpServer: mcp } = server;
    const client = new ClientV2({ name: "test", version: "1" }, { versionNegotiation: { mode: "auto" } });
    await client.connect(new HttpV2(new URL(server.url), { fetch: bearer(await mint()) }));
    mcp.intercept(when(toolCall("count"), closeAfter));
    await expect(client.callTool({ name: "count", arguments: { id: "lost" } })).rejects.toThrow();
    expect(mcp.tools.counts.get("lost")).toBe(1);
    await client.close();
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
    await vi.waitFor(() => expect(as.requests[0]?.end).toBeTypeOf("number"));
    expect(as.requests[0]?.status).toBeUndefined();
  });
});

test.each(["SDK v1", "SDK v2"])("a gate after processing holds the answer of a call that was made: %s", async (sdk) => {
  const { mcpServer: mcp } = server;
  const client =
    sdk === "SDK v1"
      ? new ClientV1({ name: "t", version: "1" })
      : new ClientV2({ name: "t", version: "1" }, { versionNegotiation: { mode: "auto" } });
  const options = { fetch: bearer(await mint()) };
  if (client instanceof ClientV1) await client.connect(new HttpV1(new URL(server.url), options) as TransportV1);
  else await client.connect(new HttpV2(new URL(server.url), options));
  const held = gate(toolCall("count"), "after");
  mcp.intercept(held.hook);
  let answered = false;
  const call = client.callTool({ name: "count", arguments: { id: "held" } }).then(() => (answered = true));
  await held.reached(1);
  expect([mcp.tools.counts.get("held"), answered, mcp.inFlight]).toEqual([1, false, 1]);
  held.open();
  await call;
  await client.close();
});

test("the server's own look at the keys is neither logged nor disturbed", async () => {
  await using fresh = await startProtectedServer();
  fresh.authorizationServer.intercept(hang);
  expect((await post(await fresh.authorizationServer.mint({ aud: fresh.url }), rpc("ping"), fresh.url)).status).toBe(400);
  expect(fresh.authorizationServer.requests).toEqual([]);
});

test("closing leaves nothing that keeps a process alive, open streams and held requests included", async () => {
  const index = new URL("./fixture/index.ts", import.meta.url).href;
  const program = `
    const { startProtectedServer, hang, logInByHand } = await import(${JSON.stringify(index)});
    const server = await startProtectedServer();
    const { accessToken } = await logInByHand(server.authorizationServer, { resource: server.url });
    const headers = { authorization: "Bearer " + accessToken, accept: "text/event-stream" };
    const stream = await fetch(server.mcpServer.sseUrl, { headers });
    server.authorizationServer.intercept(hang);
    const hanging = fetch(server.authorizationServer.issuer + "/jwks").catch(() => "ended");
    await server.close();
    console.log(stream.status, await hanging);`;
  const { stdout, stderr } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", program], {
    cwd: fileURLToPath(new URL("..", import.meta.url)),
    timeout: 10_000,
  });
  expect([stdout.trim(), stderr]).toEqual(["200 ended", ""]);
});
