/** Locks, one step at a time, in random orders. `LOCK_SCHEDULES` says how many, `LOCK_SEED` which one is the first. */
import { afterAll, expect, test } from "vitest";
import { end, type Plan, runSchedule } from "./lock-steps.ts";

const schedules = Number(process.env.LOCK_SCHEDULES ?? 20);
afterAll(end);

test.each<[what: string, plan: Plan, share: number]>([
  ["in any order", { death: 0, trouble: 0 }, 1],
  ["while the table is deleted, emptied or overwritten", { death: 0, trouble: 0.02 }, 1],
  ["while threads die", { death: 0.01, trouble: 0 }, 0.2],
  ["while threads die and the table is deleted, emptied or overwritten", { death: 0.01, trouble: 0.01 }, 0.2],
])("there is one holder at a time, %s", { timeout: 240_000 }, async (_, plan, share) => {
  const first = Number(process.env.LOCK_SEED ?? Date.now() % 1_000_000);
  for (let i = 0; i < schedules * share; i++) expect(await runSchedule(first + i, plan)).toEqual([]);
});
