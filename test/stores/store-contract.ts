import assert from "node:assert/strict";
import { type HeldLock, McpAuthError, type Store } from "../../src/index.ts";

/** How a test gets a store: `open` twice gives two handles on the same records, as two processes have them. */
export interface StoreUnderTest {
  open(): Promise<Store>;
  close?(): Promise<void>;
}

/** One promise of `Store`. Needs no test runner, so that several processes can check it at once on one store. */
type Promised = [promise: string, check: (store: Store, open: () => Promise<Store>) => Promise<void>];

const code = (expected: string) => (error: unknown) => error instanceof McpAuthError && error.code === expected;

/** Takes the lock `k`; what it returns frees it. */
async function hold(store: Store): Promise<() => Promise<void>> {
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  const { promise: entered, resolve: enter } = Promise.withResolvers<void>();
  const holding = store.withLock("k", () => {
    enter();
    return released;
  });
  await entered;
  return () => {
    release();
    return holding;
  };
}

const records: [string, { v: number; [member: string]: unknown }][] = [
  ["plain", { v: 1, text: "value" }],
  ["nested, null, unicode", { v: 3, a: { b: [1, null, "ü€😀\u0000"] }, c: false }],
  ["large", { v: 1, text: "x".repeat(300_000) }],
];

/** The promises of `Store`, for any implementation. Each is checked on a store whose keys are its own. */
export const contract: readonly Promised[] = [
  [
    "a key that was never set is undefined",
    async (store) => {
      assert.equal(await store.get("tokens/a/https://x.example/mcp"), undefined);
    },
  ],
  ...records.map(
    ([name, record]): Promised => [
      `a record comes back as it was set: ${name}`,
      async (store) => {
        await store.set("k/1", record);
        assert.deepEqual(await store.get("k/1"), record);
      },
    ],
  ),
  [
    "a record is replaced as a whole, by a larger and by a smaller one",
    async (store) => {
      for (const text of ["x".repeat(9000), "short", "y".repeat(5000)]) {
        await store.set("k", { v: 1, text, [`only-${text.length}`]: true });
        assert.deepEqual(await store.get("k"), { v: 1, text, [`only-${text.length}`]: true });
      }
      assert.deepEqual(await store.keys(""), ["k"]);
    },
  ],
  [
    "every handle sees what one handle wrote",
    async (store, open) => {
      const other = await open();
      await store.set("k", { v: 1, n: 1 });
      assert.deepEqual(await other.get("k"), { v: 1, n: 1 });
      await store.set("k", { v: 1, n: 2 });
      assert.deepEqual(await other.get("k"), { v: 1, n: 2 });
      await other.delete("k");
      assert.equal(await store.get("k"), undefined);
    },
  ],
  [
    "a record that was read is a copy",
    async (store) => {
      await store.set("k", { v: 1, list: [1] });
      const copy = (await store.get("k")) as { v: 1; list: number[] };
      copy.list.push(2);
      assert.deepEqual(await store.get("k"), { v: 1, list: [1] });
    },
  ],
  ["deleting what is not there is no error", (store) => store.delete("nothing")],
  [
    "keys are found by prefix, whatever characters they hold",
    async (store) => {
      const keys = ["tokens/a/https://x.example/mcp?q=%25_", "tokens/b/https://x.example", "registrations/https://as.example", "tokens_"];
      for (const key of keys) await store.set(key, { v: 1 });
      assert.deepEqual((await store.keys("tokens/")).sort(), keys.slice(0, 2));
      assert.deepEqual(await store.keys("tokens/%"), []);
      assert.equal((await store.keys("")).length, 4);
    },
  ],
  [
    "of ten that take a record, one gets it",
    async (store, open) => {
      await store.set("pending/1", { v: 1 });
      const handles = [store, await open()];
      const taken = await Promise.all(Array.from({ length: 10 }, (_, i) => handles[i % 2]?.take("pending/1")));
      assert.deepEqual(taken.filter(Boolean), [{ v: 1 }]);
      assert.equal(await store.get("pending/1"), undefined);
    },
  ],
  [
    "a lock has one holder at a time, and all that wait get their turn",
    async (store, open) => {
      const handles = [store, await open()];
      let inside = 0;
      let most = 0;
      const turn = async (held: HeldLock) => {
        most = Math.max(most, ++inside);
        const record = (await store.get("counter")) as { v: 1; n: number } | undefined;
        await new Promise((resolve) => setImmediate(resolve));
        await held.set("counter", { v: 1, n: (record?.n ?? 0) + 1 });
        inside--;
      };
      await Promise.all(Array.from({ length: 16 }, (_, i) => handles[i % 2]?.withLock("counter", turn)));
      assert.equal(most, 1);
      assert.deepEqual(await store.get("counter"), { v: 1, n: 16 });
    },
  ],
  ["locks of different keys do not wait for each other", (store) => store.withLock("a", () => store.withLock("b", async () => {}))],
  [
    "the lock is free again after an action that failed",
    async (store) => {
      const mine = new Error("mine");
      await assert.rejects(
        store.withLock("k", () => Promise.reject(mine)),
        mine,
      );
      assert.equal(await store.withLock("k", async () => "ran"), "ran");
    },
  ],
  [
    "waiting is bounded: lock_timeout, and the next in line still gets the lock",
    async (store, open) => {
      const other = await open();
      const release = await hold(store);
      await assert.rejects(
        other.withLock("k", async () => "never", { lockTimeout: 20 }),
        code("lock_timeout"),
      );
      const next = other.withLock("k", async () => "mine");
      await release();
      assert.equal(await next, "mine");
    },
  ],
  [
    "waiting ends with the caller's own reason when it aborts",
    async (store, open) => {
      const release = await hold(store);
      for (const handle of [store, await open()]) {
        const enough = new Error("enough");
        const controller = new AbortController();
        const waiting = handle.withLock("k", async () => "never", { signal: controller.signal });
        controller.abort(enough);
        await assert.rejects(waiting, enough);
        await assert.rejects(
          handle.withLock("k", async () => "never", { signal: AbortSignal.abort(enough) }),
          enough,
        );
      }
      await release();
      assert.equal(await store.withLock("k", async () => "ran"), "ran");
    },
  ],
  [
    "writes through a lock that is over are refused: lock_lost",
    async (store) => {
      let late: HeldLock | undefined;
      await store.withLock("k", async (held) => {
        late = held;
        await held.set("k", { v: 1, n: 1 });
      });
      await assert.rejects(async () => late?.set("k", { v: 1, n: 2 }), code("lock_lost"));
      await assert.rejects(async () => late?.delete("k"), code("lock_lost"));
      // A store whose locks cannot be lost has nothing to check.
      if (late?.check) assert.throws(late.check, code("lock_lost"));
      assert.deepEqual(await store.get("k"), { v: 1, n: 1 });
    },
  ],
];

/** The part of a store below a prefix, as a store of its own: several can check the contract on one store at once. */
export function below(store: Store, prefix: string): Store {
  return {
    get: (key) => store.get(prefix + key),
    set: (key, value) => store.set(prefix + key, value),
    delete: (key) => store.delete(prefix + key),
    take: (key) => store.take(prefix + key),
    keys: async (start) => (await store.keys(prefix + start)).map((key) => key.slice(prefix.length)),
    withLock: (key, action, options) =>
      store.withLock(
        prefix + key,
        (held) => action({ signal: held.signal, set: (k, v) => held.set(prefix + k, v), delete: (k) => held.delete(prefix + k) }),
        options,
      ),
  };
}
