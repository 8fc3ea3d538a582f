/** Resources behind one URL, told apart by its query: each has its own login, and no key of the store shows a query. */
import { describe, expect, test } from "vitest";
import { MemoryStore, type Store, type StoredRecord } from "../../src/index.ts";
import type { ProtectedServer } from "../fixture/index.ts";
import { failure, manager, minutes, post, seed, shiftedClock, startServer, userAtHand, WatchedStore } from "../storm/support.ts";
import { disk } from "../tokens/disk.ts";

const at = ({ url }: { url: string }, project: string) => ({ url: `${url}?project=${project}` });

/** A server, and a store that two users of its projects `a` and `b` have logged in to. */
async function loggedIn() {
  const server = await startServer();
  const [store, clock] = [new MemoryStore(), shiftedClock()];
  const start = (project: string, account?: string, used: Store = store) =>
    manager(at(server, project), { store: used, clock, account, loginHandler: userAtHand() }).auth;
  for (const project of ["a", "b"]) await start(project).authorize();
  return { server, as: server.authorizationServer, store, clock, start };
}

/** What a former version leaves in the store: its keys and records say nothing of the query. */
async function leftByFormer(server: ProtectedServer, store: Store, clock = shiftedClock()) {
  const { resource } = server.mcpServer;
  const newer = new MemoryStore();
  await seed(server, newer, { clock });
  const [key = ""] = await newer.keys("tokens/");
  const { query: _, ...record } = (await newer.get(key)) ?? { v: 1 };
  await store.set(`index/default/${server.url}`, { v: 1, resource });
  const former = `tokens/default/${resource}`;
  await store.set(former, record as StoredRecord);
  return { former, record };
}

describe("two queries, one store", () => {
  test("two logins; each is found at the next start, without a window", async () => {
    const { as, start } = await loggedIn();
    const [a, b] = await Promise.all(["a", "b"].map((project) => start(project).getAccessToken()));
    expect(a).not.toBe(b);
    expect(await start("a").authorize()).toBe("authorized");
    expect(await start("a").getAccessToken()).toBe(a);
    expect(await start("b").getAccessToken()).toBe(b);
    expect(as.liveLogins).toBe(2);
    expect((await failure(start("c").getAccessToken())).code).toBe("login_required");
  });

  test("a refresh of one leaves the other alone", async () => {
    const { as, start, clock } = await loggedIn();
    const b = await start("b").getAccessToken();
    clock.shift(minutes(60));
    const a = await start("a").getAccessToken();
    expect(as.tokenRequests("refresh_token")).toHaveLength(1);
    expect(await start("a").getAccessToken()).toBe(a);
    expect(as.tokenRequests("refresh_token")).toHaveLength(1);
    expect(await start("b").getAccessToken()).not.toBe(b);
    expect(as.tokenRequests("refresh_token")).toHaveLength(2);
  });

  test("`status()`, `accounts()` and `logout()` are about one of them", async () => {
    const { as, start, store } = await loggedIn();
    await start("a", "work").authorize();
    expect((await start("a").accounts()).map(({ account }) => account).sort()).toEqual(["default", "work"]);
    expect(await start("b").accounts()).toMatchObject([{ account: "default", canRefresh: true }]);
    expect(await start("a").logout()).toMatchObject({ account: "default", wasLoggedIn: true, refreshTokenRevoked: true });
    expect(await start("a").status()).toMatchObject({ isLoggedIn: false });
    expect(await start("b").status()).toMatchObject({ isLoggedIn: true });
    expect(as.liveLogins).toBe(2);
    expect(await store.keys("tokens/")).toHaveLength(2);
  });

  test("`logoutEverywhere()` ends all accounts of one of them", async () => {
    const { as, start, store } = await loggedIn();
    await start("a", "work").authorize();
    const ended = await start("a").logoutEverywhere();
    expect(ended.map(({ account, refreshTokenRevoked }) => [account, refreshTokenRevoked])).toEqual([
      ["default", true],
      ["work", true],
    ]);
    expect([as.liveLogins, (await store.keys("tokens/")).length]).toEqual([1, 1]);
    expect(await start("b").status()).toMatchObject({ isLoggedIn: true });
  });

  test("`makeDefault()` chooses for one of them, as does its logout", async () => {
    const { server, start, store, clock } = await loggedIn();
    await start("a", "work").makeDefault();
    await manager(server, { store, clock, account: "plain" }).auth.makeDefault();
    expect(await start("a").status()).toMatchObject({ account: "work", isDefault: true });
    expect(await start("b").status()).toMatchObject({ account: "default", isDefault: true });
    await start("a").logout();
    expect(await start("a").status()).toMatchObject({ account: "default", isLoggedIn: true });
  });

  test("given tokens are for one of them", async () => {
    const { start } = await loggedIn();
    const b = await start("b").getAccessToken();
    await start("a").setTokens({ accessToken: "given", expiresIn: 600 });
    expect(await start("a").getAccessToken()).toBe("given");
    expect(await start("b").getAccessToken()).toBe(b);
  });

  test("50 calls read the store no more often than one", async () => {
    const { server, store, clock } = await loggedIn();
    const watched = new WatchedStore(store);
    const { auth } = manager(at(server, "a"), { store: watched, clock });
    expect(await post(auth)).toBe(200);
    const { reads, writes } = watched;
    for (let call = 0; call < 50; call++) expect(await post(auth)).toBe(200);
    expect([watched.reads, watched.writes]).toEqual([reads, writes]);
  });
});

describe("what keys show", () => {
  const secret = "s3cret-of-the-query";

  test.each<[where: string, inResource: boolean]>([
    ["the server's URL", false],
    ["the server's URL and the resource", true],
  ])("nothing of a query in %s: neither keys of records nor locks", async (_where, inResource) => {
    const server = await startServer();
    const url = `${server.url}?key=${secret}`;
    if (inResource) server.mcpServer.resource = url;
    const keys: string[] = [];
    const inner = new MemoryStore();
    const store: Store = {
      ...(Object.fromEntries(
        (["get", "set", "delete", "take", "keys", "withLock"] as const).map((name) => [
          name,
          (key: string, ...rest: unknown[]) => {
            keys.push(key);
            return (inner[name] as (...all: unknown[]) => unknown)(key, ...rest);
          },
        ]),
      ) as unknown as Store),
    };
    const clock = shiftedClock();
    const { auth } = manager({ url }, { store, clock, loginHandler: userAtHand() });
    await auth.authorize();
    clock.shift(minutes(60));
    expect(await post(auth)).toBe(200);
    await auth.makeDefault();
    expect((await inner.keys("")).length).toBeGreaterThanOrEqual(5);
    expect((await inner.keys("")).join("\n")).not.toContain(secret);
    // The one place where a former version may have left it is looked at, never written.
    expect(keys.filter((key) => key.includes(secret) && key !== `tokens/default/${server.mcpServer.resource}`)).toEqual([]);
    await auth.logout();
    expect((await inner.keys("")).join("\n")).not.toContain(secret);
  });

  test("without a query the URL as it always was", async () => {
    const server = await startServer();
    const store = new MemoryStore();
    const { auth } = manager(server, { store, loginHandler: userAtHand() });
    await auth.authorize();
    await auth.makeDefault();
    const { issuer } = server.authorizationServer;
    expect((await store.keys("")).sort()).toEqual(
      [
        `accounts/${server.url}`,
        `index/default/${server.url}`,
        `registrations/${issuer}`,
        `servers/${server.url}`,
        `tokens/default/${server.url}`,
      ].sort(),
    );
  });

  test("an empty query is none", async () => {
    const server = await startServer();
    const store = new MemoryStore();
    await seed(server, store);
    expect(await manager({ url: `${server.url}?` }, { store }).auth.status()).toMatchObject({ isLoggedIn: true });
  });
});

describe("a login that a former version has stored", () => {
  test("is found without a window, and belongs to the first query that refreshes it: it is spent once", async () => {
    const server = await startServer();
    const [store, clock] = [new MemoryStore(), shiftedClock()];
    const { former } = await leftByFormer(server, store, clock);
    const [a, b, plain] = [at(server, "a"), at(server, "b"), server].map((url) => manager(url, { store, clock }).auth);
    for (const auth of [a, b, plain]) expect(await auth?.status()).toMatchObject({ isLoggedIn: true });
    for (const auth of [a, b, plain]) expect(auth && (await post(auth))).toBe(200);
    clock.shift(minutes(60));
    const token = await a?.getAccessToken();
    expect(await store.get(former)).toBeUndefined();
    for (const auth of [b, plain]) expect((await failure(auth?.getAccessToken() ?? Promise.resolve())).code).toBe("login_required");
    expect(server.authorizationServer.tokenRequests("refresh_token")).toHaveLength(1);
    expect(server.authorizationServer.liveLogins).toBe(1);
    expect(await manager(at(server, "a"), { store, clock }).auth.getAccessToken()).toBe(token);
    expect(await manager(at(server, "b"), { store, clock }).auth.accounts()).toEqual([]);
  });

  test("two queries and the URL without one at the same moment: one of them refreshes it", async () => {
    const server = await startServer();
    const [{ open }, clock] = [disk(), shiftedClock()];
    await leftByFormer(server, open(), clock);
    const managers = [at(server, "a"), at(server, "a"), at(server, "b"), server].map((url) => manager(url, { store: open(), clock }).auth);
    for (const auth of managers) await auth.status();
    for (const auth of managers) await auth.getAccessToken();
    clock.shift(minutes(60));
    const outcomes = await Promise.allSettled(managers.map((auth) => auth.getAccessToken()));
    expect(outcomes.filter(({ status }) => status === "fulfilled").length).toBeGreaterThanOrEqual(1);
    expect(server.authorizationServer.tokenRequests("refresh_token")).toHaveLength(1);
    expect(server.authorizationServer.liveLogins).toBe(1);
    expect(await open().keys("tokens/")).toHaveLength(1);
  });

  test("a process that dies at any moment of the move: one query has the login, and it is spent once", async () => {
    for (let dying = 1; dying <= 8; dying++) {
      const server = await startServer();
      const [inner, clock] = [new MemoryStore(), shiftedClock()];
      await leftByFormer(server, inner, clock);
      const store = new WatchedStore(inner);
      const dead = manager(at(server, "a"), { store, clock }).auth;
      await dead.status();
      let writes = 0;
      store.beforeWrite = () => {
        if (++writes >= dying) throw new Error("killed");
      };
      clock.shift(minutes(60));
      await dead.getAccessToken().catch(() => {});
      const spent = server.authorizationServer.tokenRequests("refresh_token").length;
      if (spent > 0) break;
      // Before anything is written it is anybody's.
      const isClaimed = dying > 1;
      const other = manager(at(server, "b"), { store: inner, clock }).auth;
      if (isClaimed) expect((await failure(other.getAccessToken())).code, `write ${dying}`).toBe("login_required");
      const plain = manager(server, { store: inner, clock }).auth;
      if (isClaimed) expect((await failure(plain.getAccessToken())).code, `write ${dying}`).toBe("login_required");
      const next = manager(at(server, "a"), { store: inner, clock }).auth;
      await next.getAccessToken();
      expect(server.authorizationServer.tokenRequests("refresh_token"), `write ${dying}`).toHaveLength(1);
      expect(await inner.keys("tokens/"), `write ${dying}`).toHaveLength(1);
      if (dying === 8) expect.fail("no moment was the last");
    }
  });

  test("a former version that has refreshed it after such a death: the newer token is sent", async () => {
    const server = await startServer();
    const [inner, clock] = [new MemoryStore(), shiftedClock()];
    const { former } = await leftByFormer(server, inner, clock);
    const store = new WatchedStore(inner);
    const dead = manager(at(server, "a"), { store, clock }).auth;
    await dead.status();
    let isDead = false;
    store.beforeWrite = (key) => {
      isDead ||= key.startsWith("index/");
      if (isDead) throw new Error("killed");
    };
    clock.shift(minutes(60));
    await failure(dead.getAccessToken());
    const claimed = (await inner.get(former)) as StoredRecord & { query?: string };
    expect(await inner.keys("tokens/")).toHaveLength(2);
    // As a former version does it: what it does not know stays in the record.
    await inner.set(former, { ...claimed, refreshToken: "newer", accessToken: "newer", issuedAt: clock.now(), expiresAt: clock.now() + 1 });
    const next = manager(at(server, "a"), { store: inner, clock }).auth;
    clock.shift(minutes(1));
    await failure(next.getAccessToken());
    const sent = server.authorizationServer
      .tokenRequests("refresh_token")
      .map(({ body }) => new URLSearchParams(body).get("refresh_token"));
    expect(sent).toEqual(["newer"]);
  });

  test("a disk that is full: nothing is spent, and the token serves while it is good", async () => {
    const server = await startServer();
    const [inner, clock] = [new MemoryStore(), shiftedClock()];
    const { former, record } = await leftByFormer(server, inner, clock);
    const store = new WatchedStore(inner);
    store.beforeWrite = () => {
      throw new Error("disk full");
    };
    const { auth } = manager(at(server, "a"), { store, clock });
    expect(await post(auth)).toBe(200);
    clock.shift(minutes(60));
    expect((await failure(auth.getAccessToken())).code).toBe("store_failed");
    expect(server.authorizationServer.tokenRequests("refresh_token")).toEqual([]);
    expect(await inner.get(former)).toEqual(record);
    store.beforeWrite = () => {};
    clock.shift(minutes(10));
    await auth.getAccessToken();
    expect(server.authorizationServer.tokenRequests("refresh_token")).toHaveLength(1);
  });

  test("the lock of a former version's refresh is waited for, and its result used", async () => {
    const server = await startServer();
    const [store, clock] = [new MemoryStore(), shiftedClock()];
    const { former, record } = await leftByFormer(server, store, clock);
    const { auth } = manager(at(server, "a"), { store, clock });
    await auth.getAccessToken();
    clock.shift(minutes(60));
    const [begun, finish] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const refreshing = store.withLock(`refresh/${former}`, async (held) => {
      begun.resolve();
      await finish.promise;
      await held.set(former, {
        ...record,
        accessToken: "new",
        issuedAt: clock.now(),
        expiresAt: clock.now() + minutes(60),
      } as StoredRecord);
    });
    await begun.promise;
    const token = auth.getAccessToken();
    finish.resolve();
    await refreshing;
    expect(await token).toBe("new");
    expect(server.authorizationServer.tokenRequests("refresh_token")).toEqual([]);
  });

  test("a login of the URL without query is nobody else's", async () => {
    const server = await startServer();
    const store = new MemoryStore();
    await seed(server, store);
    const { auth } = manager(at(server, "a"), { store, loginHandler: userAtHand() });
    expect((await failure(auth.getAccessToken())).code).toBe("login_required");
    expect(await auth.accounts()).toEqual([]);
    await auth.authorize();
    expect(await manager(server, { store }).auth.status()).toMatchObject({ isLoggedIn: true });
    expect(server.authorizationServer.liveLogins).toBe(2);
    expect(await store.keys("tokens/")).toHaveLength(2);
  });

  test("is left to others by a query that has its own", async () => {
    const { server, start, store, clock, as } = await loggedIn();
    const { former } = await leftByFormer(server, store, clock);
    expect(await store.keys("tokens/")).toHaveLength(3);
    const a = start("a");
    await a.getAccessToken();
    clock.shift(minutes(60));
    await a.getAccessToken();
    expect(await store.get(former)).toBeDefined();
    expect([as.liveLogins, as.tokenRequests("refresh_token").length]).toEqual([3, 1]);
  });

  test("that cannot be moved does not keep a new login from being used", async () => {
    const server = await startServer();
    const [inner, clock] = [new MemoryStore(), shiftedClock()];
    await leftByFormer(server, inner, clock);
    const store = new WatchedStore(inner);
    store.beforeWrite = (key) => {
      if (key.startsWith("tokens/")) throw new Error("disk full");
    };
    const { auth } = manager(at(server, "a"), { store, clock, loginHandler: userAtHand() });
    const old = await auth.getAccessToken();
    await auth.authorize({ scopes: ["mcp:write"] });
    expect(await auth.getAccessToken()).not.toBe(old);
    expect(server.authorizationServer.tokenRequests("authorization_code")).toHaveLength(1);
    store.beforeWrite = () => {};
  });

  test("of a resource with a query: its readable key goes with the next refresh", async () => {
    const server = await startServer();
    server.mcpServer.resource = `${server.url}?key=secret`;
    const [store, clock] = [new MemoryStore(), shiftedClock()];
    await leftByFormer(server, store, clock);
    expect((await store.keys("tokens/")).join()).toContain("secret");
    const { auth } = manager({ url: server.mcpServer.resource }, { store, clock });
    expect(await post(auth)).toBe(200);
    clock.shift(minutes(60));
    expect(await post(auth)).toBe(200);
    expect(server.authorizationServer.tokenRequests("refresh_token")).toHaveLength(1);
    expect((await store.keys("")).join()).not.toContain("secret");
  });

  test.each(["logout", "logoutEverywhere"] as const)("is listed, and ended by `%s()`", async (end) => {
    const server = await startServer();
    const store = new MemoryStore();
    await leftByFormer(server, store);
    const { auth } = manager(at(server, "a"), { store });
    expect(await auth.accounts()).toMatchObject([{ account: "default", canRefresh: true }]);
    const results = [await auth[end]()].flat();
    expect(results).toMatchObject([{ account: "default", wasLoggedIn: true, refreshTokenRevoked: true }]);
    expect([server.authorizationServer.liveLogins, await store.keys("tokens/")]).toEqual([0, []]);
  });

  test("of another account is ended by `logoutEverywhere()`", async () => {
    const server = await startServer();
    const store = new MemoryStore();
    const { former, record } = await leftByFormer(server, store);
    await store.set(former.replace("default", "work"), record as StoredRecord);
    await store.delete(former);
    await store.set(`index/work/${server.url}`, { v: 1, resource: server.mcpServer.resource });
    const { auth } = manager(at(server, "a"), { store });
    expect(await auth.logoutEverywhere()).toMatchObject([
      { account: "default", wasLoggedIn: false },
      { account: "work", wasLoggedIn: true, refreshTokenRevoked: true },
    ]);
    expect([server.authorizationServer.liveLogins, await store.keys("tokens/")]).toEqual([0, []]);
  });

  test("that cannot be read is none", async () => {
    const server = await startServer();
    const store = new MemoryStore();
    const { former } = await leftByFormer(server, store);
    await store.set(former, { v: 2 });
    const { auth } = manager(at(server, "a"), { store, loginHandler: userAtHand() });
    expect(await auth.accounts()).toEqual([]);
    await auth.authorize();
    expect(await auth.status()).toMatchObject({ isLoggedIn: true });
    expect(await store.get(former)).toEqual({ v: 2 });
  });

  test("a default account that a former version has chosen holds until a query has its own", async () => {
    const server = await startServer();
    const store = new MemoryStore();
    const chosen = { v: 1, account: "work" };
    await store.set(`accounts/${server.url}`, chosen);
    const status = () => manager(at(server, "a"), { store }).auth.status();
    expect(await status()).toMatchObject({ account: "work", isDefault: true });
    await manager(at(server, "a"), { store }).auth.logout();
    expect(await status()).toMatchObject({ account: "default", isDefault: true });
    expect(await store.get(`accounts/${server.url}`)).toEqual(chosen);
  });
});
