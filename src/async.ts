import type { Clock } from "./clock.ts";

/** A time limit. */
export interface Deadline {
  /** Aborts with the reason when the time is over, or as the outer signal does. */
  signal: AbortSignal;
  /** The limit does not count any more. */
  stop(): void;
}

/** Limits work to `ms` milliseconds, and to what `outer` allows. Keeps no process alive. */
export function deadline(clock: Clock, ms: number, reason: () => unknown, outer?: AbortSignal): Deadline {
  const over = new AbortController();
  const stopped = new AbortController();
  clock.sleep(ms, { signal: stopped.signal, background: true }).then(
    () => over.abort(reason()),
    () => {},
  );
  return { signal: outer ? AbortSignal.any([outer, over.signal]) : over.signal, stop: () => stopped.abort() };
}

/** `promise`, or a rejection with the signal's reason as soon as it aborts. The promise itself goes on. */
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
