/** A login that nobody uses for a while leaves memory, not the store; what is in the store alone afterwards is as good. */
import { describe, expect, test } from "vitest";
import { MemoryStore, type Store } from "../../src/index.ts";
import { answer, gate, type ProtectedServerOptions, tokenRequest, when } from "../fixture/index.ts";
import {
  failure,
  type ManualClock,
  manager,
  manualClock,
  minutes,
  post,
  seed,
  startServer,
  userAtHand,
  WatchedStore,
} from "../storm/support.ts";

/** A manager with a stored login, and a neighbour whose calls notice that it is left alone. */
async function neighbours(options: Parameters<typeof manager>[1] = {}, server?: ProtectedServerOptions) {
  const protectedServer = await startServer(server);
  const clock = manualClock();
  const store = new WatchedStore();
  const tokens = await seed(protectedServer, store, { clock });
  const made = manager(protectedServer, { store, clock, ...options });
  const neighbour = await neighbourOf(clock);
  return { server: protectedServer, as: protectedServer.authorizationServer, clock, store, tokens, ...made, ...neighbour };
}

/** Somebody else who lives by the same clock. */
async function neighbourOf(clock: ManualClock, store: Store = new MemoryStore()) {
  const { auth: neighbour } = manager({ url: "https://other.example/mcp" }, { clock, store });
  await neighbour.setTokens({ accessToken: "neighbour", expiresIn: 1_000_000 });
  const call = () => neighbour.getAccessToken();
  return {
    /** So many minutes pass, and the neighbour calls meanwhile. */
    async pass(count: number): Promise<void> {
      for (let i = 0; i < count; i++) {
        clock.advance(minutes(1));
        await call();
      }
    },
    /** Time passes in which no time limit ends. */
    async skip(count: number): Promise<void> {
      clock.jump(minutes(count));
      await call();
    },
  };
}

test("it comes back from the store at the next call, without a request", async () => {
  const { auth, as, store, tokens, pass } = await neighbours(
    { account: "default" },
    { authorizationServer: { accessTokenTtlSeconds: 7200 } },
  );
  expect(await post(auth)).toBe(200);
  const { fetch } = auth;
  const [reads, requests] = [store.reads, as.requests.length];
  await pass(15);
  expect(store.reads).toBe(reads);
  expect([await auth.getAccessToken(), await post(auth)]).toEqual([tokens.accessToken, 200]);
  expect([store.reads - reads, as.requests.length]).toEqual([2, requests]);
  expect(auth.fetch).toBe(fetch);
});

test.each([
  ["a call within five minutes", 5],
  ["a call each minute", 1],
])("%s keeps it: the store is read once", async (_what, pause) => {
  const { auth, store, pass } = await neighbours({}, { authorizationServer: { accessTokenTtlSeconds: 36_000 } });
  await auth.getAccessToken();
  const { reads } = store;
  for (let i = 0; i < 30; i += pause) {
    await pass(pause);
    await auth.getAccessToken();
  }
  expect(store.reads).toBe(reads);
});

test("there is no timer", async () => {
  const { auth, clock, pass } = await neighbours();
  await auth.getAccessToken();
  expect(clock.timers).toEqual([]);
  await pass(15);
  expect(clock.timers).toEqual([]);
});

test("a clock that is put back delays nothing", async () => {
  const { auth, clock, store, pass } = await neighbours();
  await auth.getAccessToken();
  const { reads } = store;
  clock.jump(minutes(-600));
  await pass(12);
  await auth.getAccessToken();
  expect(store.reads).toBeGreaterThan(reads);
});

test("a manager without a store has one of its own, which stays", async () => {
  const clock = manualClock();
  const { auth } = manager({ url: "https://mcp.example/mcp" }, { clock });
  const { pass } = await neighbourOf(clock);
  await auth.setTokens({ accessToken: "mine", expiresIn: 100_000 });
  await pass(15);
  expect(await auth.getAccessToken()).toBe("mine");
});

describe("it stays", () => {
  test("while it is refreshed: the refresh is sent once", async () => {
    const { auth, as, clock, store, skip } = await neighbours();
    await auth.getAccessToken();
    const held = gate(tokenRequest("refresh_token"));
    as.intercept(held.hook);
    clock.jump(minutes(100));
    const waiting = auth.getAccessToken();
    await held.reached(1);
    const { reads } = store;
    await skip(6);
    await skip(6);
    const another = auth.getAccessToken();
    await new Promise((resolve) => setImmediate(resolve));
    expect(store.reads).toBe(reads);
    held.open();
    expect(await another).toBe(await waiting);
    expect(as.tokenRequests("refresh_token")).toHaveLength(1);
  });

  test("while a user logs in: whoever comes later waits for the same window, and `dispose()` ends it", async () => {
    const loginHandler = userAtHand();
    loginHandler.until = new Promise(() => {});
    const server = await startServer();
    const clock = manualClock();
    const { auth } = manager(server, { clock, loginHandler, loginTimeout: 2_000_000_000, loginPendingTimeout: 2_000_000_000 });
    const { pass } = await neighbourOf(clock);
    const first = failure(auth.authorize());
    await expect.poll(() => loginHandler.opened).toBe(1);
    await pass(15);
    const second = failure(auth.authorize());
    await auth.dispose();
    expect([(await first).code, (await second).code, loginHandler.opened]).toEqual(["disposed", "disposed", 1]);
  });

  test("as long as new tokens are not stored: nobody else can have them", async () => {
    const { server, auth, as, clock, store, pass, types } = await neighbours({}, { authorizationServer: { accessTokenTtlSeconds: 7200 } });
    await auth.getAccessToken();
    clock.advance(minutes(200));
    let written = 0;
    // The note that the refresh token is sent still finds a place.
    store.beforeWrite = () => {
      if (written++ > 0) throw new Error("no space left on device");
    };
    const token = await auth.getAccessToken();
    expect(types()).toContain("tokens.unsaved");
    await pass(15);
    expect(await auth.getAccessToken()).toBe(token);
    expect(as.tokenRequests("refresh_token")).toHaveLength(1);
    store.beforeWrite = () => {};
    await pass(1);
    await expect.poll(types).toContain("tokens.saved");
    const { inner } = store;
    expect(await manager(server, { store: inner, clock }).auth.getAccessToken()).toBe(token);
  });

  test("while it is kept fresh by a timer", async () => {
    const { auth, as, clock, pass, store } = await neighbours(
      { keepFresh: true },
      { authorizationServer: { accessTokenTtlSeconds: 36_000 } },
    );
    await auth.getAccessToken();
    await pass(15);
    const { reads } = store;
    await auth.getAccessToken();
    expect(store.reads).toBe(reads);
    expect(clock.timers).toHaveLength(1);
    expect(as.tokenRequests("refresh_token")).toHaveLength(0);
  });

  test("where `requestInit()` reads it, which cannot wait for the store", async () => {
    const { auth, tokens, pass } = await neighbours({}, { authorizationServer: { accessTokenTtlSeconds: 7200 } });
    await auth.getAccessToken();
    const init = auth.requestInit();
    expect(init.headers).toEqual({ authorization: `Bearer ${tokens.accessToken}` });
    await pass(15);
    expect(init.headers).toEqual({ authorization: `Bearer ${tokens.accessToken}` });
  });

  test("where `requestInit()` reads it and no timer runs: `dispose()` ends that, too", async () => {
    const { auth, pass } = await neighbours();
    await auth.setTokens({ accessToken: "given", expiresIn: 100_000 });
    const init = auth.requestInit();
    expect(init.headers).toEqual({ authorization: "Bearer given" });
    await pass(15);
    await auth.dispose();
    expect(() => init.headers).toThrow(expect.objectContaining({ code: "disposed" }));
  });
});

describe("what it has learnt is still known", () => {
  test("that a user has refused more scopes: for ten minutes nobody asks again", async () => {
    const loginHandler = userAtHand();
    const { auth, as, pass, skip } = await neighbours({ loginHandler }, { authorizationServer: { accessTokenTtlSeconds: 36_000 } });
    await auth.getAccessToken();
    await skip(4);
    as.nextDecision = "deny";
    expect((await failure(post(auth, "write_note", { text: "x" }))).code).toBe("authorization_denied");
    // Left alone for six minutes.
    await pass(6);
    expect((await failure(post(auth, "write_note", { text: "x" }))).code).toBe("authorization_denied");
    expect(loginHandler.opened).toBe(1);
  });

  test("whose login it is, where the app does not say: another default is for those who come later", async () => {
    const { server, auth, clock, store, tokens, pass } = await neighbours({}, { authorizationServer: { accessTokenTtlSeconds: 7200 } });
    expect(await auth.getAccessToken()).toBe(tokens.accessToken);
    const other = manager(server, { store, clock, account: "other" }).auth;
    await other.setTokens({ accessToken: "other's", expiresIn: 7200 });
    await other.makeDefault();
    await pass(15);
    expect(await auth.getAccessToken()).toBe(tokens.accessToken);
    expect(await manager(server, { store, clock }).auth.getAccessToken()).toBe("other's");
  });

  test("`lastError`, until the next success", async () => {
    const { auth, as, clock, pass } = await neighbours();
    clock.advance(minutes(100));
    as.intercept(when(tokenRequest("refresh_token"), answer(400, { error: "invalid_grant" })));
    await failure(auth.getAccessToken());
    const error = auth.lastError;
    expect(error?.code).toBe("login_required");
    await pass(15);
    expect(auth.lastError).toBe(error);
  });

  test("why there is no login any more", async () => {
    const { auth, as, clock, pass } = await neighbours();
    await auth.getAccessToken();
    as.intercept(when(tokenRequest("refresh_token"), answer(400, { error: "invalid_grant" })));
    clock.advance(minutes(100));
    const why = (await failure(auth.getAccessToken())).cause;
    expect(why).toMatchObject({ code: "invalid_grant" });
    await pass(15);
    expect((await failure(auth.getAccessToken())).cause).toBe(why);
  });

  test("that it is disposed of", async () => {
    const { auth, pass } = await neighbours();
    await auth.getAccessToken();
    await auth.dispose();
    await pass(15);
    expect((await failure(auth.getAccessToken())).code).toBe("disposed");
  });
});
