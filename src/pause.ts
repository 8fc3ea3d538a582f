import type { Clock } from "./clock.ts";

/** Whether `now` lies in the `ms` milliseconds after `since`. Never before it: a clock that was put back makes nothing last longer. */
export function isWithin(since: number, ms: number, now: number): boolean {
  return now >= since && now < since + ms;
}

/** Something that holds for a while, such as a refusal: until it is over, what led to it is not tried again. */
export class Pause<T> {
  readonly #clock: Clock;
  #current: { reason: T; since: number; ms: number } | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** What the pause is for; `undefined` when there is none, or it is over. */
  get reason(): T | undefined {
    const current = this.#current;
    return current && isWithin(current.since, current.ms, this.#clock.now()) ? current.reason : undefined;
  }

  /** Milliseconds until it is over; 0 when there is none. */
  get leftMs(): number {
    const current = this.#current;
    const now = this.#clock.now();
    return current && isWithin(current.since, current.ms, now) ? current.since + current.ms - now : 0;
  }

  /** Begins, in place of one that runs. @param ms how long it lasts @param since when it began, in ms since 1970 */
  start(reason: T, ms: number, since = this.#clock.now()): void {
    this.#current = { reason, since, ms };
  }

  /** Ends it now. */
  end(): void {
    this.#current = undefined;
  }
}
