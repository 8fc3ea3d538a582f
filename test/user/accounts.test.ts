/** Several logins at one server: which is used, which is the default, and what people are told of them. */
import { describe, expect, test } from "vitest";
import { MemoryStore, type Store } from "../../src/index.ts";
import { failure, manager, manualClock, minutes, seeded, startServer, userAtHand, WatchedStore } from "../storm/support.ts";
import { disk } from "../tokens/disk.ts";

/** Logs in as `account`, and gives the token that it got. */
async function logIn(server: { url: string }, store: Store, account: string | undefined, scopes?: readonly string[]): Promise<string> {
  const { auth } = manager(server, { store, account, scopes, loginHandler: userAtHand() });
  await auth.authorize();
  return auth.getAccessToken();
}

describe("which account is used", () => {
  test("the manager's own; without one `default`", async () => {
    const server = await startServer();
    const store = new MemoryStore();
    const work = await logIn(server, store, "work");
    expect((await failure(manager(server, { store }).auth.getAccessToken())).code).toBe("login_required");
    const usual = await logIn(server, store, undefined);
    expect(await manager(server, { store, account: "work" }).auth.getAccessToken()).toBe(work);
    expect(await manager(server, { store, account: "default" }).auth.getAccessToken()).toBe(usual);
    expect(usual).not.toBe(work);
  });

  test("the default that was chosen, in programs that start afterwards; one that runs keeps its own", async () => {
    const server = await startServer();
    const { open } = disk();
    const [home, work] = [await logIn(server, open(), "home"), await logIn(server, open(), "work")];
    const chooser = manager(server, { store: open(), account: "home" }).auth;
    await chooser.makeDefault();
    const running = manager(server, { store: open() }).auth;
    expect(await running.getAccessToken()).toBe(home);

    await manager(server, { store: open(), account: "work" }).auth.makeDefault();
    expect(await manager(server, { store: open() }).auth.getAccessToken()).toBe(work);
    expect(await running.getAccessToken()).toBe(home);
    expect(await running.status()).toMatchObject({ account: "home", isDefault: false });
  });

  test("one that is asked for before there is a login: whoever logs in without `account` logs in there", async () => {
    const server = await startServer();
    const store = new MemoryStore();
    await manager(server, { store, account: "work" }).auth.makeDefault();
    const token = await logIn(server, store, undefined);
    expect(await manager(server, { store, account: "work" }).auth.getAccessToken()).toBe(token);
  });

  test("the default at one server is not that at another", async () => {
    const [one, other] = [await startServer(), await startServer()];
    const store = new MemoryStore();
    await manager(one, { store, account: "work" }).auth.makeDefault();
    expect(await manager(one, { store }).auth.status()).toMatchObject({ account: "work" });
    expect(await manager(other, { store }).auth.status()).toMatchObject({ account: "default" });
  });

  test("it is read once, before the first use; never where the app names one", async () => {
    const { server, store: inner } = await seeded();
    const asked: string[] = [];
    const store = new WatchedStore(inner);
    store.get = (key) => {
      asked.push(key);
      return inner.get(key);
    };
    const unnamed = manager(server, { store }).auth;
    expect(asked).toEqual([]);
    await Promise.all([unnamed.getAccessToken(), unnamed.authorize(), unnamed.getAccessToken()]);
    expect(asked.filter((key) => key.startsWith("accounts/"))).toHaveLength(1);
    asked.length = 0;
    await manager(server, { store, account: "default" }).auth.getAccessToken();
    expect(asked).toEqual([expect.stringMatching(/^index/), expect.stringMatching(/^tokens/)]);
  });

  test("a store that cannot be read for the moment decides nothing: the next call asks again", async () => {
    const { server, store: inner } = await seeded();
    await manager(server, { store: inner, account: "work" }).auth.makeDefault();
    const store = new WatchedStore(inner);
    store.get = () => Promise.reject(new Error("I/O error"));
    const { auth } = manager(server, { store });
    expect((await failure(auth.getAccessToken())).code).toBe("store_failed");
    store.get = (key) => inner.get(key);
    expect(await auth.status()).toMatchObject({ account: "work" });
  });
});

describe("accounts()", () => {
  test("lists every login at this server, with what is known of it, and nothing secret", async () => {
    const [server, other] = [await startServer(), await startServer()];
    const store = new MemoryStore();
    const clock = manualClock();
    const tokens = [await logIn(server, store, "work", ["mcp:read"]), await logIn(server, store, undefined)];
    await logIn(other, store, "elsewhere");
    await manager(server, { store, account: "given", clock }).auth.setTokens({ accessToken: "given-token", expiresIn: 60 });
    const { auth, events } = manager(server, { store, account: "nobody" });
    const before = server.authorizationServer.requests.length;
    const list = await auth.accounts();
    const issuer = server.authorizationServer.issuer;
    expect(list.sort((a, b) => a.account.localeCompare(b.account))).toEqual([
      { account: "default", isDefault: true, issuer, scopes: expect.any(Array), expiresAt: expect.any(Number), canRefresh: true },
      { account: "given", isDefault: false, issuer: undefined, scopes: undefined, expiresAt: clock.now() + 60_000, canRefresh: false },
      {
        account: "work",
        isDefault: false,
        issuer,
        scopes: expect.arrayContaining(["mcp:read"]),
        expiresAt: expect.any(Number),
        canRefresh: true,
      },
    ]);
    for (const token of [...tokens, "given-token"]) expect(JSON.stringify(list)).not.toContain(token);
    expect([events, server.authorizationServer.requests.length]).toEqual([[], before]);
  });

  test("not those that have logged out", async () => {
    const server = await startServer();
    const store = new MemoryStore();
    await logIn(server, store, "work");
    await manager(server, { store, account: "work" }).auth.logout();
    expect(await manager(server, { store }).auth.accounts()).toEqual([]);
  });

  test("not those of another client, where the app names its own", async () => {
    const server = await startServer();
    const store = new MemoryStore();
    await logIn(server, store, "work");
    expect(await manager(server, { store, clientId: "another" }).auth.accounts()).toEqual([]);
  });

  test("one whose record is damaged is listed without details, beside the others", async () => {
    const server = await startServer();
    const { open, damage } = disk();
    await logIn(server, open(), "home");
    const work = await logIn(server, open(), "work");
    damage(`tokens/home/${server.url}`);
    const list = await manager(server, { store: open() }).auth.accounts();
    expect(list.sort((a, b) => a.account.localeCompare(b.account))).toEqual([
      { account: "home", isDefault: false, issuer: undefined, scopes: undefined, expiresAt: undefined, canRefresh: false },
      expect.objectContaining({ account: "work", canRefresh: true }),
    ]);
    expect(await manager(server, { store: open(), account: "work" }).auth.getAccessToken()).toBe(work);
  });

  test("a store that fails is an error, not an empty list", async () => {
    const { server, store: inner } = await seeded();
    const store = new WatchedStore(inner);
    store.keys = () => Promise.reject(new Error("I/O error"));
    expect((await failure(manager(server, { store }).auth.accounts())).code).toBe("store_failed");
  });
});

describe("status()", () => {
  test("without a login", async () => {
    const server = await startServer();
    const { auth } = manager(server);
    const nothing = { issuer: undefined, scopes: undefined, expiresAt: undefined, canRefresh: false };
    expect(await auth.status()).toEqual({ account: "default", isDefault: true, isLoggedIn: false, ...nothing, store: { kind: "memory" } });
  });

  test("with one: whose, from where, what it may and how long, and where it is kept; no server is asked, nothing secret is told", async () => {
    const { server, as, store, tokens, clock } = await seeded();
    const { auth, events } = manager(server, { store, clock });
    const status = await auth.status();
    expect(status).toEqual({
      account: "default",
      isDefault: true,
      isLoggedIn: true,
      issuer: as.issuer,
      scopes: expect.arrayContaining(["mcp:read"]),
      expiresAt: expect.any(Number),
      canRefresh: true,
      store: { kind: "memory" },
    });
    expect((status.expiresAt ?? 0) - clock.now()).toBeGreaterThan(0);
    for (const token of [tokens.accessToken, tokens.refreshToken]) expect(JSON.stringify(status)).not.toContain(token);
    expect([as.requests, events]).toEqual([[], []]);
  });

  test.each([
    ["has expired and can be refreshed", 61, true, { isLoggedIn: true, canRefresh: true }],
    ["has expired and cannot", 61, false, { isLoggedIn: false, canRefresh: false }],
    ["lives and cannot be refreshed", 0, false, { isLoggedIn: true, canRefresh: false }],
  ])("a login that %s", async (_what, passed, refreshable, expected) => {
    const server = await startServer();
    const clock = manualClock();
    const { auth } = manager(server, { clock });
    const more = refreshable ? { refreshToken: "r", issuer: server.authorizationServer.issuer, clientId: "c" } : {};
    await auth.setTokens({ accessToken: "a", expiresIn: 3600, ...more });
    clock.advance(minutes(passed));
    expect(await auth.status()).toMatchObject(expected);
  });

  test("what another program has stored since is seen", async () => {
    const server = await startServer();
    const store = new MemoryStore();
    const { auth } = manager(server, { store });
    expect(await auth.status()).toMatchObject({ isLoggedIn: false });
    await logIn(server, store, undefined);
    expect(await auth.status()).toMatchObject({ isLoggedIn: true });
  });

  test("a login that could not be stored yet counts", async () => {
    const server = await startServer();
    const store = new WatchedStore(new MemoryStore());
    store.beforeWrite = (key) => {
      if (key.startsWith("tokens/")) throw new Error("no space left on device");
    };
    const { auth } = manager(server, { store, loginHandler: userAtHand() });
    await auth.authorize();
    expect(await auth.status()).toMatchObject({ isLoggedIn: true, issuer: server.authorizationServer.issuer });
  });

  test("the store on disk tells its folder and where its key is; one that tells nothing is no failure", async () => {
    const server = await startServer();
    const { open } = disk();
    await logIn(server, open(), undefined);
    expect((await manager(server, { store: open() }).auth.status()).store).toEqual({
      kind: "sqlite",
      path: expect.stringMatching(/test$/),
      key: "file",
      app: { name: "test", from: "option", path: undefined },
    });
    expect((await manager(server, { store: new WatchedStore() }).auth.status()).store).toBeUndefined();
  });

  test("a store that fails is an error", async () => {
    const { server, store: inner } = await seeded();
    const store = new WatchedStore(inner);
    store.get = () => Promise.reject(new Error("I/O error"));
    expect((await failure(manager(server, { store }).auth.status())).code).toBe("store_failed");
  });
});
