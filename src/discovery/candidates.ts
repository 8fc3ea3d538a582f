import { abortable, finished } from "../async.ts";
import type { Clock } from "../clock.ts";
import { isTransient } from "../errors.ts";

/** Something that was found, and how long it may be kept. */
export interface Found<T> {
  value: T;
  /** Nothing of higher priority was left out because it was slow or failing for the moment. */
  cacheable: boolean;
  /** What the server says, in milliseconds. */
  maxAgeMs: number | undefined;
}

/** How long a candidate of higher priority is waited for once a lower one is valid, in milliseconds. */
const patienceMs = 2000;
const nothing = (): readonly [] => [];

/** How candidates are run. */
export interface Race {
  clock: Clock;
  signal?: AbortSignal | undefined;
  /** How many run at a time. Default: all. */
  atOnce?: number | undefined;
}

/**
 * Runs candidates at once; the first by *priority* wins, whichever comes first in time. Those that are not needed any
 * more are aborted.
 *
 * @param candidates by falling priority
 * @param none is given each candidate's reason, by priority, when none is left: throws, or returns what counts instead
 * @throws what `none` throws; `signal.reason`
 */
export async function firstByPriority<T, None>(
  candidates: readonly ((signal: AbortSignal) => Promise<Found<T>>)[],
  { clock, signal, atOnce = candidates.length }: Race,
  none: (reasons: readonly unknown[]) => None,
): Promise<Found<T> | None> {
  const end = new AbortController();
  const whileNeeded = signal ? AbortSignal.any([signal, end.signal]) : end.signal;
  const waiting: (() => void)[] = [];
  const run = async (candidate: (typeof candidates)[number], index: number) => {
    if (index >= atOnce) await new Promise<void>((resolve) => waiting.push(resolve));
    try {
      whileNeeded.throwIfAborted();
      return { index, found: await candidate(whileNeeded) };
    } catch (error) {
      // Only what fails makes place: after a success no further candidate is needed.
      waiting.shift()?.();
      throw error;
    }
  };
  const running = candidates.map(run);
  const outcomes = running.map((candidate) => Promise.allSettled([candidate]));
  try {
    const { index, found } = await abortable(Promise.any(running), signal);
    let certain = true;
    let patience: Promise<readonly []> | undefined;
    for (const higher of outcomes.slice(0, index)) {
      patience ??= clock.sleep(patienceMs, { signal: whileNeeded, limit: true }).then(nothing, nothing);
      const [outcome] = await Promise.race([higher, patience]);
      signal?.throwIfAborted();
      if (outcome?.status === "fulfilled") return { ...outcome.value.found, cacheable: outcome.value.found.cacheable && certain };
      certain &&= outcome !== undefined && !isTransient(outcome.reason);
    }
    return { ...found, cacheable: found.cacheable && certain };
  } catch (error) {
    if (!(error instanceof AggregateError)) throw error;
    return none(error.errors);
  } finally {
    end.abort(finished);
  }
}
