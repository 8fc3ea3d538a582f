/** Programs in up to three processes that share a token, in schedules that chance finds (`npm run simulate:machine` plays more). */
import { describe, expect, test } from "vitest";
import type { Store } from "../../src/index.ts";
import { Violation } from "../simulation/world.ts";
import type { Invariant } from "./simulated/judge.ts";
import { simulate } from "./simulated/simulate.ts";

/** On a machine that is busy with other tests. */
const limitMs = 180_000;

test(
  "whatever order things happen in: one token request at a time, none without need, and what is healthy works",
  async () => {
    const { failure, counts } = await simulate({ runs: 300, seed: 2027 });
    expect(failure?.report).toBeUndefined();
    // A world in which nothing goes wrong would prove nothing.
    for (const [name, count] of Object.entries(counts)) expect(count, name).toBeGreaterThan(0);
  },
  limitMs,
);

test("a seed decides everything", async () => {
  const [one, other] = [await simulate({ runs: 30, seed: 7 }), await simulate({ runs: 30, seed: 7 })];
  expect(other.counts).toEqual(one.counts);
});

describe("what is broken is found", () => {
  const forgetting = (store: Store, ...prefixes: string[]): Store => ({
    ...store,
    get: async (key) => (prefixes.some((prefix) => key.startsWith(prefix)) ? undefined : store.get(key)),
  });
  const cases: [string, (store: Store) => Store, Invariant][] = [
    [
      "locks that are none",
      (store) => ({ ...store, withLock: (_key, action) => action({ ...store, signal: new AbortController().signal }) }),
      "two at once",
    ],
    ["locks that are never free", (store) => ({ ...store, withLock: () => new Promise(() => {}) }), "never answered"],
    ["a store that forgets tokens", (store) => forgetting(store, "machine/"), "needless request"],
    ["a store that forgets everything", (store) => forgetting(store, "machine/", "servers/", "registrations/"), "sent elsewhere"],
  ];
  test.each(cases)(
    "%s",
    async (_what, broken, only) => {
      const { failure } = await simulate({ runs: 300, seed: 2027, broken, only, shrink: false });
      expect(failure?.error).toBeInstanceOf(Violation);
    },
    limitMs,
  );
});
