/** Several machines that share logins in Redis: one refreshes, the others use what it has stored, whatever happens to it. */
import { describe, expect, test } from "vitest";
import { systemClock, TokenManager } from "../../../src/index.ts";
import { gate, logInByHand, type ProtectedServer, registerByHand, tokenRequest, when } from "../../fixture/index.ts";
import { minutes, startServer } from "../../storm/support.ts";
import { startMachine } from "./machine.ts";
import { openStore, type RedisServer, startRedis } from "./support.ts";

const later = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const lease = 1500;
/** At 6 of 5 minutes a token has expired. */
const aheadMs = minutes(6);

/** Logins of these accounts, with tokens that live for 5 minutes. */
async function logIn({ authorizationServer: as, mcpServer: mcp, url }: ProtectedServer, redis: RedisServer, accounts: readonly string[]) {
  const store = await openStore(redis);
  const clientId = await registerByHand(as);
  for (const account of accounts) {
    const tokens = await logInByHand(as, { resource: mcp.resource, scope: "mcp:read", clientId });
    const auth = new TokenManager({ serverUrl: url, store, account });
    await auth.setTokens({ ...tokens, issuer: as.issuer, resource: mcp.resource });
    await auth.dispose();
  }
  as.requests.length = 0;
  return store;
}

async function fleet(accounts: readonly string[] = ["a"], options?: Parameters<typeof startServer>[0]) {
  const [server, redis] = [await startServer(options), await startRedis()];
  const store = await logIn(server, redis, accounts);
  const key = `tokens/a/${server.url}`;
  const statuses = () => server.authorizationServer.tokenRequests("refresh_token").map(({ status }) => status);
  /** The login that is stored can be refreshed. */
  const expectAlive = async () => {
    const clock = { ...systemClock, now: () => Date.now() + 2 * aheadMs };
    const auth = new TokenManager({ serverUrl: server.url, store, account: "a", clock });
    expect(await auth.getAccessToken()).toBeTruthy();
    await auth.dispose();
  };
  return { server, as: server.authorizationServer, redis, store, statuses, expectAlive, record: () => store.get(key) };
}

describe("locks", () => {
  test("four processes, fifty times each: never two owners at once, and all come in", { timeout: 240_000 }, async () => {
    const redis = await startRedis();
    const machines = await Promise.all([1, 2, 3, 4].map(() => startMachine(redis)));
    await Promise.all(machines.map((machine) => machine.count("k", 50)));
    expect(await (await openStore(redis)).get("k")).toEqual({ v: 1, n: 200 });
  });

  test("a holder that is killed: the next one gets the lock when its lease is over", async () => {
    const redis = await startRedis();
    const [dead, next] = [await startMachine(redis, { lease }), await startMachine(redis, { lease })];
    await dead.hold("k");
    await dead.kill();
    await next.hold("k");
    await next.set("k", 2);
  });

  test("a holder that is stopped for longer than its lease can do nothing when it goes on", async () => {
    const redis = await startRedis();
    const [stopped, next] = [await startMachine(redis, { lease }), await startMachine(redis, { lease })];
    await stopped.hold("k");
    stopped.signal("SIGSTOP");
    await next.hold("k");
    await next.set("k", 2);
    stopped.signal("SIGCONT");
    await expect(stopped.check()).rejects.toThrow("lock_lost");
    await expect(stopped.set("k", 1)).rejects.toThrow("lock_lost");
    expect(await stopped.isSignalled()).toBe(true);
    await stopped.release();
    await next.set("k", 3);
    expect(await (await openStore(redis)).get("k")).toEqual({ v: 1, n: 3 });
  });
});

describe("a machine that is stopped in a refresh", () => {
  const stopped = async (point: "before" | "after", settings: { lease: number; graceSeconds?: number }) => {
    const all = await fleet(["a"], { authorizationServer: { graceSeconds: settings.graceSeconds ?? 0 } });
    const machines = [
      await startMachine(all.redis, { aheadMs, ...settings }),
      await startMachine(all.redis, { aheadMs, ...settings }),
    ] as const;
    const [first, next] = machines;
    for (const machine of machines)
      await machine.open(all.server.url, ["a"], machine === first && point === "before" ? "tokens/" : undefined);
    const answer = gate(() => true, "after");
    if (point === "after") all.as.intercept(when(tokenRequest("refresh_token"), answer.hook, 1));
    const refreshing = first.tokens();
    if (point === "after") {
      await answer.reached(1);
      first.signal("SIGSTOP");
    } else await expect.poll(async () => (await all.record())?.refreshStartedAt).toBeDefined();
    const goOn = () => {
      answer.open();
      first.signal("SIGCONT");
      return refreshing;
    };
    return { ...all, first, next, goOn };
  };

  test("longer than its lease, before it has sent the refresh token: it does not send it, and uses what another got", async () => {
    const { first, next, goOn, statuses, record, expectAlive } = await stopped("before", { lease });
    expect(await next.tokens()).toEqual({ token: 1 });
    const stored = await record();
    expect(stored?.accessToken).toBe(await next.token());
    await goOn();
    expect(await first.token()).toBe(stored?.accessToken);
    expect([statuses(), await record()]).toEqual([[200], stored]);
    await expectAlive();
  });

  test("longer than its lease, before it has sent the refresh token, and nobody wanted it: it is refreshed once", async () => {
    const { first, goOn, statuses, expectAlive } = await stopped("before", { lease });
    await later(lease);
    await goOn();
    expect(await first.token()).toBeTruthy();
    expect(statuses()).toEqual([200]);
    await expectAlive();
  });

  test("shorter than its lease: the others wait for it, and use what it gets", async () => {
    const { first, next, goOn, statuses, expectAlive } = await stopped("after", { lease: 60_000 });
    const waiting = next.tokens();
    await later(500);
    expect(statuses()).toHaveLength(1);
    expect([await goOn(), await waiting, await first.token()]).toEqual([{ token: 1 }, { token: 1 }, await next.token()]);
    expect(statuses()).toEqual([200]);
    await expectAlive();
  });

  test("longer than its lease, with the answer on its way: it does not overwrite the newer token", async () => {
    const { first, next, goOn, statuses, record, expectAlive } = await stopped("after", { lease, graceSeconds: 60 });
    expect(await next.tokens()).toEqual({ token: 1 });
    const stored = await record();
    expect(await goOn()).toEqual({ token: 1 });
    await first.dispose();
    expect([statuses(), await record()]).toEqual([[200, 200], stored]);
    await expectAlive();
  });

  test("the same at a server that ends a login whose refresh token is used twice: this is the one moment in which a login is lost", async () => {
    const { as, first, next, goOn, statuses } = await stopped("after", { lease });
    expect(await next.tokens()).toEqual({ login_required: 1 });
    await goOn();
    await first.dispose();
    expect([statuses(), as.liveLogins]).toEqual([[200, 400], 0]);
  });
});

describe("Redis is killed in the middle of a refresh, and comes back", () => {
  test.each([
    ["before the lease is over", 60_000, 0],
    ["after it is over", lease, lease + 1000],
  ])("%s: the new token is used from memory and stored later; nobody sends the old one", async (_when, length, awayMs) => {
    const { server, as, redis, statuses, record, expectAlive } = await fleet();
    const [first, other] = [await startMachine(redis, { aheadMs, lease: length }), await startMachine(redis, { aheadMs, lease: length })];
    for (const machine of [first, other]) await machine.open(server.url, ["a"]);
    const answer = gate(() => true, "after");
    as.intercept(when(tokenRequest("refresh_token"), answer.hook, 1));
    const refreshing = first.tokens();
    await answer.reached(1);
    await redis.kill();
    answer.open();
    expect(await refreshing).toEqual({ token: 1 });
    expect(first.events).toContain("tokens.unsaved");
    expect(await other.tokens()).toEqual({ store_failed: 1 });
    await later(awayMs);
    await redis.start();
    expect(await other.tokens()).toEqual({ token: 1 });
    expect(first.events).toContain("tokens.saved");
    expect(await other.token()).toBe(await first.token());
    expect([statuses(), (await record())?.refreshStartedAt]).toEqual([[200], undefined]);
    await expectAlive();
  });
});

test("60 logins expire at once, on two machines: one token request each, none lost", { timeout: 300_000 }, async () => {
  const accounts = Array.from({ length: 60 }, (_, index) => `user-${index}`);
  const { server, as, redis, statuses } = await fleet(accounts);
  const machines = [await startMachine(redis, { aheadMs }), await startMachine(redis, { aheadMs })];
  for (const machine of machines) await machine.open(server.url, accounts);
  expect(await Promise.all(machines.map((machine) => machine.tokens()))).toEqual([{ token: 60 }, { token: 60 }]);
  expect(statuses()).toEqual(accounts.map(() => 200));
  expect(as.liveLogins).toBe(60);
});
