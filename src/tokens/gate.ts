/** Somebody who waits. */
interface Waiting {
  readonly enter: () => void;
  readonly fail: (reason: unknown) => void;
  /** When the waiting began, in ms since 1970. */
  readonly since: number;
}

/** Lets so many in at a time, first come, first served. */
export class Gate {
  readonly #places: () => number;
  readonly #waiting = new Set<Waiting>();
  #inside = 0;

  /** @param places how many may be inside now. When there are more than before: {@link Gate.open}. */
  constructor(places: () => number) {
    this.#places = places;
  }

  get isEmpty(): boolean {
    return this.#inside === 0 && this.#waiting.size === 0;
  }

  get isAwaited(): boolean {
    return this.#waiting.size > 0;
  }

  /**
   * Waits for a place, which the caller must leave.
   *
   * @param now in ms since 1970
   * @returns whether there was none at first
   * @throws the reason of {@link Gate.refuse}
   */
  async enter(now: number): Promise<boolean> {
    let isInside = false;
    const entered = new Promise<void>((resolve, fail) => {
      const enter = () => {
        isInside = true;
        resolve();
      };
      this.#waiting.add({ enter, fail, since: now });
      this.open();
    });
    const waits = !isInside;
    await entered;
    return waits;
  }

  leave(): void {
    this.#inside--;
    this.open();
  }

  /** Takes a place although there may be none: for somebody who had left it and cannot wait now. */
  comeBack(): void {
    this.#inside++;
  }

  /** Lets in those for whom there are places. */
  open(): void {
    for (const waiting of this.#waiting) {
      if (this.#inside >= this.#places()) return;
      this.#inside++;
      this.#waiting.delete(waiting);
      waiting.enter();
    }
  }

  /** Ends the waiting of those who have waited since then. @param since in ms since 1970 */
  refuse(since: number, reason: unknown): void {
    for (const waiting of this.#waiting) {
      if (waiting.since > since) return;
      this.#waiting.delete(waiting);
      waiting.fail(reason);
    }
  }
}
