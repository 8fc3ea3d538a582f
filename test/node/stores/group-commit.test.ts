/** Writes that are asked for at the same time share a transaction, and nothing else. */
import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import { codeOf, McpAuthError } from "../../../src/errors.ts";
import { GroupCommit } from "../../../src/node/stores/group-commit.ts";

/** Commits that take a while, and what each of them held. */
function commits(commit: (works: readonly string[]) => unknown = () => {}) {
  const done: string[][] = [];
  const group = new GroupCommit<string>(async (works) => {
    await commit(works);
    await delay(1);
    done.push([...works]);
    return works.map((work) => `${work} done`);
  });
  return { done, add: (work: string) => group.add<string>(async () => work) };
}

const numbers = (count: number) => Array.from({ length: count }, (_, n) => String(n));
const codes = (outcomes: readonly PromiseSettledResult<string>[]) =>
  outcomes.map((outcome) => (outcome.status === "fulfilled" ? outcome.value : (outcome.reason as Error).message));

test("one alone is committed alone", async () => {
  const { done, add } = commits();
  expect([await add("a"), await add("b"), done]).toEqual(["a done", "b done", [["a"], ["b"]]]);
});

test("what is asked for in one turn is one transaction, in order", async () => {
  const { done, add } = commits();
  expect(await Promise.all(numbers(10).map(add))).toEqual(numbers(10).map((n) => `${n} done`));
  expect(done).toEqual([numbers(10)]);
});

test("what is asked for while another is under way is the next one", async () => {
  const { done, add } = commits();
  const first = add("first");
  await delay(0);
  await Promise.all([first, add("a"), delay(1).then(() => add("b"))]);
  expect(done.flat()).toEqual(["first", "a", "b"]);
  expect(done[0]).toEqual(["first"]);
});

test("a transaction is bounded, and the event loop goes on between two", async () => {
  const { done, add } = commits();
  let turns = 0;
  const turn = setInterval(() => turns++, 0);
  await Promise.all(numbers(300).map(add));
  clearInterval(turn);
  expect(done.map(({ length }) => length)).toEqual([128, 128, 44]);
  expect(turns).toBeGreaterThanOrEqual(2);
});

test("one that cannot be prepared fails alone, and is not tried", async () => {
  const group = new GroupCommit<string>(async (works) => works);
  const outcomes = await Promise.allSettled([
    group.add<string>(async () => "a"),
    group.add<string>(async () => {
      throw new Error("no key");
    }),
    group.add<string>(async () => "c"),
  ]);
  expect(codes(outcomes)).toEqual(["a", "no key", "c"]);
});

test("one that fails the transaction fails alone: each is tried by itself, once", async () => {
  const tried: string[] = [];
  const { done, add } = commits((works) => {
    tried.push(works.join("+"));
    if (works.includes("bad")) throw new Error("too big");
  });
  expect(codes(await Promise.allSettled(["a", "bad", "c"].map(add)))).toEqual(["a done", "too big", "c done"]);
  expect([tried, done]).toEqual([
    ["a+bad+c", "a", "bad", "c"],
    [["a"], ["c"]],
  ]);
});

test("one that fails alone is not tried again", async () => {
  let tries = 0;
  const { add } = commits(() => {
    tries++;
    throw new Error("disk full");
  });
  expect([codes(await Promise.allSettled([add("a")])), tries]).toEqual([["disk full"], 1]);
});

test("that the database had to be set aside is told once; the others are tried by themselves", async () => {
  let isDamaged = true;
  const { add } = commits(() => {
    if (!isDamaged) return;
    isDamaged = false;
    throw new McpAuthError("store_damaged", { detail: "damaged" });
  });
  expect(await Promise.all(["a", "b", "c"].map((work) => add(work).catch(codeOf)))).toEqual(["store_damaged", "b done", "c done"]);
});

test("nothing is committed for those that could not be prepared", async () => {
  let tries = 0;
  const group = new GroupCommit<string>(async (works) => {
    tries++;
    return works;
  });
  await Promise.allSettled([1, 2].map(() => group.add(() => Promise.reject(new Error("no key")))));
  expect(tries).toBe(0);
});

test("who has waited for a database that another process keeps locked does not wait once more", async () => {
  let tries = 0;
  const { add } = commits(async () => {
    tries++;
    await delay(5);
    throw new McpAuthError("lock_timeout", { detail: "records.sqlite" });
  });
  const outcomes = await Promise.allSettled(numbers(300).map(add));
  expect(new Set(outcomes.map((outcome) => (outcome as PromiseRejectedResult).reason.code))).toEqual(new Set(["lock_timeout"]));
  expect(tries).toBe(1);
});

test("after a failure others are committed", async () => {
  let isFull = true;
  const { add } = commits(() => {
    if (isFull) throw new Error("disk full");
  });
  await Promise.allSettled([add("a"), add("b")]);
  isFull = false;
  expect(await add("c")).toBe("c done");
});
