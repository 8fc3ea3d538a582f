import fc from "fast-check";
import { type Counts, counts } from "./counts.ts";
import { schedule } from "./schedule.ts";
import { type PlayOptions, play } from "./stage.ts";

/** Which schedules are played. */
export interface SimulationOptions extends Pick<PlayOptions, "broken" | "only"> {
  runs: number;
  seed: number;
  /** Of one schedule that failed before: only this one is played. */
  path?: string | undefined;
  /** A failing schedule is made as short as it can be. Default `true`. */
  shrink?: boolean;
  /** Told after each schedule. */
  onRun?: ((runs: number, counts: Counts) => void) | undefined;
}

/** What came out. */
export interface SimulationResult {
  runs: number;
  counts: Counts;
  /** The shortest schedule found in which something did not hold, and how to play it again. */
  failure: { error: unknown; report: string } | undefined;
}

/** Plays schedules until one fails or all have been played. */
export async function simulate(options: SimulationOptions): Promise<SimulationResult> {
  const { broken, only, runs, seed, path, shrink = true, onRun } = options;
  const sum = counts();
  let played = 0;
  const property = fc.asyncProperty(fc.scheduler(), schedule, async (scheduler, script) => {
    await play(scheduler, script, { broken, only, counts: sum });
    onRun?.(++played, sum);
  });
  const details = await fc.check(property, { numRuns: runs, seed, ...(path && { path }), endOnFailure: !shrink || path !== undefined });
  if (!details.failed) return { runs: details.numRuns, counts: sum, failure: undefined };
  const { counterexample, counterexamplePath, errorInstance } = details;
  const report = [
    String(errorInstance),
    "",
    JSON.stringify(counterexample?.[1], undefined, 1),
    "",
    String(counterexample?.[0]),
    "",
    `npm run simulate -- --seed ${seed} --path ${counterexamplePath}`,
  ].join("\n");
  return { runs: details.numRuns, counts: sum, failure: { error: errorInstance, report } };
}
