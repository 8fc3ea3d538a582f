/**
 * What users of other clients saw go wrong, as tests named by what they saw: while tokens are refreshed.
 *
 * Lines of that list which come with later work: browsers on another machine, as far as that is the device code; no machine
 * login. Several processes are in `processes.test.ts`, files in `storage.test.ts`, keychains in `test/keychain`; what a user
 * over SSH sees is in `test/node`.
 */
import { describe, expect, test } from "vitest";
import { MemoryStore, type Store } from "../../src/index.ts";
import { answer, closeAfter, closeBefore, type Hook, tokenRequest, when } from "../fixture/index.ts";
import { codeOf, connect, desktop, minutes, startServer } from "./support.ts";

const refreshRequest = tokenRequest("refresh_token");

describe("several parallel calls refresh the same rotating token, and the login is lost", () => {
  test("one refresh for three programs' calls, and the login survives", async () => {
    const { authorizationServer: as, url } = await startServer();
    const store = new MemoryStore();
    const first = desktop(url, { store });
    await first.auth.authorize();
    const { clock } = first;
    const programs = [first, desktop(url, { store, clock }), desktop(url, { store, clock })];
    const callers = await Promise.all(programs.map(({ auth }) => connect(auth)));
    clock.ahead = minutes(10);
    const calls = callers.flatMap((call) => Array.from({ length: 20 }, () => call("whoami")));
    for (const result of await Promise.all(calls)) expect(result).toMatchObject({ sub: "alice" });
    expect(as.tokenRequests("refresh_token").map(({ status }) => status)).toEqual([200]);
    expect(as.liveLogins).toBe(1);
    expect(first.opened.length).toBe(1);
  });
});

/** A store whose locks hold nobody back, as those of some file systems. */
function withoutLocks(store: Store): Store {
  const { get, set, delete: remove, take, keys } = store;
  return {
    get: get.bind(store),
    set: set.bind(store),
    delete: remove.bind(store),
    take: take.bind(store),
    keys: keys.bind(store),
    withLock: (_key, action) =>
      action({ signal: new AbortController().signal, set: (key, value) => store.set(key, value), delete: (key) => store.delete(key) }),
  };
}

test("the loser of a refresh race deletes the winner's new tokens", async () => {
  const { authorizationServer: as, url } = await startServer();
  const store = new MemoryStore();
  const winner = desktop(url, { store });
  await winner.auth.authorize();
  const loser = desktop(url, { store: withoutLocks(store), clock: winner.clock });
  await loser.auth.getAccessToken();
  winner.clock.ahead = minutes(10);

  // While the loser's request is on its way, the winner refreshes; then the loser is told that its token is dead.
  let winnersToken = "";
  const race: Hook = async (request, response) => {
    winnersToken = await winner.auth.getAccessToken();
    return answer(400, { error: "invalid_grant" })(request, response);
  };
  as.intercept(when(refreshRequest, race, 1));
  expect(await loser.auth.getAccessToken()).toBe(winnersToken);

  expect(await store.get(`tokens/default/${url}`)).toMatchObject({ accessToken: winnersToken, refreshToken: expect.any(String) });
  winner.clock.ahead = minutes(20);
  expect(await winner.auth.getAccessToken()).not.toBe(winnersToken);
  expect(as.liveLogins).toBe(1);
  expect([...winner.opened, ...loser.opened]).toHaveLength(1);
});

describe("a refresh that fails logs the user out", () => {
  test.each<[string, Hook, string]>([
    ["5xx", answer(503), "server_error"],
    ["a gateway's page", answer(502, "<h1>Bad gateway", { "content-type": "text/html" }), "server_error"],
    ["429", answer(429, "", { "retry-after": "1" }), "rate_limited"],
    ["a lost network", closeBefore, "network_error"],
    ["a firewall", answer(403, "<h1>Forbidden", { "content-type": "text/html" }), "login_required"],
  ])("%s", async (_what, fault, code) => {
    const { authorizationServer: as, url } = await startServer();
    const { auth, opened, store, clock } = desktop(url);
    await auth.authorize();
    const before = await store.get(`tokens/default/${url}`);
    const stop = as.intercept(when(refreshRequest, fault));
    clock.ahead = minutes(10);
    expect(await codeOf(auth.getAccessToken())).toBe(code);
    expect(await store.get(`tokens/default/${url}`)).toMatchObject({ refreshToken: before?.refreshToken });
    stop();
    clock.ahead = minutes(20);
    expect(await auth.getAccessToken()).not.toBe(before?.accessToken);
    expect(as.liveLogins).toBe(1);
    expect(opened).toHaveLength(1);
  });

  test("an answer that is lost on its way: asked again at once, which servers with a grace window forgive", async () => {
    const { authorizationServer: as, url } = await startServer({ authorizationServer: { graceSeconds: 60 } });
    const { auth, opened, clock } = desktop(url);
    await auth.authorize();
    as.intercept(when(refreshRequest, closeAfter, 1));
    clock.ahead = minutes(10);
    await auth.getAccessToken();
    expect(as.tokenRequests("refresh_token")).toHaveLength(2);
    clock.ahead = minutes(20);
    await auth.getAccessToken();
    expect(opened).toHaveLength(1);
  });

  /** A disk that is full for tokens while the test says so. */
  class Disk extends MemoryStore {
    full = false;
    writes = 0;
    /** Full after so many more writes of tokens. */
    fullAfter = Number.POSITIVE_INFINITY;
    override async set(key: string, value: { v: number }): Promise<void> {
      if (key.startsWith("tokens/")) {
        if (this.full || this.fullAfter-- <= 0) throw new Error("ENOSPC: no space left on device");
        this.writes++;
      }
      await super.set(key, value);
    }
  }

  test("a full disk is found before the refresh token is spent", async () => {
    const { authorizationServer: as, url } = await startServer();
    const store = new Disk();
    const { auth, opened, clock } = desktop(url, { store });
    await auth.authorize();
    clock.ahead = minutes(10);
    store.full = true;
    expect(await codeOf(auth.getAccessToken())).toBe("store_failed");
    expect(as.tokenRequests("refresh_token")).toEqual([]);
    store.full = false;
    clock.ahead = minutes(20);
    await auth.getAccessToken();
    expect(as.liveLogins).toBe(1);
    expect(opened).toHaveLength(1);
  });

  test("a disk that is full just then: the new tokens are used from memory, and written once there is space", async () => {
    const { authorizationServer: as, url } = await startServer();
    const store = new Disk();
    const { auth, opened, clock, saw } = desktop(url, { store });
    await auth.authorize();
    const before = await store.get(`tokens/default/${url}`);
    clock.ahead = minutes(10);
    store.fullAfter = 1;
    const token = await auth.getAccessToken();
    expect(token).not.toBe(before?.accessToken);
    expect(await store.get(`tokens/default/${url}`)).toMatchObject({ accessToken: before?.accessToken });
    expect(saw("tokens.unsaved")).toHaveLength(1);
    store.fullAfter = Number.POSITIVE_INFINITY;
    await expect.poll(() => saw("tokens.saved")).toHaveLength(1);
    expect(await store.get(`tokens/default/${url}`)).toMatchObject({ accessToken: token });
    // What is stored now is the live login: another program goes on with it.
    const other = desktop(url, { store, clock });
    clock.ahead = minutes(20);
    await other.auth.getAccessToken();
    expect(as.liveLogins).toBe(1);
    expect(opened).toHaveLength(1);
  });
});

describe("invalid_grant is ignored, and a dead token is sent for ever", () => {
  test("without a user: login_required says why, and the dead token is not sent again", async () => {
    const { authorizationServer: as, url } = await startServer();
    const { auth, store, clock } = desktop(url);
    await auth.authorize();
    as.endLogins();
    clock.ahead = minutes(10);
    const alone = desktop(url, { store, clock, interactive: false });
    for (let again = 0; again < 3; again++) {
      const error = await alone.auth.getAccessToken().catch((error: unknown) => error);
      expect(error).toMatchObject({ code: "login_required", cause: { code: "invalid_grant" } });
    }
    expect(as.tokenRequests("refresh_token")).toHaveLength(1);
    expect(await store.get(`tokens/default/${url}`)).toBeUndefined();
  });

  test("with a user: one new login, and the call is answered", async () => {
    const { authorizationServer: as, url } = await startServer();
    const { auth, opened, clock } = desktop(url);
    await auth.authorize();
    const call = await connect(auth);
    as.endLogins();
    clock.ahead = minutes(10);
    expect(await Promise.all([call("add", { a: 1, b: 2 }), call("add", { a: 3, b: 4 })])).toEqual([3, 7]);
    expect(as.tokenRequests("refresh_token")).toHaveLength(1);
    expect(opened).toHaveLength(2);
  });
});

test("a refresh ahead of expiry is refused, and the valid token is thrown away", async () => {
  const { authorizationServer: as, mcpServer: mcp, url } = await startServer();
  const { auth, opened, clock, saw } = desktop(url);
  const refusals = () => mcp.requests.filter(({ status }) => status === 401).length;
  await auth.authorize();
  const call = await connect(auth);
  const refusedBefore = refusals();
  const stop = as.intercept(when(refreshRequest, answer(400, { error: "invalid_grant" })));
  clock.ahead = minutes(3.5);
  await call("whoami");
  await expect.poll(() => saw("refresh.failed")).toHaveLength(1);
  await call("whoami");
  expect(refusals()).toBe(refusedBefore);
  expect(as.tokenRequests("refresh_token"), "not tried again while the token is good").toHaveLength(1);
  stop();
  clock.ahead = minutes(4.9);
  await call("whoami");
  expect(as.tokenRequests("refresh_token").map(({ status }) => status)).toEqual([400, 200]);
  expect(opened).toHaveLength(1);
});

describe("a refresh lacks what the server wants to see", () => {
  test("without `resource`, or with the server's URL and its query: it is the metadata's identifier, always", async () => {
    const { authorizationServer: as, mcpServer: mcp, url } = await startServer();
    const { auth, opened, clock } = desktop(`${url}?workspace=7&theme=dark#top`);
    await auth.authorize();
    clock.ahead = minutes(10);
    await auth.getAccessToken();
    expect(opened[0]?.searchParams.getAll("resource")).toEqual([mcp.resource]);
    expect(as.tokenRequests().map(({ form }) => form.getAll("resource"))).toEqual([[mcp.resource], [mcp.resource]]);
  });

  test("without `scope`, where the server insists: an option repeats it; else it is left out", async () => {
    const { authorizationServer: as, url } = await startServer();
    const scopes: (string | null | undefined)[] = [];
    for (const options of [{ refreshScope: true }, {}] as const) {
      const { auth, clock } = desktop(url, { ...options, scopes: ["mcp:read", "mcp:write"] });
      await auth.authorize();
      clock.ahead = minutes(10);
      await auth.getAccessToken();
      scopes.push(as.tokenRequests("refresh_token").at(-1)?.form.get("scope"));
    }
    expect(scopes).toEqual(["mcp:read mcp:write", null]);
  });

  test("with `resource`, where the server refuses it: an option leaves it out everywhere", async () => {
    const { authorizationServer: as, mcpServer: mcp, url } = await startServer();
    as.defaultResource = mcp.resource;
    const { auth, opened, clock } = desktop(url, { resourceParameter: false });
    await auth.authorize();
    clock.ahead = minutes(10);
    await auth.getAccessToken();
    expect(opened[0]?.searchParams.has("resource")).toBe(false);
    expect(as.tokenRequests().map(({ form }) => form.has("resource"))).toEqual([false, false]);
  });
});
