/** The logins of many users in one process: one manager an account, which is weakly held. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, onTestFinished, test } from "vitest";
import { type AuthEvent, MemoryStore, type TokenManager, TokenManagers, type TokenManagersOptions } from "../../src/index.ts";
import { gate, tokenRequest } from "../fixture/index.ts";
import { failure, manualClock, minutes, post, seed, startServer, tally, toolRequest, WatchedStore } from "../storm/support.ts";

const offline = { url: "https://mcp.example/mcp" };

function managers(server: { url: string }, options: Partial<TokenManagersOptions> = {}) {
  const events: AuthEvent[] = [];
  const users = new TokenManagers({ serverUrl: server.url, onEvent: (event) => void events.push(event), ...options });
  onTestFinished(() => users.dispose());
  return { users, events, types: () => events.map(({ type }) => type) };
}

/** A login of `alice`, whose token has expired. */
async function expired() {
  const server = await startServer();
  const clock = manualClock();
  const store = new WatchedStore();
  await seed(server, store, { clock, account: "alice" });
  clock.advance(minutes(100));
  return { server, as: server.authorizationServer, clock, store, ...managers(server, { store, clock }) };
}

describe("an account has one manager", () => {
  test("the same one for all who ask, another one for another account", () => {
    const { users } = managers(offline);
    const alice = users.forAccount("alice");
    expect(users.forAccount("alice")).toBe(alice);
    expect(users.forAccount("bob")).not.toBe(alice);
  });

  test("a hundred callers who come by themselves share one refresh", async () => {
    const { users, as } = await expired();
    const calls = Array.from({ length: 100 }, () => post(users.forAccount("alice")));
    expect(await tally(calls)).toEqual({ 200: 100 });
    expect(as.tokenRequests("refresh_token")).toHaveLength(1);
  });

  test("a request goes out in the name of its user alone", async () => {
    const sent: (string | null)[] = [];
    const fetch: typeof globalThis.fetch = async (_url, init) => {
      sent.push(new Headers(init?.headers).get("authorization"));
      return Response.json({});
    };
    const { users } = managers(offline, { fetch });
    const accounts = Array.from({ length: 1000 }, (_, i) => `user-${i}`);
    await Promise.all(accounts.map((account) => users.forAccount(account).setTokens({ accessToken: `of-${account}`, expiresIn: 3600 })));
    for (const account of accounts) await users.forAccount(account).fetch(offline.url, toolRequest("add", {}));
    expect(sent).toEqual(accounts.map((account) => `Bearer of-${account}`));
    await users.forAccount("nobody").fetch(offline.url, toolRequest("add", {}));
    expect(sent.at(-1)).toBeNull();
  });

  test("who was disposed of alone is followed by another one", async () => {
    const { users } = managers(offline);
    const first = users.forAccount("alice");
    await first.setTokens({ accessToken: "a", expiresIn: 3600 });
    await first.dispose();
    const second = users.forAccount("alice");
    expect(await second.getAccessToken()).toBe("a");
    await first.dispose();
    expect(users.forAccount("alice")).toBe(second);
  });

  test("it is as `TokenManager` with `account`: what one stores, the other finds", async () => {
    const { server, store, clock } = await expired();
    const { users } = managers(server, { store, clock });
    const auth = users.forAccount("alice");
    expect(await auth.status()).toMatchObject({ account: "alice", isDefault: false, canRefresh: true });
    expect((await auth.accounts()).map(({ account }) => account)).toEqual(["alice"]);
    expect(await auth.logout()).toMatchObject({ account: "alice", wasLoggedIn: true });
    expect((await failure(auth.getAccessToken())).code).toBe("login_required");
  });

  test("its events name the account, and those of a manager whose account the app has not named do not", async () => {
    const { users, events } = managers(offline);
    await users.forAccount("alice").setTokens({ accessToken: "a" });
    await users.forAccount("alice").logout();
    expect(events).not.toHaveLength(0);
    for (const event of events) expect(event).toMatchObject({ account: "alice", serverUrl: offline.url });
  });
});

describe("`dispose()`", () => {
  test("waits for the refresh in flight of a manager that nobody holds, and its tokens are stored", async () => {
    const { users, server, as, clock, store } = await expired();
    const held = gate(tokenRequest("refresh_token"));
    as.intercept(held.hook);
    const refreshing = users.forAccount("alice").getAccessToken();
    await held.reached(1);
    let isOver = false;
    const disposing = users.dispose().then(() => {
      isOver = true;
    });
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(isOver).toBe(false);
    held.open();
    await disposing;
    const next = managers(server, { store: store.inner, clock }).users;
    expect(await next.forAccount("alice").getAccessToken()).toBe(await refreshing);
    expect(as.tokenRequests("refresh_token")).toHaveLength(1);
  });

  test("ends those that were never used, too; there are no new ones", async () => {
    const { users } = managers(offline);
    const [used, unused] = [users.forAccount("used"), users.forAccount("unused")];
    await used.setTokens({ accessToken: "a" });
    await users.dispose();
    for (const auth of [used, unused]) expect((await failure(auth.getAccessToken())).code).toBe("disposed");
    expect(() => users.forAccount("another")).toThrow(expect.objectContaining({ code: "disposed" }));
    await unused.dispose();
  });
});

describe("what nobody holds", () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  /** Whether it is gone once everything is that can go. */
  const isGone = async (auth: WeakRef<TokenManager>) => {
    for (let i = 0; i < 5 && auth.deref(); i++) {
      // What was reached is kept until the end of the task.
      await new Promise((resolve) => setTimeout(resolve, 5));
      collect();
    }
    return auth.deref() === undefined;
  };
  const weakly = (users: TokenManagers, account: string) => new WeakRef(users.forAccount(account));
  const neighbour = async (users: TokenManagers) => void (await users.forAccount("neighbour").status());

  test("goes at once where it was never used", async () => {
    expect(await isGone(weakly(managers(offline).users, "alice"))).toBe(true);
  });

  test("stays between two calls, so that the second reads no store, and goes when it is left alone; its login does not", async () => {
    const [clock, store] = [manualClock(), new WatchedStore()];
    const { users } = managers(offline, { clock, store });
    await users.forAccount("alice").setTokens({ accessToken: "a", expiresIn: 100_000 });
    const alice = weakly(users, "alice");
    const { reads } = store;
    expect(await isGone(alice)).toBe(false);
    expect(await users.forAccount("alice").getAccessToken()).toBe("a");
    expect(store.reads).toBe(reads);
    for (let i = 0; i < 3; i++) {
      clock.advance(minutes(5));
      await neighbour(users);
    }
    expect(await isGone(alice)).toBe(true);
    expect(await users.forAccount("alice").getAccessToken()).toBe("a");
    expect(store.reads).toBeGreaterThan(reads);
  });

  test("takes nobody with it: who has followed one that was disposed of stays the account's", async () => {
    const clock = manualClock();
    const { users } = managers(offline, { clock });
    const first = weakly(users, "alice");
    await first.deref()?.dispose();
    const second = users.forAccount("alice");
    for (let i = 0; i < 3; i++) {
      clock.advance(minutes(5));
      await neighbour(users);
    }
    expect(await isGone(first)).toBe(true);
    // What is to be done when one has gone is done in a task of its own.
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(users.forAccount("alice")).toBe(second);
  });

  test("stays as long as its new tokens are not stored", async () => {
    const { users, as, clock, store, types } = await expired();
    let written = 0;
    store.beforeWrite = (key) => {
      if (key.startsWith("tokens/") && written++ > 0) throw new Error("no space left on device");
    };
    const token = await users.forAccount("alice").getAccessToken();
    const alice = weakly(users, "alice");
    for (let i = 0; i < 3; i++) {
      clock.jump(minutes(6));
      await neighbour(users);
    }
    expect(await isGone(alice)).toBe(false);
    store.beforeWrite = () => {};
    clock.advance(minutes(1));
    await expect.poll(types).toContain("tokens.saved");
    const stored = await Promise.all((await store.keys("tokens/alice/")).map((key) => store.get(key)));
    expect(stored).toMatchObject([{ accessToken: token }]);
    expect(as.tokenRequests("refresh_token")).toHaveLength(1);
  });
});

test("managers without a store share one, as those of one process should", async () => {
  const { users } = managers(offline);
  await users.forAccount("alice").setTokens({ accessToken: "a", expiresIn: 3600 });
  expect((await users.forAccount("bob").accounts()).map(({ account }) => account)).toEqual(["alice"]);
  const { users: others } = managers(offline, { store: new MemoryStore() });
  expect(await others.forAccount("alice").accounts()).toEqual([]);
});
