/** Rule 4 of tokens: a store that cannot be written costs nobody the login, neither before nor after the token was spent. */
import { describe, expect, test } from "vitest";
import { McpAuthError, MemoryStore } from "../../src/index.ts";
import { createSession } from "../../src/login/session.ts";
import { gate, tokenRequest } from "../fixture/index.ts";
import { failure, manager, manualClock, minutes, post, seed, startServer, tally, userAtHand, WatchedStore } from "../storm/support.ts";

const diskFull = () => Object.assign(new Error("no space left on device"), { code: "ENOSPC" });

async function loggedIn(options: Parameters<typeof manager>[1] = {}) {
  const server = await startServer({ authorizationServer: { accessTokenTtlSeconds: 3600 } });
  const clock = manualClock();
  const disk = new MemoryStore();
  const tokens = await seed(server, disk, { clock });
  const store = new WatchedStore(disk);
  const made = manager(server, { store, clock, ...options });
  expect(await made.auth.getAccessToken()).toBe(tokens.accessToken);
  const record = async () => (await disk.get(`tokens/default/${server.url}`)) as Record<string, unknown> | undefined;
  return { server, as: server.authorizationServer, mcp: server.mcpServer, disk, store, clock, tokens, record, ...made };
}

/** Writes fail from the `first` on, until the function returned is called. */
function failWrites(store: WatchedStore, first = 1): () => void {
  let writes = 0;
  store.beforeWrite = () => {
    if (++writes >= first) throw diskFull();
  };
  return () => {
    store.beforeWrite = () => {};
  };
}

describe("the disk is full before the refresh", () => {
  test("the refresh token is not spent, nothing is lost, and the error says what to do", async () => {
    const { as, auth, clock, store, record, tokens } = await loggedIn();
    failWrites(store);
    clock.advance(minutes(61));
    const error = await failure(auth.getAccessToken());
    expect([error.code, error.transient]).toEqual(["store_failed", true]);
    expect(error.cause).toMatchObject({ code: "ENOSPC" });
    expect(as.tokenRequests()).toHaveLength(0);
    expect(await record()).toMatchObject({ accessToken: tokens.accessToken, refreshToken: tokens.refreshToken });
    expect(as.liveLogins).toBe(1);
  });

  test("while the token is still good, nobody notices; and the refresh works when there is space again", async () => {
    const { as, auth, clock, store, tokens, types } = await loggedIn();
    const repair = failWrites(store);
    clock.advance(minutes(40));
    expect(await post(auth)).toBe(200);
    await expect.poll(() => store.writes).toBe(1);
    clock.advance(minutes(19.5));
    expect(await auth.getAccessToken()).toBe(tokens.accessToken);
    expect(as.tokenRequests()).toHaveLength(0);
    repair();
    clock.advance(minutes(1));
    expect(await post(auth)).toBe(200);
    expect(as.tokenRequests()).toHaveLength(1);
    expect(types()).not.toContain("tokens.unsaved");
  });

  test("a store that fails is no reason to ask a user, however often it fails", async () => {
    const handler = userAtHand();
    const { auth, clock, store } = await loggedIn({ loginHandler: handler });
    const repair = failWrites(store);
    clock.advance(minutes(61));
    for (let time = 0; time < 5; time++) {
      expect((await failure(post(auth))).code).toBe("store_failed");
      clock.advance(minutes(1));
    }
    expect(handler.opened).toBe(0);
    repair();
    expect(await post(auth)).toBe(200);
    expect(handler.opened).toBe(0);
  });
});

describe("the disk is full after the refresh", () => {
  test("the new tokens are used from memory, the app is told, and they are stored as soon as that is possible", async () => {
    const { as, auth, clock, store, record, tokens, types } = await loggedIn();
    const repair = failWrites(store, 2);
    clock.advance(minutes(61));
    expect(await tally(Array.from({ length: 20 }, () => post(auth)))).toEqual({ 200: 20 });
    expect(as.tokenRequests()).toHaveLength(1);
    expect(types()).toEqual(["refresh.started", "tokens.unsaved", "refresh.finished"]);
    expect(await record()).toMatchObject({ refreshToken: tokens.refreshToken, refreshStartedAt: expect.any(Number) });

    for (let time = 0; time < 3; time++) {
      await expect.poll(() => clock.timers.length).toBe(1);
      clock.advance(minutes(1));
    }
    await expect.poll(() => clock.timers.length).toBe(1);
    repair();
    clock.advance(minutes(1));
    await expect.poll(types).toContain("tokens.saved");
    expect(types().filter((type) => type === "tokens.unsaved")).toHaveLength(1);
    const saved = await record();
    expect(saved?.accessToken).toBe(await auth.getAccessToken());
    expect(saved?.refreshStartedAt).toBeUndefined();
    await expect.poll(() => clock.timers.length).toBe(0);
    expect(as.liveLogins).toBe(1);
  });

  test("another manager on the same store waits for the lock and never sends the old token", async () => {
    const { server, as, auth, clock, store, disk, types } = await loggedIn();
    const other = manager(server, { store: disk, clock });
    await other.auth.getAccessToken();
    const repair = failWrites(store, 2);
    clock.advance(minutes(61));
    const token = await auth.getAccessToken();
    const waiting = other.auth.getAccessToken();
    // One of the manager that tries to save, one of the other that waits.
    await expect.poll(() => clock.timers.length).toBe(2);
    expect(as.tokenRequests()).toHaveLength(1);
    repair();
    clock.advance(minutes(1));
    expect(await waiting).toBe(token);
    expect(types()).toContain("tokens.saved");
    expect(other.types()).toEqual(["refresh.shared"]);
    expect(as.tokenRequests()).toHaveLength(1);
  });

  test("… or gets `lock_timeout`, which passes", async () => {
    const { server, as, auth, clock, store, disk } = await loggedIn();
    const impatient = new WatchedStore(disk);
    const { withLock } = impatient;
    impatient.withLock = (key, action, options) => withLock(key, action, { ...options, lockTimeout: 20 });
    const other = manager(server, { store: impatient, clock });
    await other.auth.getAccessToken();
    failWrites(store, 2);
    clock.advance(minutes(61));
    await auth.getAccessToken();
    const error = await failure(other.auth.getAccessToken());
    expect([error.code, error.transient]).toEqual(["lock_timeout", true]);
    expect(as.tokenRequests()).toHaveLength(1);
    expect(as.liveLogins).toBe(1);
  });

  test("the next refresh uses the token in memory, under the same lock, and what is stored in the end is the newest", async () => {
    const { as, auth, clock, store, record } = await loggedIn();
    const repair = failWrites(store, 2);
    clock.advance(minutes(61));
    const first = await auth.getAccessToken();
    clock.advance(minutes(61));
    const second = await auth.getAccessToken();
    expect(second).not.toBe(first);
    expect(as.tokenRequests().map(({ status }) => status)).toEqual([200, 200]);
    repair();
    clock.advance(minutes(1));
    await expect.poll(async () => (await record())?.accessToken).toBe(second);
    expect(as.liveLogins).toBe(1);
  });

  test("a refresh that can store again does so for both, tells the app, and lets go of the lock at once", async () => {
    const { server, as, auth, clock, store, disk, types } = await loggedIn();
    const repair = failWrites(store, 2);
    clock.advance(minutes(61));
    await auth.getAccessToken();
    await expect.poll(() => clock.timers.length).toBe(1);
    repair();
    clock.jump(minutes(61));
    const token = await auth.getAccessToken();
    expect(types()).toContain("tokens.saved");
    clock.jump(minutes(61));
    // The next one, before any timer: in this manager as in another.
    const next = await auth.getAccessToken();
    expect(next).not.toBe(token);
    expect(await manager(server, { store: disk, clock }).auth.getAccessToken()).toBe(next);
    await manager(server, { store: disk, clock }).auth.logout();
    expect(as.liveLogins).toBe(0);
    expect(clock.timers).toEqual([]);
  });

  test("calls that queue up behind such a refresh are served", async () => {
    const { auth, clock, store } = await loggedIn();
    const repair = failWrites(store, 2);
    clock.advance(minutes(61));
    await auth.getAccessToken();
    await expect.poll(() => clock.timers.length).toBe(1);
    const writing = Promise.withResolvers<void>();
    const written = Promise.withResolvers<void>();
    store.beforeWrite = async () => {
      writing.resolve();
      await written.promise;
      repair();
    };
    clock.jump(minutes(61));
    const refreshing = auth.getAccessToken();
    await writing.promise;
    const leaving = auth.logout();
    // The timer's own attempt comes last.
    clock.advance(minutes(1));
    written.resolve();
    expect(await refreshing).toBeTruthy();
    expect(await leaving).toMatchObject({ wasLoggedIn: true });
  });

  test("`dispose` tries once more, and gives the lock up", async () => {
    const { server, auth, clock, store, disk, record, types } = await loggedIn();
    const repair = failWrites(store, 2);
    clock.advance(minutes(61));
    const token = await auth.getAccessToken();
    repair();
    await auth.dispose();
    expect(types()).toContain("tokens.saved");
    expect((await record())?.accessToken).toBe(token);
    expect(await manager(server, { store: disk, clock }).auth.getAccessToken()).toBe(token);
  });

  test("`dispose` with a disk that stays full ends all the same", async () => {
    const { server, auth, clock, store, disk, tokens } = await loggedIn();
    failWrites(store, 2);
    clock.advance(minutes(61));
    await auth.getAccessToken();
    await auth.dispose();
    // The lock is free. What is left is the old token, and the note that it may have been spent.
    const other = manager(server, { store: disk, clock });
    const error = await failure(other.auth.getAccessToken());
    expect(error.code).toBe("login_required");
    expect((error.cause as McpAuthError).message).toContain("an earlier refresh was interrupted");
    expect((error.cause as McpAuthError).message).not.toContain(tokens.refreshToken as string);
  });

  test("a logout meanwhile ends the login that is in memory, not the stored one", async () => {
    const { as, auth, clock, store, record } = await loggedIn();
    const repair = failWrites(store, 2);
    clock.advance(minutes(61));
    await auth.getAccessToken();
    repair();
    expect(await auth.logout()).toMatchObject({ wasLoggedIn: true, refreshTokenRevoked: true });
    expect([await record(), as.liveLogins]).toEqual([undefined, 0]);
    clock.advance(minutes(1));
    expect(await record()).toBeUndefined();
    expect((await failure(auth.getAccessToken())).code).toBe("login_required");
  });
});

describe("the store has written, and its answer is lost", () => {
  /** The new tokens of a first refresh are in the store, which did not say so. */
  async function refreshedUnheard() {
    const made = await loggedIn();
    const { auth, clock, store } = made;
    store.afterWrite = () => {
      if (store.writes >= 2) throw new McpAuthError("store_failed");
    };
    clock.advance(minutes(61));
    const first = await auth.getAccessToken();
    expect((await made.record())?.accessToken).toBe(first);
    clock.jump(minutes(61));
    return made;
  }

  test("the next refresh finds its own tokens there, and does not take them for another login that ended this one", async () => {
    const { as, auth, clock, store, record } = await refreshedUnheard();
    const second = await auth.getAccessToken();
    store.afterWrite = () => {};
    clock.advance(minutes(1));
    await expect.poll(async () => (await record())?.accessToken).toBe(second);
    expect(as.tokenRequests().map(({ status }) => status)).toEqual([200, 200]);
    expect(as.liveLogins).toBe(1);
  });

  test("… also when the lock is lost before the next tokens are written", async () => {
    const { as, auth, clock, store, record } = await refreshedUnheard();
    store.afterWrite = () => {};
    store.beforeWrite = () => {
      throw new McpAuthError("lock_lost");
    };
    const second = await auth.getAccessToken();
    clock.advance(minutes(1));
    await expect.poll(() => store.writes).toBeGreaterThan(3);
    store.beforeWrite = () => {};
    await expect
      .poll(async () => {
        clock.advance(minutes(1));
        return (await record())?.accessToken;
      })
      .toBe(second);
    expect(as.liveLogins).toBe(1);
  });
});

test("a logout where another process had logged out before says nothing of unsaved tokens, however full the disk is", async () => {
  const { server, auth, store, disk, clock, types } = await loggedIn();
  await manager(server, { store: disk, clock }).auth.logout();
  failWrites(store);
  await auth.logout().catch(() => {});
  expect(types()).not.toContain("tokens.unsaved");
});

test("a logout before a new login could be stored leaves nothing unsaved, however full the disk is", async () => {
  const server = await startServer();
  const store = new WatchedStore(new MemoryStore());
  store.beforeWrite = (key) => {
    if (key.startsWith("tokens/")) throw diskFull();
  };
  const { auth, types } = manager(server, { store, clock: manualClock(), loginHandler: userAtHand() });
  await auth.authorize();
  expect(types()).toContain("tokens.unsaved");
  expect(await auth.logout()).toMatchObject({ wasLoggedIn: true });
  expect(types()).toContain("tokens.saved");
});

describe("the lock is lost before the new tokens are stored: that is tried with pauses until it works", () => {
  const troubles: [string, (store: WatchedStore, fail: () => void) => () => void][] = [
    [
      "although the disk cannot be read meanwhile",
      (store, fail) => {
        const { get } = store;
        store.get = async () => {
          fail();
          throw new Error("input/output error");
        };
        return () => Object.assign(store, { get });
      },
    ],
    [
      "although another process holds the lock for long",
      (store, fail) => {
        const { withLock } = store;
        store.withLock = async () => {
          fail();
          throw new McpAuthError("lock_timeout");
        };
        return () => Object.assign(store, { withLock });
      },
    ],
  ];
  test.each(troubles)("%s", async (_name, begin) => {
    const { auth, clock, store, record, types } = await loggedIn();
    let writes = 0;
    store.beforeWrite = () => {
      if (++writes > 1) throw new McpAuthError("lock_lost");
    };
    clock.advance(minutes(61));
    const token = await auth.getAccessToken();
    await expect.poll(() => clock.timers.length).toBe(1);
    let failures = 0;
    const repair = begin(store, () => failures++);
    for (let attempt = 1; attempt <= 3; attempt++) {
      clock.advance(minutes(1));
      await expect.poll(() => [failures, clock.timers.length]).toEqual([attempt, 1]);
    }
    repair();
    store.beforeWrite = () => {};
    clock.advance(minutes(1));
    await expect.poll(types).toContain("tokens.saved");
    expect((await record())?.accessToken).toBe(token);
    expect(types().filter((type) => type === "tokens.unsaved")).toHaveLength(1);
  });
});

describe("the disk is full at a login", () => {
  test("the login serves from memory and is stored later; no second browser", async () => {
    const handler = userAtHand();
    const server = await startServer();
    const clock = manualClock();
    const disk = new MemoryStore();
    const store = new WatchedStore(disk);
    store.beforeWrite = (key) => {
      if (key.startsWith("tokens/")) throw diskFull();
    };
    const { auth, types } = manager(server, { store, clock, loginHandler: handler });
    expect(await tally(Array.from({ length: 5 }, () => post(auth)))).toEqual({ 200: 5 });
    expect(types()).toContain("tokens.unsaved");
    expect(await auth.authorize()).toBe("authorized");
    store.beforeWrite = () => {};
    await expect.poll(() => clock.timers.length).toBeGreaterThan(0);
    clock.advance(minutes(1));
    await expect.poll(types).toContain("tokens.saved");
    expect(handler.opened).toBe(1);
    expect(await manager(server, { store: disk, clock }).auth.getAccessToken()).toBe(await auth.getAccessToken());
  });

  test("a disk that is full for everything: the next program finds the login all the same, once there is space", async () => {
    const server = await startServer();
    const clock = manualClock();
    const disk = new MemoryStore();
    const store = new WatchedStore(disk);
    store.beforeWrite = (key) => {
      if (/^(tokens|index)/.test(key)) throw diskFull();
    };
    const { auth, types } = manager(server, { store, clock, loginHandler: userAtHand() });
    expect(await auth.authorize()).toBe("authorized");
    store.beforeWrite = () => {};
    await expect.poll(() => clock.timers.length).toBeGreaterThan(0);
    clock.advance(minutes(1));
    await expect.poll(types).toContain("tokens.saved");
    expect(await manager(server, { store: disk, clock }).auth.getAccessToken()).toBe(await auth.getAccessToken());
  });

  test("a login that could not be found again later is no failure now; when there is space, the next program finds it", async () => {
    const server = await startServer();
    const clock = manualClock();
    const disk = new MemoryStore();
    const store = new WatchedStore(disk);
    store.beforeWrite = (key) => {
      if (key.startsWith("index/")) throw diskFull();
    };
    const { auth, types } = manager(server, { store, clock, loginHandler: userAtHand() });
    expect([await auth.authorize(), await post(auth)]).toEqual(["authorized", 200]);
    expect(types()).toContain("tokens.unsaved");
    store.beforeWrite = () => {};
    await expect.poll(() => clock.timers.length).toBeGreaterThan(0);
    clock.advance(minutes(1));
    await expect.poll(types).toContain("tokens.saved");
    expect(await manager(server, { store: disk, clock }).auth.getAccessToken()).toBe(await auth.getAccessToken());
  });
});

test("a store that cannot be read is an error, not a new login", async () => {
  const handler = userAtHand();
  const server = await startServer();
  const disk = new MemoryStore();
  await seed(server, disk);
  const store = new WatchedStore(disk);
  const { get } = store;
  let broken = true;
  store.get = (key) => (broken ? Promise.reject(new Error("I/O error")) : get(key));
  const { auth } = manager(server, { store, loginHandler: handler });
  for (const call of [() => post(auth), () => auth.authorize(), () => auth.getAccessToken()]) {
    expect((await failure(call())).code).toBe("store_failed");
  }
  expect(handler.started).toBe(0);
  broken = false;
  expect(await post(auth)).toBe(200);
});

test("a new access token is handed to nobody before its refresh token is stored", async () => {
  const { as, auth, clock, store, record } = await loggedIn();
  clock.advance(minutes(61));
  const answered = gate(tokenRequest("refresh_token"));
  as.intercept(answered.hook);
  const writing = Promise.withResolvers<void>();
  const written = Promise.withResolvers<void>();
  let writes = 0;
  store.beforeWrite = async () => {
    if (++writes < 2) return;
    writing.resolve();
    await written.promise;
  };
  let token: string | undefined;
  const call = auth.getAccessToken().then((value) => {
    token = value;
  });
  answered.open();
  await writing.promise;
  expect(token).toBeUndefined();
  written.resolve();
  await call;
  expect((await record())?.accessToken).toBe(token);
});

test("a record of a newer version is an error that says so, and is not overwritten", async () => {
  const { server, auth, disk, record } = await loggedIn();
  const newer = { ...(await record()), v: 2 };
  await disk.set(`tokens/default/${server.url}`, newer);
  const other = manager(server, { store: disk, loginHandler: userAtHand() });
  const error = await failure(other.auth.getAccessToken());
  expect([error.code, error.transient]).toEqual(["invalid_record", false]);
  expect((await failure(post(other.auth))).code).toBe("invalid_record");
  expect(await record()).toEqual(newer);
  expect(await auth.getAccessToken()).toBeTruthy();
});

test.each([
  ["under way: waited for", true, "newer"],
  ["of a process that died: not waited for", false, "older"],
])("a refresh that another process has begun, %s", async (_what, isUnderWay, expected) => {
  const { server, disk, clock, record } = await loggedIn();
  const key = `tokens/default/${server.url}`;
  const begun = { ...(await record()), v: 1, accessToken: "older", refreshStartedAt: clock.now() };
  await disk.set(key, begun);
  const refreshing = Promise.withResolvers<void>();
  const other =
    isUnderWay &&
    disk.withLock(`refresh/${key}`, async () => {
      await refreshing.promise;
      await disk.set(key, { ...begun, accessToken: "newer", refreshStartedAt: undefined });
    });
  const { keeper } = createSession({ serverUrl: server.url, store: disk, clock });
  const settled = keeper.loadSettled();
  await new Promise((resolve) => setTimeout(resolve, 5));
  refreshing.resolve();
  expect((await settled)?.accessToken).toBe(expected);
  await other;
});
