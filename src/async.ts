import type { Clock } from "./clock.ts";

/** Why a signal is aborted whose work is done. An error made for each would cost more than the timers that it ends. */
export const finished = new Error("finished");

/** A time limit. */
export interface Deadline {
  /** Aborts when the time is over, or when the outer signal aborts. */
  signal: AbortSignal;
  /** Ends the time limit. The outer signal still counts. */
  stop(): void;
}

/**
 * A signal that aborts after `ms` milliseconds in which the program could run, or with `outer`. Its timer keeps no process alive.
 */
export function deadline(clock: Clock, ms: number, reason: () => unknown, outer?: AbortSignal): Deadline {
  const over = new AbortController();
  const stopped = new AbortController();
  clock.sleep(ms, { signal: stopped.signal, background: true, limit: true }).then(
    () => over.abort(reason()),
    () => {},
  );
  return { signal: outer ? AbortSignal.any([outer, over.signal]) : over.signal, stop: () => stopped.abort(finished) };
}

/** Waits for `promise` until `signal` aborts, then rejects with its reason. The promise itself goes on. */
export function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort);
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}

/** Runs one thing at a time. Callers that come while it runs share its outcome. */
export class SingleFlight<T> {
  #running: Promise<T> | undefined;

  get running(): Promise<T> | undefined {
    return this.#running;
  }

  run(start: () => Promise<T>): Promise<T> {
    if (!this.#running) {
      const running = start().finally(() => {
        if (this.#running === running) this.#running = undefined;
      });
      // A caller that has stopped waiting does not see a failure: that must not be an unhandled rejection.
      running.catch(() => {});
      this.#running = running;
    }
    return this.#running;
  }
}
