import type { Scheduler } from "fast-check";
import { type Counts, counts } from "./counts.ts";

/** What must hold in every schedule. */
export type Invariant =
  /** A refresh token is not sent again after a living process has received the answer to it. */
  | "sent again"
  /** No valid token is thrown away, except by a logout. */
  | "thrown away"
  /** Whoever waits gets an answer. */
  | "never answered"
  /** Nothing is handed out that is newer than what is stored, unless storing failed and the app was told. */
  | "handed out unsaved"
  /** One process at most is between marking a refresh and saving its result. */
  | "two at once"
  /** Whoever sends a refresh token holds its lock, whose lease is not over. */
  | "sent unlocked"
  /**
   * A login is only lost with an answer that nobody received, or whose receiver died before its first durable write, or was paused
   * for longer than the lease of its lock.
   */
  | "login lost"
  /** Nobody is told to log in while a good login is stored. */
  | "needless login"
  /** What is thrown is a typed error. */
  | "untyped error"
  /** What was logged out stays logged out. */
  | "logged out in vain"
  /** One browser window at a time. */
  | "two windows"
  /** No window opens while a good login is stored. */
  | "needless window"
  /** No window opens while there is a refresh token that nobody has refused. */
  | "window too many";

/** What cannot hold where a lock may be lost. */
const needsLocks: readonly Invariant[] = [
  "sent again",
  "sent unlocked",
  "two at once",
  "login lost",
  "two windows",
  "needless window",
  "window too many",
  "needless login",
];

/** Parts that are deliberately wrong, to see that each invariant can fail. */
export type Broken =
  /** The disk confirms writes before they are durable. */
  | "confirms early"
  /** A lock that is held is given to a second holder. */
  | "gives a lock twice"
  /** Who waited for a lock reads what was there before. */
  | "reads before it locks"
  /** The lock of a dead process stays, and nobody's patience ends. */
  | "keeps locks of the dead"
  /** What a process has written goes with it when it dies. */
  | "forgets with its writer"
  /** The disk does not find the login once it has been read. */
  | "overlooks the login"
  /** What a proxy answers looks as if the authorization server had refused for good. */
  | "invents refusals"
  /** The app does not hear that something could not be stored. */
  | "does not tell"
  /** The app's login handler throws errors of its own. */
  | "throws anything"
  /** A time limit that fires late is believed at once. */
  | "counts pauses"
  /** Whoever was paused past its lease can still write. */
  | "does not fence"
  /** Nobody looks whether the lease is over before a refresh token is sent. */
  | "does not check"
  /** A lease is not renewed. */
  | "does not renew";

/** A schedule in which something did not hold. */
export class Violation extends Error {
  readonly invariant: string;
  /** What happened, in order. */
  steps: readonly string[] = [];

  constructor(invariant: string, detail: string) {
    super(`${invariant}: ${detail}`);
    this.invariant = invariant;
  }
}

/** Whoever steps are made for: a crash ends them, a stop holds them up. */
export interface Owner {
  readonly name: string;
  readonly alive: boolean;
  /** Set while it is stopped: what it would do goes on later. */
  readonly heldUp: (() => void)[] | undefined;
}

interface Timer {
  owner: Owner | undefined;
  due: number;
  /** Whether it counts only time in which its owner runs. */
  isLimit: boolean;
  /** Set while its owner is held up: what was left, in ms. */
  leftMs: number | undefined;
  wake: () => void;
}

/** More turns of the event loop than reading a body takes. */
const turnsOfBody = 4;

/**
 * Time and order of one simulated world. Everything that touches disk, network or clock is a step; fast-check's scheduler
 * picks the next one. Nothing happens between two steps: each is run until nothing in it can go on by itself.
 */
export class World {
  readonly counts: Counts = counts();
  /** Virtual time, in ms since 1970. */
  now = Date.UTC(2027, 0, 1);
  /** When machines slept last. */
  suspendedAt = Number.NEGATIVE_INFINITY;
  /** How many steps were made. */
  steps = 0;
  violation: Violation | undefined;
  /** Whether locks are lost here. */
  losesLocks = false;

  /** What is wrong here. */
  readonly broken: Broken | undefined;
  readonly #scheduler: Scheduler;
  readonly #only: Invariant | undefined;
  #timers: Timer[] = [];
  /** What has woken and not run yet; each owner's in order. */
  readonly #woken = new Map<Owner | undefined, (() => void)[]>();
  /** How many steps each could make now. */
  readonly #pending = new Map<Owner, number>();
  #turns = 1;

  /** @param options.only the one invariant that is watched. Default: all */
  constructor(scheduler: Scheduler, options: { broken?: Broken | undefined; only?: Invariant | undefined }) {
    this.#scheduler = scheduler;
    this.broken = options.broken;
    this.#only = options.only;
  }

  /** Notes the first violation; the schedule ends with it. */
  fail(invariant: Invariant, detail: string): void {
    if (this.losesLocks && needsLocks.includes(invariant)) return;
    if (this.#only === undefined || this.#only === invariant) this.violation ??= new Violation(invariant, detail);
  }

  /** Whether it could do something now, or is held up. */
  isBehind(owner: Owner): boolean {
    return owner.heldUp !== undefined || (this.#pending.get(owner) ?? 0) > 0;
  }

  /** Does `act` when its turn comes, if its owner still lives. */
  step(label: string, owner: Owner | undefined, act: () => void): void {
    if (owner) this.#pending.set(owner, (this.#pending.get(owner) ?? 0) + 1);
    this.#scheduler.schedule(Promise.resolve(), owner ? `${owner.name}: ${label}` : label).then(() => this.#perform(label, owner, act));
  }

  #perform(label: string, owner: Owner | undefined, act: () => void): void {
    if (owner) this.#pending.set(owner, (this.#pending.get(owner) ?? 0) - 1);
    if (owner?.heldUp) owner.heldUp.push(() => this.step(label, owner, act));
    else if (owner?.alive !== false) act();
  }

  /** Whether anything can go on without time transient. */
  get isBusy(): boolean {
    return this.#scheduler.count() > 0;
  }

  /** Makes up to `count` steps, of those that need no time. @throws Violation */
  async run(count: number): Promise<void> {
    for (let made = 0; made < count && this.isBusy; made++) {
      await this.#scheduler.waitOne();
      this.steps++;
      await this.settle();
    }
  }

  /** Lets everything go on that waits for no step. @throws Violation */
  async settle(): Promise<void> {
    for (let turn = 0; turn < this.#turns; turn++) await new Promise((resolve) => setImmediate(resolve));
    this.#turns = 1;
    if (this.violation) throw this.violation;
  }

  /** The step that runs hands an HTTP answer over, whose body is read in several turns. */
  handsOver(): void {
    this.#turns = turnsOfBody;
  }

  /** Wakes after `ms`. @param isLimit whether only time counts in which the owner runs @returns what cancels it */
  after(ms: number, owner: Owner | undefined, wake: () => void, isLimit = false): () => void {
    const timer: Timer = { owner, due: this.now + Math.min(Math.max(ms, 0), 2 ** 31 - 1), isLimit, leftMs: undefined, wake };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  /** When the next timer is due. */
  get nextDue(): number | undefined {
    return this.#timers.reduce<number | undefined>((next, { due }) => (next === undefined || due < next ? due : next), undefined);
  }

  /** Time passes, whatever is under way; timers become steps, in the order in which they are due. */
  pass(ms: number): void {
    const end = this.now + ms;
    for (let due = this.nextDue; due !== undefined && due <= end; due = this.nextDue) {
      this.now = Math.max(due, this.now);
      const index = this.#timers.findIndex((timer) => timer.due === due);
      for (const { owner, wake } of this.#timers.splice(index, 1)) {
        const line = this.#woken.get(owner) ?? [];
        this.#woken.set(owner, [...line, wake]);
        this.step("timer", owner, () => this.#woken.get(owner)?.shift()?.());
      }
    }
    this.now = end;
  }

  /** All machines sleep: time passes, their timers stand still. */
  suspend(ms: number): void {
    this.suspendedAt = this.now;
    this.now += ms;
    for (const timer of this.#timers) timer.due += ms;
  }

  /** This one is held up from now on: its time limits stand still. */
  freeze(owner: Owner): void {
    for (const timer of this.#timers) {
      if (timer.owner !== owner || !timer.isLimit) continue;
      timer.leftMs = timer.due - this.now;
      timer.due = Number.POSITIVE_INFINITY;
    }
  }

  /** It goes on. */
  thaw(owner: Owner): void {
    for (const timer of this.#timers) {
      if (timer.owner !== owner || timer.leftMs === undefined) continue;
      timer.due = this.now + timer.leftMs;
      timer.leftMs = undefined;
    }
  }

  /** Forgets the timers of the dead. */
  bury(owner: Owner): void {
    this.#timers = this.#timers.filter((timer) => timer.owner !== owner);
    this.#woken.delete(owner);
  }
}
