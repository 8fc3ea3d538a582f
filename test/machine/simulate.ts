/**
 * Plays many schedules of programs that share a token: `npm run simulate:machine -- --runs 20000 --seed 1`.
 *
 * A schedule that fails is made as short as it can be and printed, with the command that plays it again
 * (`--seed S --path P`, with `--only` what was given). `--only "asked again"` watches one invariant alone.
 */
import { parseArgs } from "node:util";
import type { Invariant } from "./simulated/judge.ts";
import { simulate } from "./simulated/simulate.ts";

const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "20000" },
    seed: { type: "string", default: "1" },
    path: { type: "string" },
    only: { type: "string" },
  },
});
const runs = Number(values.runs);
const seed = Number(values.seed);
if (!(Number.isInteger(runs) && runs > 0 && Number.isInteger(seed))) throw new Error("`--runs` and `--seed` are whole numbers");

const began = performance.now();
const every = Math.max(1, Math.floor(runs / 10));
console.log(`${values.path ? 1 : runs} schedules, seed ${seed}`);
const result = await simulate({
  runs: values.path ? 1 : runs,
  seed,
  path: values.path,
  only: values.only as Invariant | undefined,
  onRun: (played, { tokens, crashes }) => {
    if (played % every === 0) console.log(`${played} schedules, ${tokens} tokens, ${crashes} crashes`);
  },
});
console.table({ schedules: result.runs, ...result.counts, seconds: Math.round((performance.now() - began) / 1000) });
if (result.failure) {
  console.error(result.failure.report);
  process.exitCode = 1;
}
