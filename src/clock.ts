/** Time, replaceable in tests and simulations. */
export interface Clock {
  /** Milliseconds since 1970. May jump in both directions. */
  now(): number;
  /** Resolves after `ms` milliseconds; rejects with `signal.reason` when aborted. `background` does not keep a process alive. */
  sleep(ms: number, options?: { signal?: AbortSignal | undefined; background?: boolean }): Promise<void>;
}

/** Time as the machine has it. */
export const systemClock: Clock = {
  now: () => Date.now(),
  sleep: (ms, { signal, background = false } = {}) =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const abort = () => {
        clearTimeout(timer);
        reject(signal?.reason);
      };
      const wake = () => {
        signal?.removeEventListener("abort", abort);
        resolve();
      };
      // A process that was stopped finds its time limits over when it goes on: what has arrived meanwhile comes first.
      const due = () => {
        timer = setTimeout(wake);
      };
      // Timers hold at most 2^31-1 ms; whoever sleeps so long asks the clock again on waking.
      let timer = setTimeout(background ? due : wake, Math.min(ms, 2 ** 31 - 1));
      // Node's timers keep a process alive, browsers' are numbers.
      if (background) (timer as unknown as { unref?(): void }).unref?.();
      signal?.addEventListener("abort", abort, { once: true });
    }),
};

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
