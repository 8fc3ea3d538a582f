/** Puts one mutant after the other in use and runs the nearest tests that reach it, until one fails. */
import { basename, dirname } from "node:path";
import type { Outcome } from "./host.ts";
import type { Mutant } from "./mutants.ts";
import type { Reach } from "./reach.ts";
import { Runner } from "./runner.ts";
import { activate, type Scratch } from "./scratch.ts";

export interface Result extends Mutant {
  /** What became of it: `time` when a test did not end in time. */
  noticed: "test" | "time" | "no";
  /** The test that noticed. */
  by?: string | undefined;
  message?: string | undefined;
  /** Tests that reach it, and how many of them were tried at most. */
  reaching: number;
  tried: number;
}

/** Tests of one file, by their full names. */
interface Selection {
  file: string;
  tests: readonly string[];
}

/** What starting a file costs, in ms, beside its tests. */
const startMs = 1000;
/** Slower ones are for `npm test`. */
const slowTestMs = 4000;

/** Numbers of mutants in an order that the seed decides. */
export function shuffled(count: number, seed: number): number[] {
  const numbers = Array.from({ length: count }, (_, index) => index);
  let state = seed >>> 0;
  for (let index = count - 1; index > 0; index--) {
    // Numerical Recipes' generator: good enough to draw a sample.
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const other = Math.floor((state / 2 ** 32) * (index + 1));
    [numbers[index], numbers[other]] = [numbers[other] as number, numbers[index] as number];
  }
  return numbers;
}

/**
 * @param ids numbers of the mutants, in the order in which they are tried
 * @param budgetMs how long the tests for one mutant may take together when nothing fails
 */
export async function* campaign(
  scratch: Scratch,
  reach: readonly Reach[],
  ids: readonly number[],
  budgetMs: number,
): AsyncGenerator<Result> {
  const { folder, mutants } = scratch;
  const runner = new Runner(folder);
  const known = new Map<string, boolean>();

  /** A test that fails without any mutant has noticed nothing. */
  const isReliable = async (file: string, test: string): Promise<boolean> => {
    const name = `${file} > ${test}`;
    let reliable = known.get(name);
    if (reliable === undefined) {
      activate(folder, undefined);
      reliable = (await runner.run({ file, tests: test === file ? undefined : [test] })).failed.length === 0;
      known.set(name, reliable);
    }
    return reliable;
  };

  /** What the tests of one file say of a mutant. */
  const notice = async (id: number, { file, tests }: Selection): Promise<Outcome | undefined> => {
    const usable = tests.filter((test) => known.get(`${file} > ${test}`) !== false);
    if (usable.length === 0 || known.get(`${file} > ${file}`) === false) return undefined;
    activate(folder, id);
    const outcome = await runner.run({ file, tests: usable });
    const [first] = outcome.failed;
    if (first === undefined) return undefined;
    return (await isReliable(file, first)) ? outcome : notice(id, { file, tests: usable });
  };

  try {
    for (const id of ids) {
      const mutant = mutants[id] as Mutant;
      const reaching = reach.reduce((sum, { tests }) => sum + tests.filter((test) => test.ids.includes(id)).length, 0);
      const selections = select(mutant, id, reach, budgetMs);
      const result: Result = { ...mutant, noticed: "no", reaching, tried: selections.reduce((sum, { tests }) => sum + tests.length, 0) };
      for (const selection of selections) {
        const outcome = await notice(id, selection);
        if (!outcome) continue;
        Object.assign(result, {
          noticed: outcome.isTimeout ? "time" : "test",
          by: outcome.failed[0],
          message: outcome.message?.slice(0, 200),
        });
        break;
      }
      yield result;
    }
  } finally {
    runner.dispose();
    activate(folder, undefined);
  }
}

/** The tests that reach a mutant: of the nearest files first, the fastest of each, as far as the budget goes. */
function select(mutant: Mutant, id: number, reach: readonly Reach[], budgetMs: number): Selection[] {
  const candidates = reach
    .map(({ file, tests }) => ({
      file,
      distance: distanceOf(mutant.file, file),
      tests: tests.filter((test) => test.ids.includes(id) && test.ms < slowTestMs).sort((a, b) => a.ms - b.ms),
    }))
    .filter(({ tests }) => tests.length > 0)
    .sort((a, b) => a.distance - b.distance || meanMs(a.tests) - meanMs(b.tests));
  const selections: Selection[] = [];
  let leftMs = budgetMs;
  for (const { file, tests } of candidates) {
    if (leftMs < startMs) break;
    leftMs -= startMs;
    // No file takes all of it: another one looks from another side.
    let shareMs = Math.max(leftMs / 2, 500);
    const names: string[] = [];
    for (const { name, ms } of tests) {
      if (ms > shareMs && names.length > 0) break;
      shareMs -= ms;
      leftMs -= ms;
      names.push(name);
    }
    selections.push({ file, tests: names });
  }
  return selections;
}

/** 0 for the file's own tests, 1 for those of its folder, 2 for all others. */
function distanceOf(source: string, test: string): number {
  const [sourceFolder, testFolder] = [dirname(source).replace(/^src/, ""), dirname(test).replace(/^test/, "")];
  if (sourceFolder !== testFolder) return 2;
  return basename(source, ".ts") === basename(test, ".test.ts") ? 0 : 1;
}

function meanMs(tests: readonly { ms: number }[]): number {
  return tests.reduce((sum, { ms }) => sum + ms, 0) / tests.length;
}
