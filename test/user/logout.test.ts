/** DESIGN's rule 8: logout revokes what it can, deletes in any case, and says what happened. */
import { describe, expect, test } from "vitest";
import { MemoryStore, type Store } from "../../src/index.ts";
import { answer, closeBefore, gate, type Matcher, tokenRequest, when } from "../fixture/index.ts";
import { failure, manager, minutes, seeded, shiftedClock, startServer, userAtHand, WatchedStore } from "../storm/support.ts";
import { disk } from "../tokens/disk.ts";

const revocations: Matcher = ({ path }) => path === "/revoke";

/** Two people who have logged in at one server. */
async function twoAccounts(store: Store = new MemoryStore()) {
  const server = await startServer();
  const clock = shiftedClock();
  const logIn = async (account: string) => {
    const { auth } = manager(server, { store, clock, account, loginHandler: userAtHand() });
    await auth.authorize();
    return auth;
  };
  const [home, work] = [await logIn("home"), await logIn("work")];
  return { server, as: server.authorizationServer, store, clock, home, work };
}

test("the refresh token first, then the access token, each with its hint; then both are gone", async () => {
  const { server, as, store, tokens } = await seeded();
  const { auth, events } = manager(server, { store });
  const result = await auth.logout();
  expect(result).toMatchObject({ wasLoggedIn: true, refreshTokenRevoked: true });
  const asked = as.requests.filter(revocations).map(({ body }) => Object.fromEntries(new URLSearchParams(body)));
  expect(asked).toEqual([
    expect.objectContaining({ token: tokens.refreshToken, token_type_hint: "refresh_token" }),
    expect.objectContaining({ token: tokens.accessToken, token_type_hint: "access_token" }),
  ]);
  expect(as.liveLogins).toBe(0);
  expect(await store.keys("tokens/")).toEqual([]);
  expect((await failure(auth.getAccessToken())).code).toBe("login_required");
  expect(events.map(({ type }) => type)).toEqual(["tokens.deleted", "logout.finished"]);
});

test.each([
  ["refuses to revoke", answer(400, { error: "unsupported_token_type" })],
  ["cannot be reached", closeBefore],
])("a server that %s: deleted here all the same, and said so", async (_what, fault) => {
  const { server, as, store } = await seeded();
  as.intercept(when(revocations, fault));
  const { auth } = manager(server, { store });
  expect(await auth.logout()).toEqual({ account: "default", wasLoggedIn: true, refreshTokenRevoked: false, accessTokenRevoked: false });
  expect(await store.keys("tokens/")).toEqual([]);
});

test("a request during the logout leaves no token in memory", async () => {
  const { server, as, store } = await seeded();
  const held = gate(revocations);
  as.intercept(held.hook);
  const { auth } = manager(server, { store });
  const leaving = auth.logout();
  await held.reached(1);
  await auth.getAccessToken();
  held.open();
  await leaving;
  expect((await failure(auth.getAccessToken())).code).toBe("login_required");
});

test("without a login there is nothing to do", async () => {
  const { server, as } = await seeded();
  const { auth, events } = manager(server);
  expect(await auth.logout()).toEqual({ account: "default", wasLoggedIn: false, refreshTokenRevoked: false, accessTokenRevoked: false });
  expect([as.requests, events]).toEqual([[], []]);
});

describe("a login of one among several accounts", () => {
  test("the others stay", async () => {
    const { server, store, home, work } = await twoAccounts();
    expect(await home.logout()).toMatchObject({ account: "home", wasLoggedIn: true, refreshTokenRevoked: true });
    expect((await manager(server, { store }).auth.accounts()).map(({ account }) => account)).toEqual(["work"]);
    expect(await work.getAccessToken()).toBeTruthy();
  });

  test("when it was the default, programs without `account` use `default` again; when it was not, the default stays", async () => {
    const { server, store, home, work } = await twoAccounts();
    const usual = async () => (await manager(server, { store }).auth.status()).account;
    await work.makeDefault();
    await home.logout();
    expect(await usual()).toBe("work");
    await work.logout();
    expect(await usual()).toBe("default");
  });

  test("a default without a login is forgotten all the same", async () => {
    const { server, store } = await twoAccounts();
    await manager(server, { store, account: "typo" }).auth.makeDefault();
    const { auth } = manager(server, { store });
    expect(await auth.logout()).toMatchObject({ account: "typo", wasLoggedIn: false });
    expect(await manager(server, { store }).auth.status()).toMatchObject({ account: "default" });
  });
});

describe("everywhere", () => {
  // Like many servers, this one cannot revoke access tokens.
  const ended = { wasLoggedIn: true, refreshTokenRevoked: true, accessTokenRevoked: false };

  test("every account at this server, this manager's first, and none at another", async () => {
    const { server, store, as } = await twoAccounts();
    const other = await startServer();
    const elsewhere = manager(other, { store, account: "home", loginHandler: userAtHand() }).auth;
    await elsewhere.authorize();
    const { auth, events, types } = manager(server, { store, account: "work" });
    await auth.makeDefault();
    const results = await auth.logoutEverywhere();
    expect(results).toEqual([
      { account: "work", ...ended },
      { account: "home", ...ended },
    ]);
    expect(types().sort()).toEqual(["logout.finished", "logout.finished", "tokens.deleted", "tokens.deleted"]);
    const whose = events.flatMap((event) => (event.type === "logout.finished" ? [event.account] : []));
    expect(whose.sort()).toEqual(["home", "work"]);
    expect([as.liveLogins, await store.keys("accounts/"), await auth.accounts()]).toEqual([0, [], []]);
    expect((await failure(auth.getAccessToken())).code).toBe("login_required");
    expect([other.authorizationServer.liveLogins, (await elsewhere.accounts()).length]).toEqual([1, 1]);
  });

  test("where nobody is logged in it says just that", async () => {
    const { auth } = manager(await startServer());
    const nothing = { wasLoggedIn: false, refreshTokenRevoked: false, accessTokenRevoked: false };
    expect(await auth.logoutEverywhere()).toEqual([{ account: "default", ...nothing }]);
  });

  test("a server that cannot revoke keeps no login here", async () => {
    const { server, store, as } = await twoAccounts();
    as.intercept(when(revocations, closeBefore));
    const results = await manager(server, { store }).auth.logoutEverywhere();
    expect(results.map(({ account, wasLoggedIn, refreshTokenRevoked }) => [account, wasLoggedIn, refreshTokenRevoked])).toEqual([
      ["default", false, false],
      ["home", true, false],
      ["work", true, false],
    ]);
    expect(await store.keys("tokens/")).toEqual([]);
  });

  test("one that another program holds on to is named, with the reason; the others are gone", async () => {
    const { server, store: inner } = await twoAccounts();
    const store = new WatchedStore(inner);
    const { withLock } = store;
    store.withLock = (key, action, options) => withLock(key, action, { ...options, lockTimeout: 20 });
    const released = Promise.withResolvers<void>();
    const holding = inner.withLock(`refresh/tokens/home/${server.url}`, () => released.promise);
    const { auth } = manager(server, { store, account: "work" });
    const [work, home] = await auth.logoutEverywhere();
    expect(work).toEqual({ account: "work", ...ended });
    expect(home).toMatchObject({ account: "home", wasLoggedIn: true, refreshTokenRevoked: false, error: { code: "lock_timeout" } });
    expect((await auth.accounts()).map(({ account }) => account)).toEqual(["home"]);
    released.resolve();
    await holding;
    expect(await auth.logoutEverywhere()).toMatchObject([{ wasLoggedIn: false }, { account: "home", ...ended }]);
  });

  test("one that cannot be deleted is still stored, and said to be", async () => {
    const { server, store: inner } = await twoAccounts();
    const store = new WatchedStore(inner);
    store.beforeWrite = (key) => {
      if (key.startsWith("tokens/home/")) throw new Error("read-only file system");
    };
    const { auth, events } = manager(server, { store, account: "work" });
    expect(await auth.logoutEverywhere()).toMatchObject([
      { account: "work", ...ended },
      { account: "home", error: { code: "store_failed" } },
    ]);
    const failed = { type: "logout.failed", account: "home", code: "store_failed" };
    expect(events.filter(({ type }) => type.startsWith("logout.fail"))).toMatchObject([failed]);
    expect((await auth.accounts()).map(({ account }) => account)).toEqual(["home"]);
  });

  test("one that is damaged is deleted with the others", async () => {
    const { open, damage } = disk();
    const { server } = await twoAccounts(open());
    damage(`tokens/home/${server.url}`);
    const { auth } = manager(server, { store: open(), account: "work" });
    expect(await auth.logoutEverywhere()).toMatchObject([
      { account: "work", ...ended },
      { account: "home", wasLoggedIn: true, refreshTokenRevoked: false, accessTokenRevoked: false },
    ]);
    expect(await open().keys("tokens/")).toEqual([]);
  });

  test("a refresh that another program has under way is waited for, and what it brought is revoked", async () => {
    const { server, store, as, clock } = await twoAccounts();
    const held = gate(tokenRequest("refresh_token"));
    as.intercept(held.hook);
    clock.shift(24 * minutes(60));
    const refreshing = manager(server, { store, clock, account: "home" }).auth.getAccessToken();
    await held.reached(1);
    const leaving = manager(server, { store, clock, account: "work" }).auth.logoutEverywhere();
    held.open();
    await refreshing;
    expect((await leaving).map(({ account }) => account)).toEqual(["work", "home"]);
    expect([as.liveLogins, await store.keys("tokens/")]).toEqual([0, []]);
  });
});
