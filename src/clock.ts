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
      // Timers hold at most 2^31-1 ms. A caller that sleeps longer looks at the clock again when it wakes.
      let timer = setTimeout(background ? due : wake, Math.min(ms, 2 ** 31 - 1));
      // Node's timers keep a process alive, browsers' are numbers.
      if (background) (timer as unknown as { unref?(): void }).unref?.();
      signal?.addEventListener("abort", abort, { once: true });
    }),
};
