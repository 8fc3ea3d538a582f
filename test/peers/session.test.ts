/** What users of other clients saw go wrong, as tests named by what they saw: in the life of a session. */
import { describe, expect, test } from "vitest";
import { MemoryStore } from "../../src/index.ts";
import { recordingFetch } from "../fixture/index.ts";
import { codeOf, connect, desktop, minutes, startServer } from "./support.ts";

describe("the token expires while the program is idle, and the stream is gone after the machine has slept", () => {
  test("the stream reconnects with a fresh token, and no browser opens", async () => {
    const { authorizationServer: as, mcpServer: mcp, url } = await startServer();
    const fetch = recordingFetch();
    const { auth, opened, clock } = desktop(url, { fetch });
    await auth.authorize();
    await connect(auth);
    // Before the client has its stream, it has nothing to reconnect.
    await expect
      .poll(() => fetch.log.filter(({ method, status, url }) => method === "GET" && status === 200 && url.pathname === "/mcp"))
      .toHaveLength(1);
    const streams = () => mcp.requests.filter(({ method, path }) => method === "GET" && path === "/mcp");
    clock.ahead = minutes(600);
    mcp.revokeAll();
    mcp.closeStreams();
    await expect.poll(() => streams()).toHaveLength(2);
    const [before, after] = streams();
    expect(after?.tokenJti).toEqual(expect.any(String));
    expect(after?.tokenJti).not.toBe(before?.tokenJti);
    await expect.poll(() => mcp.openStreams).toBe(1);
    expect(as.tokenRequests("refresh_token")).toHaveLength(1);
    expect(opened).toHaveLength(1);
  });

  test("no login page while a valid token is stored", async () => {
    const { url } = await startServer();
    const { auth, store } = desktop(url);
    await auth.authorize();
    const next = desktop(url, { store });
    expect(await next.auth.authorize()).toBe("authorized");
    const call = await connect(next.auth);
    expect(await call("whoami")).toMatchObject({ sub: "alice" });
    expect(next.opened).toEqual([]);
  });
});

describe("the expiry is forgotten when tokens are loaded from the store", () => {
  test("a token that is still valid is used without any other request", async () => {
    const { url } = await startServer();
    const { auth, store } = desktop(url);
    await auth.authorize();
    const fetch = recordingFetch();
    const next = desktop(url, { store, fetch });
    const response = await next.auth.fetch(url, { method: "POST", body: "{}" });
    expect(response.status).not.toBe(401);
    await response.body?.cancel();
    expect(fetch.log.map((request) => request.url.href)).toEqual([url]);
  });

  test("one that has expired is refreshed before it is sent: the server never answers 401", async () => {
    const { authorizationServer: as, url } = await startServer({ authorizationServer: { accessTokenTtlSeconds: 60 } });
    const { auth, store, clock } = desktop(url);
    await auth.authorize();
    clock.ahead = minutes(2);
    const fetch = recordingFetch();
    const next = desktop(url, { store, fetch, clock });
    const response = await next.auth.fetch(url, { method: "POST", body: "{}" });
    await response.body?.cancel();
    expect(fetch.log.map((request) => request.url.href)).toEqual([`${as.issuer}/token`, url]);
    expect(fetch.log.map(({ status }) => status === 401)).toEqual([false, false]);
  });
});

test("expired, no refresh token, no user: login_required at once, not after a minute", async () => {
  const { authorizationServer: as, mcpServer: mcp, url } = await startServer({ authorizationServer: { refreshTokens: "never" } });
  const { auth, store, clock } = desktop(url);
  await auth.authorize();
  clock.ahead = minutes(6);
  const next = desktop(url, { store, clock, interactive: false });
  const [asBefore, mcpBefore] = [as.requests.length, mcp.calls("tools/list").length];
  expect(await codeOf(next.auth.getAccessToken())).toBe("login_required");
  expect(as.requests).toHaveLength(asBefore);
  mcp.revokeAll();
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/list" });
  expect(await codeOf(next.auth.fetch(url, { method: "POST", body, headers: { "content-type": "application/json" } }))).toBe(
    "login_required",
  );
  expect(mcp.calls("tools/list").length - mcpBefore, "asked once, in case it wants no token").toBe(1);
  expect(next.opened).toEqual([]);
});

describe("headers are fixed for the life of a session", () => {
  test("requestInit's headers follow the token through a refresh, in one session", async () => {
    const { mcpServer: mcp, url } = await startServer();
    const { auth, clock, saw } = desktop(url);
    await auth.authorize();
    const call = await connect(auth, { requestInit: auth.requestInit() as RequestInit });
    await call("whoami");
    clock.ahead = minutes(3.5);
    await call("whoami");
    await expect.poll(() => saw("refresh.finished")).toHaveLength(1);
    await call("whoami");
    const calls = mcp.calls("whoami");
    expect(new Set(calls.map(({ headers }) => headers["mcp-session-id"])).size).toBe(1);
    expect(calls[0]?.tokenJti).toBe(calls[1]?.tokenJti);
    expect(calls[2]?.tokenJti).not.toBe(calls[1]?.tokenJti);
  });

  test("`fetch` does the same, and needs no valid token to begin with", async () => {
    const { mcpServer: mcp, url } = await startServer();
    const { auth, clock } = desktop(url);
    const call = await connect(auth);
    await call("whoami");
    clock.ahead = minutes(6);
    await call("whoami");
    const calls = mcp.calls("whoami");
    expect(new Set(calls.map(({ headers }) => headers["mcp-session-id"])).size).toBe(1);
    expect(new Set(calls.map(({ tokenJti }) => tokenJti)).size).toBe(2);
  });
});

test("one login for all users of a hosted agent: with an account each has their own, and nobody else's", async () => {
  const { authorizationServer: as, url } = await startServer();
  const store = new MemoryStore();
  const users = ["alice", "bob"].map((account) => ({ account, ...desktop(url, { store, account }) }));
  for (const { account, auth } of users) {
    as.account = account;
    expect(await auth.authorize()).toBe("authorized");
  }
  const [alice, bob] = await Promise.all(users.map(({ auth }) => connect(auth)));
  expect(await Promise.all([alice?.("whoami"), bob?.("whoami")])).toEqual([
    expect.objectContaining({ sub: "alice" }),
    expect.objectContaining({ sub: "bob" }),
  ]);
  expect(users.map(({ opened }) => opened.length)).toEqual([1, 1]);

  expect(await users[0]?.auth.logout()).toMatchObject({ wasLoggedIn: true });
  expect(await bob?.("whoami")).toMatchObject({ sub: "bob" });
  const stranger = desktop(url, { store, account: "carol", interactive: false });
  expect(await codeOf(stranger.auth.getAccessToken())).toBe("login_required");
});
