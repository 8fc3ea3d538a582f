/** A short version of `npm run chaos`: a process of several is killed at a random moment. */
import { describe, expect, test } from "vitest";
import { chaos, type Kind, type Result } from "./chaos.ts";
import type { WrongStore } from "./wrong-stores.ts";

const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
const upTo = (count: number) => Array.from({ length: count }, (_, i) => i + 1);

test(`after a kill at a random moment the store opens, no lock is stuck, and no login is lost that could be kept (seed ${seed})`, async () => {
  const results: Result[] = [];
  for await (const result of chaos({ seed, runs: upTo(16) })) results.push(result);
  const violations = results
    .filter(({ violations }) => violations.length > 0)
    .map(({ run, kind, moment, server, violations }) => ({
      again: `npm run chaos -- --seed ${seed} --run ${run}`,
      kind,
      moment,
      server,
      violations,
    }));
  expect(violations).toEqual([]);
}, 90_000);

// Shows that each of these would be found.
describe("a store that breaks a promise is found out", () => {
  test.each<[string, WrongStore, Kind, RegExp]>([
    ["locks that hold within a process only", "process-locks", "lock", /two held a lock at once/],
    ["locks that nobody frees", "lock-files", "lock", /lock counter is stuck/],
    ["records that are overwritten in place", "in-place", "write", /cannot be read/],
  ])(
    "%s",
    async (_what, wrongStore, kind, expected) => {
      const found: string[] = [];
      for await (const { violations } of chaos({ seed: 1, runs: upTo(12), kinds: [kind], wrongStore })) {
        found.push(...violations);
        if (expected.test(found.join("\n"))) break;
      }
      expect(found.join("\n")).toMatch(expected);
    },
    180_000,
  );
});
