import type { Clock } from "../clock.ts";

/** How often those that were left alone leave memory, in ms: after once to twice that. No shorter than the pauses after a refusal. */
const idleMs = 300_000;

/** One that can leave memory, and come back from the store. */
export interface Resident {
  /** Leaves memory if it was left alone since it was last asked. @returns whether it is out */
  leave(): boolean;
}

/**
 * Who is in memory. There is no timer: the calls of those that are in use notice who is not. A process in which nobody calls
 * keeps what it has.
 */
export class Residents {
  readonly #residents = new Set<Resident | WeakRef<Resident>>();
  #sweptAt: number;

  constructor(now: number) {
    this.#sweptAt = now;
  }

  /** @param isHeld whether it stays although nobody else holds it */
  add(resident: Resident, isHeld: boolean): void {
    this.#residents.add(isHeld ? resident : new WeakRef(resident));
  }

  /** Whether it is time, those that were left alone leave. */
  sweep(now: number): void {
    // A clock that was put back must not put this off.
    if (Math.abs(now - this.#sweptAt) < idleMs) return;
    this.#sweptAt = now;
    for (const entry of this.#residents) {
      const resident = entry instanceof WeakRef ? entry.deref() : entry;
      if (!resident || resident.leave()) this.#residents.delete(entry);
    }
  }
}

const byClock = new WeakMap<Clock, Residents>();

/** Those that live by the same clock. */
export function residentsOf(clock: Clock): Residents {
  let residents = byClock.get(clock);
  if (!residents) {
    residents = new Residents(clock.now());
    byClock.set(clock, residents);
  }
  return residents;
}
