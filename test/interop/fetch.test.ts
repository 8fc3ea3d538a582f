/** `{ fetch: auth.fetch }` in every transport of the official SDKs. */
import { describe, expect, test } from "vitest";
import { McpAuthError } from "../../src/index.ts";
import { startMcpServer } from "../fixture/index.ts";
import {
  allKinds,
  httpKinds,
  type Kind,
  kinds,
  later,
  managerFor,
  rejection,
  sseKinds,
  startServer,
  streamState,
  tokenRequests,
  urlFor,
} from "./support.ts";

/** Over SSE a login cannot start by itself: the first request is a GET. */
async function connected(kind: Kind, options = {}) {
  const server = await startServer();
  const { auth, behaviour } = managerFor(kind, server, options);
  const sdk = kind.create(auth.serverUrl, { fetch: auth.fetch });
  if (kind.sse) await auth.authorize();
  await sdk.connect();
  return { server, auth, behaviour, sdk };
}

describe.each(allKinds)("%s", (_name, kind) => {
  test("first login, a call, expiry, a refused token, step-up: one token request each", async () => {
    const { server, behaviour, sdk, auth } = await connected(kind);
    const { mcpServer: mcp } = server;
    expect(await sdk.call("whoami")).toMatchObject({ sub: "alice", scopes: ["mcp:read"] });
    expect(tokenRequests(server)).toEqual(["authorization_code 200"]);

    later(301);
    expect(await sdk.call("add", { a: 1, b: 2 })).toBe(3);
    mcp.revokeAll();
    expect(await sdk.call("add", { a: 3, b: 4 })).toBe(7);
    expect(tokenRequests(server).slice(1)).toEqual(["refresh_token 200", "refresh_token 200"]);
    expect(behaviour.logins).toBe(1);

    expect(await sdk.call("write_note", { text: "hi" })).toBe(1);
    expect(await sdk.call("whoami")).toMatchObject({ scopes: ["mcp:read", "mcp:write"] });
    expect([behaviour.logins, mcp.tools.notes, auth.lastError]).toEqual([2, ["hi"], undefined]);
    expect(tokenRequests(server).slice(3)).toEqual(["authorization_code 200"]);
  });

  test("20 calls at once with an expired token, then with a refused one: one refresh each, no failed call", async () => {
    const { server, behaviour, sdk } = await connected(kind);
    const calls = () => Promise.all(Array.from({ length: 20 }, (_, id) => sdk.call("count", { id: String(id) })));
    later(301);
    expect(await calls()).toEqual(Array(20).fill(1));
    server.mcpServer.revokeAll();
    expect(await calls()).toEqual(Array(20).fill(2));
    expect(tokenRequests(server)).toEqual(["authorization_code 200", "refresh_token 200", "refresh_token 200"]);
    expect([behaviour.logins, server.authorizationServer.liveLogins]).toEqual([1, 1]);
  });

  test("a server that wants no token is just used: no login, no browser, no refusal", async () => {
    await using open = await startMcpServer();
    const server = await startServer();
    const { auth, behaviour } = managerFor(kind, { ...server, mcpServer: open });
    const sdk = kind.create(urlFor(kind, open), { fetch: auth.fetch });
    await sdk.connect();
    expect(await sdk.call("whoami")).toMatchObject({ sub: "anonymous" });
    expect(await auth.authorize()).toBe("not-required");
    expect(behaviour.logins).toBe(0);
    expect(open.requests.some(({ authorized, status }) => authorized || status === 401)).toBe(false);
    expect(server.authorizationServer.requests).toEqual([]);
  });

  test("a call whose login the user denies fails with our own error object; the next one does not ask again", async () => {
    const { server, auth, behaviour, sdk } = await connected(kind);
    behaviour.deny = true;
    server.mcpServer.revokeAll();
    server.authorizationServer.endLogins();
    for (const _again of [1, 2]) {
      const error = await rejection(sdk.call("add", { a: 1, b: 2 }));
      expect(error).toBe(auth.lastError);
      expect(error).toMatchObject({ code: "authorization_denied" });
    }
    expect(behaviour.logins).toBe(2);
  });

  test("a call that would need a login where nobody can be asked fails with our own error object", async () => {
    const server = await startServer();
    const { authorizationServer: as, mcpServer: mcp } = server;
    const { auth, behaviour } = managerFor(kind, server, { interactive: false });
    await auth.setTokens({ accessToken: await as.mint({ aud: mcp.resource, scope: "mcp:read" }), resource: mcp.resource });
    const sdk = kind.create(auth.serverUrl, { fetch: auth.fetch });
    await sdk.connect();
    mcp.revokeAll();
    const error = await rejection(sdk.call("add", { a: 1, b: 2 }));
    expect(error).toBe(auth.lastError);
    expect(error).toMatchObject({ code: "login_required" });
    expect([behaviour.logins, as.requests.length]).toEqual([0, 0]);
  });
});

describe.each(httpKinds)("connect over %s", (_name, kind) => {
  test.each([
    ["the user says no", "authorization_denied", 1],
    ["nobody can be asked", "login_required", 0],
  ])("when %s, it rejects with our own error object, and nothing else is tried", async (_why, code, logins) => {
    const server = await startServer();
    const { auth, behaviour } = managerFor(kind, server, { interactive: logins > 0 });
    behaviour.deny = true;
    const error = await rejection(kind.create(auth.serverUrl, { fetch: auth.fetch }).connect());
    expect(error).toBe(auth.lastError);
    expect(error).toMatchObject({ code });
    // A fallback to the older protocol would be a second request.
    const posts = server.mcpServer.requests.filter(({ method }) => method === "POST");
    expect([posts.length, behaviour.logins]).toEqual([1, logins]);
    expect(tokenRequests(server)).toEqual([]);
  });
});

describe.each(sseKinds)("connect over %s", (_name, kind) => {
  test.each([
    ["without a login: no browser, the reason is in lastError, no reconnect", true],
    ["without a login and a user: the same", false],
  ])("%s", async (_name, interactive) => {
    const server = await startServer();
    const { auth, behaviour } = managerFor(kind, server, { interactive });
    const sdk = kind.create(auth.serverUrl, { fetch: auth.fetch });
    const error = await rejection(sdk.connect());
    expect(error).not.toBeInstanceOf(McpAuthError);
    expect(auth.lastError).toMatchObject({ code: "login_required" });
    // Closed: every other state reconnects.
    expect([streamState(sdk), behaviour.logins]).toEqual([2, 0]);
    expect(server.mcpServer.requests.filter(({ path }) => path === "/sse")).toHaveLength(1);
  });
});

test("a stream that is cut while its login is dead comes back once, hears 401 and stays closed", async () => {
  const kind = kinds["v1 SSE"];
  const server = await startServer();
  const { authorizationServer: as, mcpServer: mcp } = server;
  const { auth, behaviour } = managerFor(kind, server);
  await auth.authorize();
  const sdk = kind.create(auth.serverUrl, { fetch: auth.fetch });
  await sdk.connect();
  mcp.requests.length = 0;
  as.endLogins();
  mcp.revokeAll();
  const { promise: ended, resolve } = Promise.withResolvers<unknown>();
  sdk.transport.onerror = (error) => {
    if ((error as { code?: number }).code === 401) resolve(error);
  };
  mcp.closeStreams();
  await ended;
  expect(streamState(sdk)).toBe(2);
  expect(mcp.requests.filter(({ path }) => path === "/sse").map(({ status }) => status)).toEqual([401]);
  expect([auth.lastError?.code, behaviour.logins]).toEqual(["login_required", 1]);
});
