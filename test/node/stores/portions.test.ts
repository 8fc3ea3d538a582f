/** Much work that is asked for at once lets the event loop go on. */
import { expect, test } from "vitest";
import { Portions } from "../../../src/node/stores/portions.ts";

/** Which pieces have begun, after each round of the event loop. */
async function rounds(portions: Portions, count: number, rounds: number): Promise<string[]> {
  const begun: number[] = [];
  const seen: string[] = [];
  for (let n = 0; n < count; n++) {
    const later = portions.next();
    if (later) void later.then(() => begun.push(n));
    else begun.push(n);
  }
  for (let round = 0; round < rounds; round++) {
    seen.push(begun.join());
    begun.length = 0;
    await new Promise((resolve) => setImmediate(resolve));
  }
  return seen;
}

test("a few begin at once", async () => {
  expect(await rounds(new Portions(3), 3, 2)).toEqual(["0,1,2", ""]);
});

test("many begin in portions, first come, first served", async () => {
  expect(await rounds(new Portions(3), 8, 4)).toEqual(["0,1,2", "3,4,5", "6,7", ""]);
});

test("who comes while others wait does not overtake them, and a portion is never more than it may be", async () => {
  const portions = new Portions(2);
  const begun: string[] = [];
  const ask = async (name: string) => {
    await portions.next();
    begun.push(name);
  };
  const first = ["a", "b", "c", "d", "e"].map(ask);
  await new Promise((resolve) => setImmediate(resolve));
  const late = ask("late");
  await Promise.all([...first, late]);
  expect(begun).toEqual(["a", "b", "c", "d", "e", "late"]);
});

test("after a pause they begin at once again", async () => {
  const portions = new Portions(2);
  await rounds(portions, 5, 5);
  expect(await rounds(portions, 2, 1)).toEqual(["0,1"]);
});
