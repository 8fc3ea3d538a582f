import type { Clock, SleepOptions } from "../../src/index.ts";
import type { Machine } from "./control.ts";
import type { Request } from "./wire.ts";
import type { Owner, World } from "./world.ts";

/** A process of the simulation, whatever runs in it: its clock, and what it has begun. */
export class Host implements Owner, Machine {
  readonly name: string;
  alive = true;
  heldUp: (() => void)[] | undefined;
  /** Whether its requests under way are lost with it. */
  isCutOff = false;
  /** Since which step nobody else can begin a login; negative when its lock has gone to another meanwhile. */
  loginSince = 0;
  /** Writes that have begun. */
  readonly writing = new Set<() => void>();
  /** Commands to a store on another machine whose answers it has not read: what they find may be older than a call that waits for it. */
  readonly reading = new Set<{ readonly step: number }>();
  /** Requests without an answer. */
  readonly requests = new Set<Request>();
  /** Calls that have no answer yet. */
  readonly callers = new Set<string>();
  readonly clock: Clock = { now: () => this.now(), sleep: (ms, options) => this.sleep(ms, options) };
  readonly #world: World;
  #skew = 0;
  /** How much has arrived while it was held up, and is not read yet. */
  #unread = 0;
  /** Time limits that are over as soon as that is read. */
  #late: (() => void)[] = [];

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

  monotonic(): number {
    return this.#world.now;
  }

  /** It cannot run: stopped, blocked, or its machine sleeps. */
  stop(): void {
    if (this.heldUp) return;
    this.heldUp = [];
    this.#world.freeze(this);
  }

  continue(): void {
    const waiting = this.heldUp ?? [];
    this.heldUp = undefined;
    this.#world.thaw(this);
    for (const go of waiting) go();
  }

  /** Something arrives for it. What comes while it is held up is read when it goes on. */
  arrive(label: string, read: () => void): void {
    if (!this.alive) return;
    if (!this.heldUp) {
      read();
      return;
    }
    this.#unread++;
    const readLate = () => {
      read();
      if (--this.#unread > 0) return;
      for (const over of this.#late.splice(0)) this.#world.step("limit", this, over);
    };
    this.heldUp.push(() => this.#world.step(label, this, readLate));
  }

  /** Nothing of it goes on. @param cutOff whether the requests that it was sending are lost */
  protected bury(cutOff: boolean): void {
    this.alive = false;
    this.isCutOff = cutOff;
    this.callers.clear();
    this.heldUp = undefined;
    this.#world.bury(this);
  }

  protected sleep(ms: number, { signal, limit = false }: SleepOptions = {}): Promise<void> {
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
      const isLimit = limit && this.#world.broken !== "counts pauses";
      const over = () => end(resolve);
      const wake = () => (isLimit && this.#unread > 0 ? this.#late.push(over) : over());
      const cancel = this.#world.after(ms, this, wake, isLimit);
      signal?.addEventListener("abort", () => end(() => reject(signal.reason)), { once: true });
    });
  }
}
