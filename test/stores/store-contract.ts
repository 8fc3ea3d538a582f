import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { McpAuthError } from "../../src/errors.ts";
import type { Store } from "../../src/stores/store.ts";

/** How a test gets a store: `open` twice gives two handles on the same records, as two processes have them. */
export interface StoreUnderTest {
  open(): Promise<Store>;
  close?(): Promise<void>;
}

/** The promises of `Store`, tested against any implementation. */
export function storeContract(name: string, create: () => Promise<StoreUnderTest>): void {
  describe(`store contract: ${name}`, () => {
    let subject: StoreUnderTest;
    let store: Store;
    beforeEach(async () => {
      subject = await create();
      store = await subject.open();
    });
    afterEach(() => subject.close?.());

    test("a key that was never set is undefined", async () => {
      expect(await store.get("tokens/a/https://x.example/mcp")).toBeUndefined();
    });

    test.each([
      ["plain", { v: 1, text: "value" }],
      ["nested, null, unicode", { v: 3, a: { b: [1, null, "ü€😀\u0000"] }, c: false }],
      ["large", { v: 1, text: "x".repeat(300_000) }],
    ])("a record comes back as it was set: %s", async (_, record) => {
      await store.set("k/1", record);
      expect(await store.get("k/1")).toEqual(record);
    });

    test("every handle sees what one handle wrote", async () => {
      const other = await subject.open();
      await store.set("k", { v: 1, n: 1 });
      expect(await other.get("k")).toEqual({ v: 1, n: 1 });
      await other.delete("k");
      expect(await store.get("k")).toBeUndefined();
    });

    test("a record that was read is a copy", async () => {
      await store.set("k", { v: 1, list: [1] });
      const copy = (await store.get("k")) as { v: 1; list: number[] };
      copy.list.push(2);
      expect(await store.get("k")).toEqual({ v: 1, list: [1] });
    });

    test("deleting what is not there is no error", async () => {
      await expect(store.delete("nothing")).resolves.toBeUndefined();
    });

    test("keys are found by prefix, whatever characters they hold", async () => {
      for (const key of [
        "tokens/a/https://x.example/mcp?q=%25_",
        "tokens/b/https://x.example",
        "registrations/https://as.example",
        "tokens_",
      ]) {
        await store.set(key, { v: 1 });
      }
      expect((await store.keys("tokens/")).sort()).toEqual(["tokens/a/https://x.example/mcp?q=%25_", "tokens/b/https://x.example"]);
      expect(await store.keys("tokens/%")).toEqual([]);
      expect((await store.keys("")).length).toBe(4);
    });

    test("of ten that take a record, one gets it", async () => {
      await store.set("pending/1", { v: 1 });
      const handles = [store, await subject.open()];
      const taken = await Promise.all(Array.from({ length: 10 }, (_, i) => handles[i % 2]?.take("pending/1")));
      expect(taken.filter(Boolean)).toEqual([{ v: 1 }]);
      expect(await store.get("pending/1")).toBeUndefined();
    });

    test("a lock has one holder at a time, and all that wait get their turn", async () => {
      const handles = [store, await subject.open()];
      let inside = 0;
      let most = 0;
      let sum = 0;
      await Promise.all(
        Array.from({ length: 16 }, (_, i) =>
          handles[i % 2]?.withLock("counter", async (held) => {
            most = Math.max(most, ++inside);
            const record = (await store.get("counter")) as { v: 1; n: number } | undefined;
            await new Promise((resolve) => setImmediate(resolve));
            await held.set("counter", { v: 1, n: (record?.n ?? 0) + 1 });
            inside--;
            sum++;
          }),
        ),
      );
      expect([most, sum]).toEqual([1, 16]);
      expect(await store.get("counter")).toEqual({ v: 1, n: 16 });
    });

    test("locks of different keys do not wait for each other", async () => {
      await store.withLock("a", () => store.withLock("b", async () => {}));
    });

    test("the lock is free again after an action that failed", async () => {
      await expect(store.withLock("k", () => Promise.reject(new Error("mine")))).rejects.toThrow("mine");
      await expect(store.withLock("k", async () => "ran")).resolves.toBe("ran");
    });

    test("waiting is bounded: lock_timeout, and the next in line still gets the lock", async () => {
      const other = await subject.open();
      const { promise: release, resolve: open } = Promise.withResolvers<void>();
      const holding = store.withLock("k", () => release);
      await expect(other.withLock("k", async () => "never", { waitMs: 20 })).rejects.toMatchObject({ code: "lock_timeout" });
      const next = other.withLock("k", async () => "mine");
      open();
      await holding;
      expect(await next).toBe("mine");
    });

    test("waiting ends with the caller's own reason when it aborts", async () => {
      const { promise: release, resolve: open } = Promise.withResolvers<void>();
      const holding = store.withLock("k", () => release);
      const controller = new AbortController();
      const waiting = store.withLock("k", async () => "never", { signal: controller.signal });
      controller.abort(new Error("enough"));
      await expect(waiting).rejects.toThrow("enough");
      open();
      await holding;
      await expect(store.withLock("k", async () => "ran")).resolves.toBe("ran");
    });

    test("writes through a lock that is over are refused: lock_lost", async () => {
      let late: Parameters<Parameters<Store["withLock"]>[1]>[0] | undefined;
      await store.withLock("k", async (held) => {
        late = held;
        await held.set("k", { v: 1, n: 1 });
      });
      const refusal = await late?.set("k", { v: 1, n: 2 }).catch((error: unknown) => error);
      expect(refusal).toBeInstanceOf(McpAuthError);
      expect(refusal).toMatchObject({ code: "lock_lost" });
      expect(await store.get("k")).toEqual({ v: 1, n: 1 });
    });
  });
}
