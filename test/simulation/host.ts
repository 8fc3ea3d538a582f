import type { Clock } from "../../src/index.ts";
import type { Request } from "./wire.ts";
import type { Owner, World } from "./world.ts";

/** A process of the simulation, whatever runs in it: its clock, and what it has begun. */
export class Host implements Owner {
  readonly name: string;
  alive = true;
  heldUp: (() => void)[] | undefined;
  /** Whether its requests under way are lost with it. */
  isCutOff = false;
  /** Since which step nobody else can begin a login. */
  loginSince = 0;
  /** Writes that have begun. */
  readonly writing = new Set<() => void>();
  /** Requests without an answer. */
  readonly requests = new Set<Request>();
  /** Calls that have no answer yet. */
  readonly callers = new Set<string>();
  readonly clock: Clock = { now: () => this.now(), sleep: (ms, options) => this.sleep(ms, options?.signal) };
  readonly #world: World;
  #skew = 0;

  constructor(name: string, world: World) {
    this.name = name;
    this.#world = world;
  }

  /** Its clock, in ms since 1970. */
  now(): number {
    return this.#world.now + this.#skew;
  }

  /** Its clock is set; timers do not notice. */
  jump(ms: number): void {
    this.#skew += ms;
  }

  stop(): void {
    this.heldUp ??= [];
  }

  continue(): void {
    const waiting = this.heldUp ?? [];
    this.heldUp = undefined;
    for (const go of waiting) go();
  }

  /** Nothing of it goes on. @param cutOff whether the requests that it was sending are lost */
  protected bury(cutOff: boolean): void {
    this.alive = false;
    this.isCutOff = cutOff;
    this.callers.clear();
    this.heldUp = undefined;
    this.#world.bury(this);
  }

  protected sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      if (!this.alive) return;
      if (signal?.aborted) return reject(signal.reason);
      let isOver = false;
      const end = (settle: () => void) => {
        if (isOver) return;
        isOver = true;
        cancel();
        settle();
      };
      const cancel = this.#world.after(ms, this, () => end(resolve));
      signal?.addEventListener("abort", () => end(() => reject(signal.reason)), { once: true });
    });
  }
}
