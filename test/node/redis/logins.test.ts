/** A login in Redis, as its user meets it when something is wrong with Redis or with the app's keys. */
import { beforeAll, beforeEach, expect, test } from "vitest";
import { generateStoreKey } from "../../../src/node/redis/index.ts";
import { failure, manager, minutes, post, seed, shiftedClock, startServer, userAtHand } from "../../storm/support.ts";
import { openStore, type RedisServer, startRedis } from "./support.ts";

let redis: RedisServer;
beforeAll(async () => {
  redis = await startRedis();
});
beforeEach(async () => {
  await redis.command("FLUSHALL");
});

async function loggedIn() {
  const server = await startServer();
  const clock = shiftedClock();
  const store = await openStore(redis, { commandTimeout: 500 });
  const tokens = await seed(server, store, { clock });
  const handler = userAtHand();
  const made = manager(server, { store, clock, loginHandler: handler });
  expect(await made.auth.getAccessToken()).toBe(tokens.accessToken);
  const key = `tokens/default/${server.url}`;
  return { server, as: server.authorizationServer, store, clock, tokens, handler, key, ...made };
}

test("Redis is away: a valid token is used, an expired one is not refreshed; when it is back, it is refreshed once", async () => {
  const { as, auth, clock } = await loggedIn();
  await redis.kill();
  for (let call = 0; call < 3; call++) expect(await post(auth)).toBe(200);
  clock.shift(minutes(6));
  const error = await failure(post(auth));
  expect([error.code, error.transient, error.hint]).toEqual(["store_failed", true, expect.stringContaining("Check that Redis runs")]);
  expect(as.tokenRequests()).toEqual([]);
  await redis.start();
  await expect.poll(() => post(auth).catch(({ code }) => code)).toBe(200);
  expect(as.tokenRequests().map(({ status }) => status)).toEqual([200]);
  expect(as.liveLogins).toBe(1);
});

test("Redis is away, and the user is not asked for a login: that could not be stored", async () => {
  const { auth, clock, handler } = await loggedIn();
  await redis.kill();
  clock.shift(minutes(6));
  for (const call of [() => post(auth), () => auth.authorize(), () => auth.getAccessToken()]) {
    expect((await failure(call())).code).toBe("store_failed");
  }
  expect(handler.started).toBe(0);
  await redis.start();
});

test("Redis was emptied: a valid token is used, then a login is needed; nothing is sent before", async () => {
  const { as, auth, clock, handler } = await loggedIn();
  await redis.command("FLUSHALL");
  expect(await post(auth)).toBe(200);
  clock.shift(minutes(6));
  expect((await failure(auth.getAccessToken())).code).toBe("login_required");
  expect(as.tokenRequests()).toEqual([]);
  expect(await auth.authorize()).toBe("authorized");
  expect([handler.opened, await post(auth)]).toEqual([1, 200]);
});

test("a machine with the wrong keys says so, asks nobody to log in, and deletes nothing, not even at a logout", async () => {
  const { server, as, store, key } = await loggedIn();
  const before = await store.get(key);
  const handler = userAtHand();
  const wrong = await openStore(redis, { keys: [generateStoreKey()] });
  const { auth } = manager(server, { store: wrong, loginHandler: handler });
  for (const call of [() => post(auth), () => auth.authorize(), () => auth.getAccessToken(), () => auth.logout()]) {
    const error = await failure(call());
    expect([error.code, error.transient, error.hint]).toEqual(["store_unusable", false, expect.stringContaining("Add to `keys`")]);
  }
  expect([handler.started, await store.get(key), as.liveLogins]).toEqual([0, before, 1]);
});

test("a login of a newer version is an error that says so, and is not overwritten", async () => {
  const { server, store, key, handler } = await loggedIn();
  const newer = { ...(await store.get(key)), v: 2 };
  await store.set(key, newer);
  const { auth } = manager(server, { store: await openStore(redis), loginHandler: handler });
  for (const call of [() => post(auth), () => auth.getAccessToken()]) expect((await failure(call())).code).toBe("invalid_record");
  expect([await store.get(key), handler.started]).toEqual([newer, 0]);
});

test("a login at one machine is found by another", async () => {
  const server = await startServer();
  const here = manager(server, { store: await openStore(redis), loginHandler: userAtHand() });
  await here.auth.authorize();
  const there = manager(server, { store: await openStore(redis, {}, "ioredis") });
  expect(await there.auth.getAccessToken()).toBe(await here.auth.getAccessToken());
  expect((await here.auth.status()).store).toMatchObject({ kind: "redis" });
});
