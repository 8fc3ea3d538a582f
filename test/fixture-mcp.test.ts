import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Client as ClientV2, StreamableHTTPClientTransport as HttpV2, SSEClientTransport as SseV2 } from "@modelcontextprotocol/client";
import { Client as ClientV1 } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport as SseV1 } from "@modelcontextprotocol/sdk/client/sse.js";
import { StreamableHTTPClientTransport as HttpV1 } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import type { Transport as TransportV1 } from "@modelcontextprotocol/sdk/shared/transport.js";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { ProtectedServer } from "./fixture/index.ts";
import {
  closeAfter,
  gate,
  hang,
  logInByHand,
  startAuthorizationServer,
  startMcpServer,
  startProtectedServer,
  toolCall,
  when,
} from "./fixture/index.ts";

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
    await expect.poll(() => progress).toHaveLength(2);
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
    await expect.poll(() => mcp.openStreams).toBe(0);
    const client = new ClientV1({ name: "test", version: "1" });
    await client.connect(new HttpV1(new URL(server.url), { fetch: bearer(await mint()) }) as TransportV1);
    await mcp.streamsReached(1);
    expect(mcp.openStreams).toBe(1);
    mcp.closeStreams();
    await expect.poll(() => mcp.openStreams).toBe(0);
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
  test("closeAfter on the MCP server: the call was made", async () => {
    const { mcpServer: mcp } = server;
    const client = new ClientV2({ name: "test", version: "1" }, { versionNegotiation: { mode: "auto" } });
    await client.connect(new HttpV2(new URL(server.url), { fetch: bearer(await mint()) }));
    mcp.intercept(when(toolCall("count"), closeAfter));
    await expect(client.callTool({ name: "count", arguments: { id: "lost" } })).rejects.toThrow();
    expect(mcp.tools.counts.get("lost")).toBe(1);
    await client.close();
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
    timeout: 45_000,
  });
  expect([stdout.trim(), stderr]).toEqual(["200 ended", ""]);
});
