import fc from "fast-check";
import { Violation } from "../../simulation/world.ts";
import { type Counts, counted } from "./judge.ts";
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

/** Plays schedules until one fails or all have been played. */
export async function simulate({ broken, only, runs, seed, path, shrink = true, onRun }: SimulationOptions) {
  const counts = { ...counted };
  let played = 0;
  let failed = false;
  const property = fc.asyncProperty(schedule, async (script) => {
    try {
      // What only makes a failing schedule shorter does not count.
      await play(script, { broken, only, counts: failed ? undefined : counts });
    } catch (error) {
      failed = true;
      throw error;
    }
    if (!failed) onRun?.(++played, counts);
  });
  const details = await fc.check(property, { numRuns: runs, seed, ...(path && { path }), endOnFailure: !shrink || path !== undefined });
  if (!details.failed) return { runs: details.numRuns, counts, failure: undefined };
  const { counterexample, counterexamplePath, errorInstance } = details;
  const steps = errorInstance instanceof Violation ? errorInstance.steps : [];
  const again = `npm run simulate:machine -- --seed ${seed} --path ${counterexamplePath}${only ? ` --only "${only}"` : ""}`;
  const report = [JSON.stringify(counterexample?.[0]), steps.join("\n"), errorInstance, again].join("\n\n");
  return { runs: details.numRuns, counts, failure: { error: errorInstance, report } };
}
