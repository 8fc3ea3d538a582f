import type { Clock } from "../clock.ts";
import { McpAuthError, type McpAuthErrorCode } from "../errors.ts";

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

/**
 * Runs all candidates at once; the first by *priority* wins, whichever answers first. Those that are not needed any
 * more are aborted.
 *
 * @param candidates by falling priority
 * @throws AggregateError with each candidate's reason, by priority, when none is left; `signal.reason`.
 */
export async function firstByPriority<T>(
  candidates: readonly ((signal: AbortSignal) => Promise<Found<T>>)[],
  { clock, signal }: { clock: Clock; signal?: AbortSignal | undefined },
): Promise<Found<T>> {
  const end = new AbortController();
  const whileNeeded = signal ? AbortSignal.any([signal, end.signal]) : end.signal;
  const running = candidates.map((candidate) => candidate(whileNeeded));
  const outcomes = running.map((found) => Promise.allSettled([found]));
  const first = Promise.any(running);
  const impatient = first
    .then(() => clock.sleep(patienceMs, { signal: whileNeeded }))
    .then(
      () => [],
      () => [],
    );
  try {
    let certain = true;
    for (const settled of outcomes) {
      const [outcome] = await Promise.race([settled, impatient]);
      signal?.throwIfAborted();
      if (outcome?.status === "fulfilled") return { ...outcome.value, cacheable: outcome.value.cacheable && certain };
      certain &&= outcome !== undefined && !isPassing(outcome.reason);
    }
    return { ...(await first), cacheable: false };
  } finally {
    end.abort();
  }
}

/** A failure that may be gone with the next try. */
export function isPassing(reason: unknown): boolean {
  return reason instanceof McpAuthError && reason.passing;
}

export function codeOf(error: unknown): McpAuthErrorCode | undefined {
  return error instanceof McpAuthError ? error.code : undefined;
}
