import fc from "fast-check";
import type { Rules } from "./authorization-server.ts";
import type { SimulatedProcess, User } from "./process.ts";
import type { CommandFate } from "./redis-store.ts";
import type { SharedStore } from "./shared-store.ts";
import type { Fate } from "./wire.ts";

/** What one world is like. */
export interface Setting extends Rules {
  /** How many processes there are at once. */
  processes: number;
  keepFresh: boolean;
  /** Lease of locks in Redis, in seconds; 0: the store is a disk, whose locks die with their holder. */
  lease: number;
  /** Whether somebody logs in when asked. */
  hasUser: boolean;
  /** Whether a login is stored at the beginning. */
  isLoggedIn: boolean;
  /** Whether the authorization server's metadata is stored. */
  isDiscovered: boolean;
  /** Age of the stored token, as a part of its lifetime. */
  age: number;
  /** What may happen. */
  crashes: boolean;
  faults: boolean;
  fullDisks: boolean;
  clocks: boolean;
  stops: boolean;
  /** Locks are lost while they are held: what needs them to be exclusive is not expected then. */
  lostLocks: boolean;
  /** Of everything that is left to chance inside. */
  seed: number;
}

/** What happens to a process, or to all, after some steps. */
export interface Happening {
  after: number;
  process: number;
  what: What;
}

/** What needs no further facts. */
type Plain = "token" | "call" | "authorize" | "everybody" | "logout" | "end" | "dispose" | "stop" | "continue" | "refusal" | "locks";

export type What =
  | { type: Plain }
  /** A caller who waits no longer than this. */
  | { type: "impatient"; ms: number }
  | { type: "crash"; landed: boolean; cutOff: boolean }
  | { type: "passes" | "jump" | "suspend"; ms: number }
  /** It cannot run for so long. */
  | { type: "blocked"; ms: number }
  | { type: "command"; fate: CommandFate }
  /** So much of an access token's lifetime passes. */
  | { type: "ages"; part: number }
  | { type: "disk"; state: SharedStore<SimulatedProcess>["state"] }
  | { type: "user"; mood: User["mood"] }
  | { type: "fate"; fate: Fate };

export const second = 1000;
export const minute = 60 * second;
export const hour = 60 * minute;
export const day = 24 * hour;

const setting: fc.Arbitrary<Setting> = fc.record({
  rotation: fc.constantFrom("strict", "strict", "grace", "forgiving", "fixed"),
  lifetime: fc.constantFrom(30, 300, 3600),
  announced: fc.constantFrom(true, true, true, false),
  processes: fc.integer({ min: 2, max: 8 }),
  keepFresh: fc.boolean(),
  lease: fc.constantFrom(0, 0, 5, 60),
  hasUser: fc.constantFrom(false, false, true),
  isLoggedIn: fc.constantFrom(true, true, true, false),
  isDiscovered: fc.constantFrom(true, true, true, false),
  age: fc.constantFrom(0, 0.7, 0.95, 1.5),
  crashes: fc.boolean(),
  faults: fc.boolean(),
  fullDisks: fc.boolean(),
  clocks: fc.boolean(),
  stops: fc.boolean(),
  lostLocks: fc.constantFrom(false, false, false, false, false, true),
  seed: fc.nat(),
});

const slowness = fc.oneof(
  fc.constant(0),
  fc.integer({ min: 1, max: 45 }).map((count) => count * second),
);

const fate: fc.Arbitrary<Fate> = fc.oneof(
  fc.constantFrom<Fate>({ what: "unsent" }, { what: "lost" }, { what: "mangled" }, { what: "hangs" }),
  fc.record({ what: fc.constant("slow"), there: slowness, back: slowness }),
  fc.record(
    { what: fc.constant("answered"), status: fc.constantFrom(403, 429, 500, 503), retryAfter: fc.integer({ min: 1, max: 120 }) },
    { requiredKeys: ["what", "status"] },
  ),
);

const commandFate: fc.Arbitrary<CommandFate> = fc.oneof(
  fc.constantFrom<CommandFate>({ what: "unsent" }, { what: "lost" }, { what: "hangs" }),
  fc.record({ what: fc.constant("slow"), ms: slowness }),
);

/** How long a process cannot run: garbage collection, a blocked loop, a stopped process. */
const blocked = fc.constantFrom(second, 6 * second, 15 * second, minute, 2 * minute);

const jump = fc.constantFrom(-hour, -minute, day);

const duration = fc.oneof(
  fc.integer({ min: 1, max: 10 }).map((count) => count * 200),
  fc.integer({ min: 1, max: 12 }).map((count) => count * 5 * second),
  fc.integer({ min: 1, max: 12 }).map((count) => count * 5 * minute),
);

const one = (...types: Plain[]): fc.Arbitrary<What> => fc.constantFrom(...types.map((type) => ({ type })));

const what: fc.Arbitrary<What> = fc.oneof(
  { weight: 8, arbitrary: one("token", "token", "call", "call", "everybody") },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("impatient"), ms: duration }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant("passes"), ms: duration }) },
  { weight: 5, arbitrary: fc.record({ type: fc.constant("ages"), part: fc.constantFrom(0.1, 0.5, 1) }) },
  { weight: 4, arbitrary: fc.record({ type: fc.constant("crash"), landed: fc.boolean(), cutOff: fc.boolean() }) },
  { weight: 4, arbitrary: fc.record({ type: fc.constant("fate"), fate }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant("disk"), state: fc.constantFrom("full", "fails", "works", "works") }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constantFrom("jump", "suspend"), ms: fc.oneof(duration, jump) }) },
  { weight: 2, arbitrary: one("stop", "continue", "locks") },
  { weight: 3, arbitrary: fc.record({ type: fc.constant("blocked"), ms: blocked }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant("command"), fate: commandFate }) },
  { weight: 3, arbitrary: one("logout", "end", "end", "dispose", "refusal", "authorize") },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("user"), mood: fc.constantFrom("allows", "denies", "leaves") }) },
);

const happening: fc.Arbitrary<Happening> = fc.record({ after: fc.nat({ max: 14 }), process: fc.nat({ max: 7 }), what });

/** A world and what happens in it. */
export const schedule = fc.record({ setting, happenings: fc.array(happening, { minLength: 2, maxLength: 40, size: "max" }) });
export type Schedule = typeof schedule extends fc.Arbitrary<infer T> ? T : never;
