/** Lets the event loop do everything else that is ready. */
export function eventLoop(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Spreads much work that is asked for at once, in portions between which the event loop goes on. First come, first served. */
export class Portions {
  readonly #size: number;
  readonly #waiting: (() => void)[] = [];
  #left: number;
  #isCounting = false;

  /** @param size how many may begin before the event loop goes on */
  constructor(size: number) {
    this.#size = size;
    this.#left = size;
  }

  /** `undefined`: begin now. */
  next(): Promise<void> | undefined {
    if (!this.#isCounting) {
      this.#isCounting = true;
      setImmediate(this.#begin);
    }
    if (this.#left > 0) {
      this.#left--;
      return undefined;
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  readonly #begin = (): void => {
    const now = this.#waiting.splice(0, this.#size);
    this.#left = this.#size - now.length;
    this.#isCounting = now.length > 0;
    if (this.#isCounting) setImmediate(this.#begin);
    for (const resolve of now) resolve();
  };
}
