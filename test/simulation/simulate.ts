import fc from "fast-check";
import { type Counts, counts } from "./counts.ts";
import { schedule } from "./schedule.ts";
import { type PlayOptions, play } from "./stage.ts";
import { Violation } from "./world.ts";

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
  let hasFailed = false;
  const property = fc.asyncProperty(schedule, async (script) => {
    try {
      // What only makes a failing schedule shorter does not count.
      await play(script, { broken, only, counts: hasFailed ? undefined : sum });
    } catch (error) {
      hasFailed = true;
      throw error;
    }
    if (!hasFailed) onRun?.(++played, sum);
  });
  const details = await fc.check(property, { numRuns: runs, seed, ...(path && { path }), endOnFailure: !shrink || path !== undefined });
  if (!details.failed) return { runs: details.numRuns, counts: sum, failure: undefined };
  const { counterexample, counterexamplePath, errorInstance } = details;
  const steps = errorInstance instanceof Violation ? errorInstance.steps : [];
  const again = `npm run simulate -- --seed ${seed} --path ${counterexamplePath}`;
  const report = [JSON.stringify(counterexample?.[0], undefined, 1), steps.join("\n"), errorInstance, again].join("\n\n");
  return { runs: details.numRuns, counts: sum, failure: { error: errorInstance, report } };
}
