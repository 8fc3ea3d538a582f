/** The WebSocket transport: real SDK clients at a real server whose handshake wants credentials. */
import { inspect } from "node:util";
import { Client as ClientV2 } from "@modelcontextprotocol/client";
import { Client as ClientV1 } from "@modelcontextprotocol/sdk/client/index.js";
import { createRemoteJWKSet } from "jose";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { ApiKeyCredential, BasicCredential, BearerCredential, SessionCookieCredential } from "../../../src/credentials/index.ts";
import type { Clock, Credential, McpAuthError } from "../../../src/index.ts";
import { TokenManager } from "../../../src/index.ts";
import { type OpenWebSocket, WebSocketTransport, type WebSocketTransportOptions } from "../../../src/transports/websocket/websocket.ts";
import {
  apiKeys,
  basicAuthentication,
  jwts,
  logInByHand,
  type Protection,
  startProtectedServer,
  startWebSocketServer,
  type WebSocketServerOptions,
} from "../../fixture/index.ts";
import { countingCredential } from "../support.ts";

const info = { name: "test", version: "1" };
const clients = {
  v1: (transport: WebSocketTransport) => {
    const client = new ClientV1(info);
    return { client, connect: () => client.connect(transport) };
  },
  v2: (transport: WebSocketTransport) => {
    const client = new ClientV2(info);
    return { client, connect: () => client.connect(transport) };
  },
};
const sdks = Object.entries(clients);

async function startServer(options: WebSocketServerOptions = {}) {
  const server = await startWebSocketServer(options);
  onTestFinished(() => server.close());
  return server;
}

/** Takes these bearer tokens. */
function tokens(...accepted: string[]): Protection {
  return {
    check: async ({ headers }) => {
      const token = headers.authorization?.replace("Bearer ", "") ?? "";
      if (!accepted.includes(token)) return { status: 401, headers: { "www-authenticate": 'Bearer error="invalid_token"' } };
      return { caller: { sub: token, jti: undefined, clientId: undefined, scopes: [], claims: {} } };
    },
  };
}

/** The origin of a `ws:` URL for plain requests. */
const httpOf = (url: string) => url.replace(/^ws/, "http");

async function whoami(connect: (typeof clients)["v1"] | (typeof clients)["v2"], transport: WebSocketTransport): Promise<unknown> {
  const { client, connect: start } = connect(transport);
  onTestFinished(() => client.close());
  await start();
  const { content } = (await client.callTool({ name: "whoami", arguments: {} })) as unknown as { content: [{ text: string }] };
  await client.close();
  return (JSON.parse(content[0].text) as { sub: string }).sub;
}

async function failureOf(work: Promise<unknown> | (() => unknown)): Promise<McpAuthError> {
  try {
    await (typeof work === "function" ? work() : work);
  } catch (error) {
    return error as McpAuthError;
  }
  throw new Error("it did not fail");
}

/** A transport with what an SDK's client would set, written down in order. */
function watched(url: string, options?: WebSocketTransportOptions) {
  const transport = new WebSocketTransport(url, options);
  const told: string[] = [];
  transport.onclose = () => told.push("close");
  transport.onerror = (error) => told.push(`error ${(error as McpAuthError).code}`);
  transport.onmessage = (message) => told.push(`message ${JSON.stringify(message)}`);
  onTestFinished(() => transport.close());
  return { transport, told };
}

describe.each(sdks)("SDK %s", (_name, sdk) => {
  test("headers on the handshake", async () => {
    const server = await startServer({ protection: tokens("token-1") });
    const credential = new BearerCredential({ serverUrl: httpOf(server.url), token: "token-1" });
    expect(await whoami(sdk, new WebSocketTransport(server.url, { credential }))).toBe("token-1");
    expect(server.handshakes).toMatchObject([{ status: 101, headers: { "sec-websocket-protocol": "mcp" } }]);
    await expect.poll(() => server.open).toBe(0);
  });

  test("a subprotocol in the form that the server knows", async () => {
    const tokenOf: WebSocketServerOptions["tokenOf"] = ({ protocols }) => {
      const carrier = protocols.find((protocol) => protocol.startsWith("bearer."));
      return carrier && Buffer.from(carrier.slice(7), "base64url").toString();
    };
    const server = await startServer({ protection: tokens("a/token=?"), tokenOf });
    const credential = new BearerCredential({ serverUrl: httpOf(server.url), token: "a/token=?" });
    const subprotocol = (token: string) => `bearer.${Buffer.from(token).toString("base64url")}`;
    expect(await whoami(sdk, new WebSocketTransport(server.url, { credential, subprotocol }))).toBe("a/token=?");
    expect(server.handshakes[0]?.headers.authorization).toBeUndefined();
  });

  test("a query parameter that the app insists on", async () => {
    const server = await startServer({
      protection: tokens("to&ken"),
      tokenOf: ({ query }) => query.get("access_token") ?? undefined,
    });
    const credential = new BearerCredential({ serverUrl: httpOf(server.url), token: "to&ken" });
    const query = { parameter: "access_token", exposeTokenInUrls: true } as const;
    expect(await whoami(sdk, new WebSocketTransport(`${server.url}?tenant=1`, { credential, query }))).toBe("to&ken");
    expect(server.handshakes[0]?.query.get("tenant")).toBe("1");
  });

  test("without credentials", async () => {
    const server = await startServer();
    expect(await whoami(sdk, new WebSocketTransport(server.url))).toBe("anonymous");
  });

  test("a refused handshake is explained by a plain request, and repeated with what helps, once", async () => {
    const server = await startServer({ protection: tokens("token-2") });
    let n = 0;
    const credential = new BearerCredential({ serverUrl: httpOf(server.url), token: () => `token-${++n}` });
    expect(await whoami(sdk, new WebSocketTransport(server.url, { credential }))).toBe("token-2");
    expect(server.handshakes.map(({ status }) => status)).toEqual([401, 101]);
    expect(server.asked).toBe(2);
  });
});

test("a user's login: a token that the server refuses is refreshed, once, and the handshake repeated", async () => {
  const { authorizationServer: as, close } = await startProtectedServer();
  onTestFinished(close);
  let revoked = "";
  const protection: Protection = {
    check: async (request) => {
      const { issuer } = as;
      const found = await jwts({ key: createRemoteJWKSet(new URL(as.jwksUri)), issuer, audience: httpOf(server.url) }).check(request);
      if ("caller" in found && found.caller.claims.jti === revoked) return { status: 401, headers: { "www-authenticate": "Bearer" } };
      return found;
    },
  };
  const server = await startServer({ protection });
  const resource = httpOf(server.url);
  const auth = new TokenManager({ serverUrl: resource });
  onTestFinished(() => auth.dispose());
  const given = await logInByHand(as, { resource, scope: "mcp:read" });
  await auth.setTokens({ ...given, issuer: as.issuer, resource });
  expect(await whoami(clients.v1, new WebSocketTransport(server.url, { credential: auth }))).toBe("alice");
  revoked = JSON.parse(atob(given.accessToken.split(".")[1] ?? "")).jti;
  expect(await whoami(clients.v2, new WebSocketTransport(server.url, { credential: auth }))).toBe("alice");
  expect(server.handshakes.map(({ status }) => status)).toEqual([101, 401, 101]);
  expect(as.tokenRequests("refresh_token")).toHaveLength(1);
});

describe("every credential", () => {
  test.each<[string, Protection, (serverUrl: string) => Credential, string]>([
    [
      "API key",
      apiKeys({ keys: { robot: "key-2" } }),
      (serverUrl) => new ApiKeyCredential({ serverUrl, keys: ["key-1", "key-2"] }),
      "robot",
    ],
    [
      "name and password",
      basicAuthentication({ username: "ann", password: "pw" }),
      (serverUrl) => new BasicCredential({ serverUrl, username: "ann", password: "pw" }),
      "ann",
    ],
    [
      "session cookie",
      {
        check: async ({ headers }) =>
          headers.cookie === "sid=1"
            ? { caller: { sub: "ann", jti: undefined, clientId: undefined, scopes: [], claims: {} } }
            : { status: 401, headers: {} },
      },
      (serverUrl) =>
        new SessionCookieCredential({
          serverUrl,
          login: { url: serverUrl },
          fetch: async () => new Response(null, { headers: { "set-cookie": "sid=1" } }),
        }),
      "ann",
    ],
  ])("%s", async (_name, protection, create, who) => {
    const server = await startServer({ protection });
    expect(await whoami(clients.v1, new WebSocketTransport(server.url, { credential: create(httpOf(server.url)) }))).toBe(who);
  });
});

describe("a handshake that fails", () => {
  test("for good: the credential's reason, no second handshake, told once as an error", async () => {
    const server = await startServer({ protection: tokens("other") });
    const credential = new BearerCredential({ serverUrl: httpOf(server.url), token: "hush" });
    const { transport, told } = watched(server.url, { credential });
    const error = await failureOf(transport.start());
    expect(error).toMatchObject({ code: "credential_refused", status: 401 });
    expect(String(error)).not.toContain("hush");
    expect(server.handshakes).toHaveLength(1);
    expect(told).toEqual(["error credential_refused"]);
  });

  test("is forgotten with the next that succeeds", async () => {
    const protection = apiKeys({ keys: {} });
    const server = await startServer({ protection });
    const credential = new ApiKeyCredential({ serverUrl: httpOf(server.url), keys: "key" });
    await failureOf(watched(server.url, { credential }).transport.start());
    expect(credential.lastError?.code).toBe("credential_refused");
    protection.activate("it", "key");
    await watched(server.url, { credential }).transport.start();
    expect(credential.lastError).toBeUndefined();
  });

  test("with what the credential throws", async () => {
    const server = await startServer({ protection: tokens("other") });
    const credential = new BearerCredential({ serverUrl: httpOf(server.url), token: `x.${btoa('{"exp":1}')}.x` });
    expect(await failureOf(watched(server.url, { credential }).transport.start())).toMatchObject({ code: "credential_expired" });
    expect(server.handshakes).toHaveLength(0);
  });

  test("where plain requests say nothing of it: `network_error`, no second handshake", async () => {
    const server = await startServer({ protection: tokens("other"), refusesPlainRequests: false });
    const credential = countingCredential();
    expect(await failureOf(watched(server.url, { credential }).transport.start())).toMatchObject({ code: "network_error" });
    expect(credential.onChallenge).not.toHaveBeenCalled();
    expect([server.handshakes.length, server.asked]).toEqual([1, 1]);
  });

  test("when the new headers are refused, too: no third handshake", async () => {
    const protection = tokens("token-2");
    const server = await startServer({
      protection: { check: async (request) => ("upgrade" in request.headers ? { status: 401, headers: {} } : protection.check(request)) },
    });
    expect(await failureOf(watched(server.url, { credential: countingCredential() }).transport.start())).toMatchObject({
      code: "network_error",
    });
    expect(server.handshakes).toHaveLength(2);
  });

  test.each([undefined, countingCredential()])("nobody there (with a credential: %o)", async (credential) => {
    expect(await failureOf(watched("ws://127.0.0.1:1/", { credential }).transport.start())).toMatchObject({
      code: "network_error",
      serverUrl: "ws://127.0.0.1:1/",
    });
  });

  test("that is never answered ends after ten seconds of the clock", async () => {
    const server = await startServer();
    server.hang();
    const rings: (() => void)[] = [];
    const clock = { now: () => 0, sleep: () => new Promise<void>((resolve) => rings.push(resolve)) };
    const { transport, told } = watched(server.url, { clock, credential: countingCredential() });
    const waiting = failureOf(transport.start());
    await expect.poll(() => server.handshakes.length).toBe(1);
    rings[0]?.();
    expect(await waiting).toMatchObject({ code: "timeout" });
    expect(server.asked).toBe(0);
    expect(told).toEqual(["error timeout"]);
  });

  test("closed meanwhile: it ends at once, and nothing is asked", async () => {
    const server = await startServer();
    server.hang();
    const { transport, told } = watched(server.url, { credential: countingCredential() });
    const waiting = failureOf(transport.start());
    await expect.poll(() => server.handshakes.length).toBe(1);
    await transport.close();
    expect(await waiting).toMatchObject({ code: "network_error" });
    expect(told).toEqual(["close"]);
    expect(server.asked).toBe(0);
  });
});

test("closed while the credential fetches its token: no handshake", async () => {
  const server = await startServer();
  let give = (_token: string) => {};
  const token = () => new Promise<string>((resolve) => (give = resolve));
  const { transport, told } = watched(server.url, { credential: new BearerCredential({ serverUrl: httpOf(server.url), token }) });
  const waiting = failureOf(transport.start());
  await transport.close();
  give("token");
  expect(await waiting).toMatchObject({ code: "network_error" });
  expect([server.handshakes.length, told]).toEqual([0, ["close"]]);
});

test("a header that cannot be sent is not shown", async () => {
  const server = await startServer();
  const { transport } = watched(server.url, { credential: headers({ authorization: "Bearer hush\0x" }) });
  const error = await failureOf(transport.start());
  expect(error.code).toBe("invalid_option");
  expect(inspect(error)).not.toContain("hush");
});

describe("a connection", () => {
  test("tells what it hears, in order; what is no message is an error; the end comes once", async () => {
    const server = await startServer();
    const { transport, told } = watched(server.url);
    await transport.start();
    server.broadcast('{"jsonrpc":"2.0","method":"a"}');
    for (const bad of ["no JSON", "null", "[]", '"text"', '{"jsonrpc":"1.0"}', new Uint8Array([1, 2])]) server.broadcast(bad);
    server.broadcast('{"jsonrpc":"2.0","method":"b"}');
    await expect.poll(() => told.length).toBe(8);
    expect(told).toEqual([
      'message {"jsonrpc":"2.0","method":"a"}',
      ...Array<string>(6).fill("error server_error"),
      'message {"jsonrpc":"2.0","method":"b"}',
    ]);
    told.length = 0;
    await transport.close();
    await transport.close();
    await expect.poll(() => told).toEqual(["close"]);
    expect(await failureOf(transport.send({ jsonrpc: "2.0", method: "c" }))).toMatchObject({ code: "network_error" });
  });

  test("that breaks is closed; a client learns it", async () => {
    const server = await startServer();
    const client = new ClientV1(info);
    const closed = vi.fn();
    client.onclose = closed;
    await client.connect(new WebSocketTransport(server.url));
    const parked = failureOf(client.callTool({ name: "slow", arguments: { id: "x" } }));
    server.breakAll();
    expect(String(await parked)).toContain("Connection closed");
    expect(closed).toHaveBeenCalledTimes(1);
  });

  test("that the server ends is not ended again by `close()`", async () => {
    const server = await startServer();
    const { transport, told } = watched(server.url);
    await transport.start();
    server.breakAll();
    await expect.poll(() => told).toContain("close");
    await transport.close();
    expect(told.filter((what) => what === "close")).toHaveLength(1);
  });

  test("leaves no time limit behind", async () => {
    const server = await startServer({ protection: tokens("token-2") });
    const limits: (AbortSignal | undefined)[] = [];
    const clock: Clock = {
      now: () => 0,
      sleep: (_ms, { signal } = {}) => {
        limits.push(signal);
        return new Promise(() => {});
      },
    };
    await watched(server.url, { clock, credential: countingCredential() }).transport.start();
    expect(limits.map((signal) => signal?.aborted)).toEqual([true, true, true]);
  });

  test("is begun once", async () => {
    const server = await startServer();
    const { transport } = watched(server.url);
    await transport.start();
    expect(await failureOf(transport.start())).toMatchObject({ code: "invalid_option" });
    expect(server.handshakes).toHaveLength(1);
  });

  test("that was never begun cannot send, and can be closed", async () => {
    const { transport, told } = watched("wss://mcp.example/");
    expect(await failureOf(transport.send({}))).toMatchObject({ code: "network_error" });
    await transport.close();
    expect(told).toEqual(["close"]);
    expect(await failureOf(transport.start())).toMatchObject({ code: "network_error" });
  });

  test("without a credential: that the server may want one", async () => {
    const server = await startWebSocketServer({ protection: apiKeys({ keys: { a: "key" } }) });
    onTestFinished(() => server.close());
    const error = await failureOf(watched(server.url).transport.start());
    expect(error).toMatchObject({ code: "network_error", hint: expect.stringContaining("`credential`") });
  });
});

describe("bad input", () => {
  test.each([
    ["https://mcp.example/ws", "invalid_url"],
    ["nonsense", "invalid_url"],
    ["wss://user:hush@mcp.example/", "invalid_url"],
    ["ws://mcp.example/ws", "insecure_url"],
  ])("%s: %s", async (url, code) => {
    const error = await failureOf(() => new WebSocketTransport(url));
    expect(error.code).toBe(code);
    expect(String(error)).not.toContain("hush");
  });

  test("plain ws where the app allows it", () => {
    expect(() => new WebSocketTransport("ws://mcp.example/ws", { allowInsecure: ["mcp.example"] })).not.toThrow();
  });

  test("REQ-TOK-02: a credential of another server", async () => {
    const credential = new BearerCredential({ serverUrl: "https://mcp.example", token: "token" });
    expect(await failureOf(() => new WebSocketTransport("wss://evil.example/", { credential }))).toMatchObject({ code: "invalid_option" });
    expect(() => new WebSocketTransport("wss://mcp.example/other", { credential })).not.toThrow();
  });

  test.each<[string, WebSocketTransportOptions]>([
    ["a subprotocol that HTTP cannot carry", { subprotocol: (token) => `bearer ${token}` }],
    ["a subprotocol for a credential of two headers", { subprotocol: (token) => token, credential: headers({ a: "hush", b: "hush" }) }],
    ["a subprotocol without a credential", { subprotocol: (token) => token, credential: headers({}) }],
  ])("%s", async (_name, options) => {
    const server = await startServer();
    const { transport } = watched(server.url, { credential: headers({ authorization: "Bearer hush" }), ...options });
    const error = await failureOf(transport.start());
    expect(error.code).toBe("invalid_option");
    expect(String(error)).not.toContain("hush");
    expect(server.handshakes).toEqual([]);
  });

  test("a runtime whose WebSocket knows no headers: the error says what to choose; nothing was sent", async () => {
    // As the standard has it: an object that is no list becomes the name of a subprotocol.
    class Standard {
      constructor(_url: string, protocols: unknown) {
        if (!/^\w+$/.test(String(protocols))) throw new SyntaxError("invalid subprotocol");
      }
    }
    vi.stubGlobal("WebSocket", Standard);
    const transport = new WebSocketTransport("wss://mcp.example/", { credential: headers({ authorization: "Bearer hush" }) });
    const error = await failureOf(transport.start());
    expect(error).toMatchObject({ code: "invalid_option", hint: expect.stringMatching(/subprotocol.*webSocket/) });
  });

  test("a WebSocket of the app's own", async () => {
    const server = await startServer({ protection: tokens("token-1") });
    const webSocket = vi.fn<OpenWebSocket>((url, handshake) => new WebSocket(url, handshake as unknown as string[]));
    expect(await whoami(clients.v2, new WebSocketTransport(server.url, { webSocket, credential: countingCredential() }))).toBe("token-1");
    expect(webSocket).toHaveBeenCalledExactlyOnceWith(server.url, { protocols: ["mcp"], headers: { authorization: "Bearer token-1" } });
  });
});

function headers(fixed: Record<string, string>): Credential {
  return { headers: async () => fixed, onChallenge: async () => "give-up" };
}
