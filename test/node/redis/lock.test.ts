/** Locks in Redis: one holder at a time, and a holder that others have followed writes nothing. */
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { failure } from "../../storm/support.ts";
import { hold } from "./hold.ts";
import { broken, nameOf, openStore, type RedisServer, startRedis, startRedisCluster, watchedStore } from "./support.ts";

const lease = 1000;
const code = "lock_lost";
const later = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

let server: RedisServer;
beforeAll(async () => {
  server = await startRedis();
});
beforeEach(async () => {
  await server.command("FLUSHALL");
});

/** As if the lease were over without a release. */
const expire = (key: string) => server.command("HSET", nameOf(key, "lock"), "until", "0", "lease", "0");

describe("a lease", () => {
  test("is renewed as long as the action takes", async () => {
    const [mine, other] = [await openStore(server, { lease }), await openStore(server, { lease })];
    const { held, release } = await hold(mine, "k");
    expect((await failure(other.withLock("k", async () => {}, { lockTimeout: 3 * lease }))).code).toBe("lock_timeout");
    held.check?.();
    expect(held.signal.aborted).toBe(false);
    await release();
    expect(await other.withLock("k", async () => "mine")).toBe("mine");
  });

  test("that is over goes to the next one that asks", async () => {
    const { store, hook } = await watchedStore(server, { lease });
    const { held, release } = await hold(store, "k");
    // A machine that lost its network.
    hook.current = () => Promise.reject(broken());
    const other = await openStore(server, { lease });
    await other.withLock("k", (theirs) => theirs.set("k", { v: 1, n: 2 }));
    expect((await failure((async () => held.check?.())())).code).toBe(code);
    await expect.poll(() => held.signal.aborted).toBe(true);
    hook.current = (_command, send) => send();
    expect((await failure(held.set("k", { v: 1, n: 1 }))).code).toBe(code);
    await release();
    expect(await other.get("k")).toEqual({ v: 1, n: 2 });
  });

  test("that is over is held on where nobody wanted it: what a paused holder has is not lost", async () => {
    const store = await openStore(server, { lease: 60_000 });
    const { held, release } = await hold(store, "k");
    await expire("k");
    await held.set("k", { v: 1, n: 1 });
    const other = await openStore(server, { lease });
    expect((await failure(other.withLock("k", async () => {}, { lockTimeout: 100 }))).code).toBe("lock_timeout");
    await release();
    expect(await other.get("k")).toEqual({ v: 1, n: 1 });
  });

  test("that Redis cannot confirm is over here when it is over there, and goes on when it is confirmed again", async () => {
    const { store, hook } = await watchedStore(server, { lease });
    const { held, release } = await hold(store, "k");
    hook.current = () => Promise.reject(broken());
    await later(lease);
    expect(() => held.check?.()).toThrow(/its lease is over/);
    hook.current = (_command, send) => send();
    await held.set("k", { v: 1, n: 1 });
    held.check?.();
    await release();
    expect(() => held.check?.()).toThrow(/it was released/);
  });
});

describe("a holder that another has followed", () => {
  test.each(["set", "delete"] as const)("gets lock_lost from `%s`, and its signal aborts", async (write) => {
    const [mine, other] = [await openStore(server, { lease: 60_000 }), await openStore(server)];
    await mine.set("k", { v: 1, n: 0 });
    const { held, release } = await hold(mine, "k");
    await expire("k");
    await other.withLock("k", (theirs) => theirs.set("k", { v: 1, n: 2 }));
    const error = await failure(write === "set" ? held.set("k", { v: 1, n: 1 }) : held.delete("k"));
    expect([error.code, error.transient, held.signal.aborted]).toEqual([code, true, true]);
    expect(() => held.check?.()).toThrow(/another holds it/);
    await release();
    expect(await other.get("k")).toEqual({ v: 1, n: 2 });
  });

  test("does not release the other's lock", async () => {
    const [mine, other] = [await openStore(server, { lease: 60_000 }), await openStore(server)];
    const first = await hold(mine, "k");
    await expire("k");
    const second = await hold(other, "k");
    await first.release();
    expect((await failure(mine.withLock("k", async () => {}, { lockTimeout: 100 }))).code).toBe("lock_timeout");
    await second.release();
  });

  test("learns it by its next renewal", async () => {
    const [mine, other] = [await openStore(server, { lease }), await openStore(server)];
    const first = await hold(mine, "k");
    await expire("k");
    const second = await hold(other, "k");
    await expect.poll(() => first.held.signal.aborted).toBe(true);
    await Promise.all([first.release(), second.release()]);
  });

  test("cannot write when Redis was emptied, whoever holds the lock now", async () => {
    const store = await openStore(server, { lease: 60_000 });
    const { held, release } = await hold(store, "k");
    await server.command("FLUSHALL");
    expect((await failure(held.set("k", { v: 1 }))).code).toBe(code);
    const other = await hold(await openStore(server), "k");
    expect((await failure(held.set("k", { v: 1 }))).code).toBe(code);
    await Promise.all([release(), other.release()]);
  });
});

describe("a record in another slot than the lock", () => {
  test.each(["one server", "a cluster"])("is written under the lock, and not when another has followed: %s", async (on) => {
    const servers = on === "a cluster" ? await startRedisCluster() : [server];
    const kind = on === "a cluster" ? "node-redis, cluster" : "node-redis";
    const [mine, other] = [await openStore(servers, { lease }, kind), await openStore(servers, { lease }, kind)];
    const names = Array.from({ length: 9 }, (_, index) => `elsewhere/${index}`);
    const { held, release } = await hold(mine, "k");
    for (const name of names) await held.set(name, { v: 1, n: 1 });
    for (const name of names) await held.delete(name);
    expect(await mine.keys("")).toEqual([]);
    await Promise.all(servers.map((one) => one.command("DEL", nameOf("k", "lock")).catch(() => {})));
    await other.withLock("k", async (theirs) => {
      for (const name of names) await theirs.set(name, { v: 1, n: 2 });
    });
    for (const name of names) expect((await failure(held.set(name, { v: 1, n: 1 }))).code).toBe(code);
    await release();
    for (const name of names) expect(await other.get(name)).toEqual({ v: 1, n: 2 });
  });

  test("is not written by a holder that is overtaken between the look at its lock and its write", async () => {
    const { store, hook } = await watchedStore(server, { lease: 60_000 });
    const other = await openStore(server);
    const { held, release } = await hold(store, "k");
    hook.current = async (command, send) => {
      if (command.includes(nameOf("elsewhere", "record"))) {
        await expire("k");
        await other.withLock("k", (theirs) => theirs.set("elsewhere", { v: 1, n: 2 }));
      }
      return send();
    };
    expect((await failure(held.set("elsewhere", { v: 1, n: 1 }))).code).toBe(code);
    await release();
    expect(await other.get("elsewhere")).toEqual({ v: 1, n: 2 });
  });
});

describe("a connection that breaks", () => {
  /** The answer to the first command that touches this name is lost; the command itself was executed. */
  const losing = (name: string): { current: (command: readonly string[], send: () => Promise<unknown>) => Promise<unknown> } => {
    let isLost = false;
    return {
      current: async (command, send) => {
        const answer = await send();
        if (isLost || !command.includes(name)) return answer;
        isLost = true;
        throw broken();
      },
    };
  };

  test("after the lock was acquired: it is acquired again by the same holder", async () => {
    const { store, hook } = await watchedStore(server);
    hook.current = losing(nameOf("k", "lock")).current;
    expect(await store.withLock("k", async (held) => held.set("k", { v: 1 }))).toBeUndefined();
    expect(await store.withLock("k", async () => "free", { lockTimeout: 50 })).toBe("free");
  });

  test("after a write under the lock: it is done once, and no failure", async () => {
    const { store, hook } = await watchedStore(server);
    await store.withLock("k", async (held) => {
      hook.current = losing(nameOf("k", "record")).current;
      await held.set("k", { v: 1, n: 1 });
    });
    expect(await store.get("k")).toEqual({ v: 1, n: 1 });
  });

  test.each(["set", "delete", "take"] as const)("after `%s` without a lock: it may have been done, and is not done again", async (what) => {
    const { store, hook } = await watchedStore(server);
    await store.set("k", { v: 1 });
    let evals = 0;
    hook.current = async (command, send) => {
      const answer = await send();
      if (command[0] !== "EVAL") return answer;
      evals++;
      throw broken();
    };
    const error = await failure(what === "set" ? store.set("k", { v: 1 }) : store[what]("k"));
    expect([error.code, error.transient, evals]).toEqual(["store_failed", true, 1]);
  });

  test("a write that was given up comes late: it does not replace a later one of the same holder", async () => {
    const { store, hook } = await watchedStore(server, { commandTimeout: 100 });
    const late: (() => Promise<unknown>)[] = [];
    await store.withLock("k", async (held) => {
      hook.current = (_command, send) => {
        late.push(send);
        return new Promise(() => {});
      };
      expect((await failure(held.set("k", { v: 1, n: 1 }))).code).toBe("store_failed");
      hook.current = (_command, send) => send();
      await held.set("k", { v: 1, n: 2 });
      expect(late).toHaveLength(1);
      for (const arrive of late) await arrive();
      expect(await store.get("k")).toEqual({ v: 1, n: 2 });
    });
  });

  test("while the lock is released: the action has succeeded, and the lock is free before its lease is over", async () => {
    const { store, hook } = await watchedStore(server, { commandTimeout: 100 });
    const other = await openStore(server);
    expect(
      await store.withLock("k", async () => {
        hook.current = () => Promise.reject(broken());
        return "done";
      }),
    ).toBe("done");
    hook.current = (_command, send) => send();
    expect(await other.withLock("k", async () => "mine", { lockTimeout: 10_000 })).toBe("mine");
  });

  test("while a lock is wanted: the error says so, and what was perhaps acquired is released", async () => {
    const { store, hook } = await watchedStore(server, { commandTimeout: 100 });
    hook.current = async (command, send) => {
      if (command.includes(nameOf("k", "lock"))) await send();
      throw broken();
    };
    const error = await failure(store.withLock("k", async () => expect.fail("it runs")));
    expect([error.code, error.transient, error.hint]).toEqual(["store_failed", true, expect.stringContaining("Check that Redis runs")]);
    hook.current = (_command, send) => send();
    expect(await (await openStore(server)).withLock("k", async () => "mine", { lockTimeout: 10_000 })).toBe("mine");
  });
});

describe("Redis is killed and started again", () => {
  const restart = async (redis: RedisServer, awayMs: number) => {
    await redis.kill();
    await later(awayMs);
    await redis.start();
  };

  test("for longer than the lease: the holder gets its lock back before others, and writes", async () => {
    const redis = await startRedis();
    const [{ store, hook }, other] = [await watchedStore(redis, { lease: 3000 }), await openStore(redis, { lease: 3000 })];
    const { held, release } = await hold(store, "k");
    // Its client connects later than the other's.
    hook.current = () => Promise.reject(broken());
    await restart(redis, 3500);
    const waiting = other.withLock("k", async () => (await other.get("k"))?.n, { lockTimeout: 30_000 });
    await later(500);
    hook.current = (_command, send) => send();
    await held.set("k", { v: 1, n: 1 });
    await release();
    expect(await waiting).toBe(1);
  });

  test("and its holder died meanwhile: the next one gets the lock one lease later", async () => {
    const redis = await startRedis();
    const { store, hook } = await watchedStore(redis, { lease: 3000 });
    const { release } = await hold(store, "k");
    hook.current = () => Promise.reject(broken());
    const other = await openStore(redis);
    await restart(redis, 3500);
    expect((await failure(other.withLock("k", async () => "mine", { lockTimeout: 500 }))).code).toBe("lock_timeout");
    expect(await other.withLock("k", async () => "mine", { lockTimeout: 30_000 })).toBe("mine");
    await release();
  });
});

test("locks that nobody holds do not stay for ever", async () => {
  const store = await openStore(server);
  await store.withLock("k", async (held) => {
    await held.set("elsewhere", { v: 1 });
    expect(await server.command("PTTL", nameOf("k", "lock"))).toBe(-1);
  });
  await store.delete("elsewhere");
  const names = (await server.command("KEYS", "*")) as string[];
  expect(names).toHaveLength(2);
  for (const name of names) expect(Number(await server.command("PTTL", name))).toBeGreaterThan(0);
});
