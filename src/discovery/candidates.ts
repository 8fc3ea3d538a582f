import type { Clock } from "../clock.ts";
import { McpAuthError } from "../errors.ts";

/** The best of several candidates. */
export interface Choice<T> {
  value: T;
  /** No candidate of higher priority was left out because it was slow or failing for the moment. */
  certain: boolean;
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
  candidates: readonly ((signal: AbortSignal) => Promise<T>)[],
  { clock, signal }: { clock: Clock; signal?: AbortSignal | undefined },
): Promise<Choice<T>> {
  signal?.throwIfAborted();
  const end = new AbortController();
  const whileNeeded = signal ? AbortSignal.any([signal, end.signal]) : end.signal;
  const outcomes: (PromiseSettledResult<T> | undefined)[] = candidates.map(() => undefined);
  let impatient = false;

  try {
    return await new Promise<Choice<T>>((resolve, reject) => {
      const decide = () => {
        if (signal?.aborted) return reject(signal.reason);
        const best = outcomes.findIndex((outcome) => (outcome ? outcome.status === "fulfilled" : !impatient));
        const outcome = outcomes[best];
        if (outcome?.status === "fulfilled") {
          resolve({ value: outcome.value, certain: outcomes.slice(0, best).every((higher) => higher && !isPassing(reasonOf(higher))) });
        } else if (best === -1) {
          reject(new AggregateError(outcomes.map(reasonOf), `none of ${candidates.length} places has valid metadata`));
        } else if (outcomes.some((lower) => lower?.status === "fulfilled")) {
          clock.sleep(patienceMs, { signal: whileNeeded }).then(
            () => {
              impatient = true;
              decide();
            },
            () => {},
          );
        }
      };
      candidates.forEach(async (candidate, index) => {
        [outcomes[index]] = await Promise.allSettled([candidate(whileNeeded)]);
        decide();
      });
    });
  } finally {
    end.abort();
  }
}

/** A failure that may be gone with the next try. */
export function isPassing(reason: unknown): boolean {
  return reason instanceof McpAuthError && reason.passing;
}

function reasonOf(outcome: PromiseSettledResult<unknown> | undefined): unknown {
  return outcome?.status === "rejected" ? outcome.reason : undefined;
}
