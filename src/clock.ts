/** How a clock sleeps. */
export interface SleepOptions {
  /** Ends the sleep; its reason is thrown. */
  signal?: AbortSignal | undefined;
  /** Keeps no process alive. */
  background?: boolean | undefined;
  /**
   * For a time limit: time in which the program could not run (a blocked event loop, a stopped process, a machine that slept) does
   * not count, so that what arrived meanwhile is read first.
   */
  limit?: boolean | undefined;
}

/** Time, replaceable in tests and simulations. */
export interface Clock {
  /** Milliseconds since 1970. May jump in both directions. */
  now(): number;
  /** Resolves after `ms` milliseconds; rejects with `signal.reason` when aborted. */
  sleep(ms: number, options?: SleepOptions): Promise<void>;
}

/** The longest time that a limit counts without a look at the event loop, in ms. */
const sliceMs = 1000;
/** A timer that is later than this was kept from running, in ms. */
const lateMs = 100;
/** So many slices may be added where the last one was late: an event loop that is always busy must not put off a limit for ever. */
const mostAdded = 10;

/** Time as the machine has it. */
export const systemClock: Clock = {
  now: () => Date.now(),
  sleep: (ms, { signal, background = false, limit = false } = {}) =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      let timer: ReturnType<typeof setTimeout>;
      const wait = (duration: number, then: () => void) => {
        timer = setTimeout(then, duration);
        // Node's timers keep a process alive, browsers' are numbers.
        if (background) (timer as unknown as { unref?(): void }).unref?.();
      };
      const abort = () => {
        clearTimeout(timer);
        reject(signal?.reason);
      };
      const wake = () => {
        signal?.removeEventListener("abort", abort);
        resolve();
      };
      if (limit) countSlices(ms, wait, wake);
      // Timers hold at most 2^31-1 ms. A caller that sleeps longer looks at the clock again when it wakes.
      else wait(Math.min(ms, 2 ** 31 - 1), wake);
      signal?.addEventListener("abort", abort, { once: true });
    }),
};

/** Waits in slices that each count as long as they were meant to be. The last one must be on time: then the event loop runs again. */
function countSlices(ms: number, wait: (duration: number, then: () => void) => void, over: () => void): void {
  let leftMs = ms;
  let added = 0;
  const next = () => {
    const slice = Math.min(leftMs > 0 ? leftMs : ms, sliceMs);
    const due = Date.now() + slice;
    wait(slice, () => {
      leftMs -= slice;
      const isLate = Date.now() > due + lateMs;
      // One round of the loop more: what arrived together with the timer is read first.
      if (leftMs <= 0 && !(isLate && added++ < mostAdded)) wait(0, over);
      else next();
    });
  };
  next();
}
