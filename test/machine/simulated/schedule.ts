import fc from "fast-check";
import type { Fate } from "../../simulation/wire.ts";
import type { Rules, Tool } from "./network.ts";

/** What one world is like. */
export interface Setting extends Rules {
  /** How many processes there are at once, and managers in each. */
  processes: number;
  managers: number;
  keepFresh: boolean;
  /** The app names the authorization server, the scopes; gives its secret by a function. */
  isNamed: boolean;
  isScoped: boolean;
  isAsked: boolean;
  /** What may happen. */
  crashes: boolean;
  faults: boolean;
  refusals: boolean;
  disks: boolean;
  clocks: boolean;
  /** Of everything that is left to chance inside. */
  seed: number;
}

type Plain =
  | "token"
  | "end"
  | "stop"
  | "continue"
  | "refusal"
  | "revocation"
  | "move"
  | "return"
  | "refuse"
  | "accept"
  | "narrow"
  | "widen";

export type What =
  | { type: Plain }
  | { type: "call" | "everybody"; tool: Tool }
  | { type: "impatient" | "passes" | "jump" | "suspend"; ms: number }
  /** So much of a token's lifetime passes. */
  | { type: "ages"; part: number }
  /** The server has a new secret; the vault as well, or not yet. */
  | { type: "rotate"; isLate: boolean }
  | { type: "vault" }
  | { type: "crash"; landed: boolean; cutOff: boolean }
  | { type: "disk"; state: "works" | "full" | "fails" }
  | { type: "fate"; fate: Fate };

/** What happens to a process, or to all, after some steps. */
export interface Happening {
  after: number;
  process: number;
  what: What;
}

const second = 1000;
const minute = 60 * second;

const setting: fc.Arbitrary<Setting> = fc.record({
  lifetime: fc.constantFrom(10, 60, 300, 3600),
  announced: fc.constantFrom(true, true, true, false),
  narrowing: fc.constantFrom("refuses", "leaves out"),
  processes: fc.integer({ min: 1, max: 3 }),
  managers: fc.integer({ min: 1, max: 2 }),
  keepFresh: fc.boolean(),
  isNamed: fc.boolean(),
  isScoped: fc.boolean(),
  isAsked: fc.boolean(),
  crashes: fc.boolean(),
  faults: fc.boolean(),
  refusals: fc.boolean(),
  disks: fc.boolean(),
  clocks: fc.boolean(),
  seed: fc.nat(),
});

const slowness = fc.integer({ min: 0, max: 45 }).map((count) => count * second);
const fate: fc.Arbitrary<Fate> = fc.oneof(
  fc.constantFrom<Fate>({ what: "unsent" }, { what: "lost" }, { what: "mangled" }, { what: "hangs" }),
  fc.record({ what: fc.constant("slow"), there: slowness, back: slowness }),
  fc.record(
    { what: fc.constant("answered"), status: fc.constantFrom(403, 429, 500, 503), retryAfter: fc.integer({ min: 1, max: 120 }) },
    { requiredKeys: ["what", "status"] },
  ),
);
const duration = fc.oneof(
  fc.integer({ min: 1, max: 12 }).map((count) => count * 5 * second),
  fc.integer({ min: 1, max: 12 }).map((count) => count * 3 * minute),
);
const tool = fc.constantFrom<Tool>("read", "read", "write", "admin");
const one = (...types: Plain[]): fc.Arbitrary<What> => fc.constantFrom(...types.map((type) => ({ type })));

const what: fc.Arbitrary<What> = fc.oneof(
  { weight: 10, arbitrary: fc.record({ type: fc.constantFrom("call", "call", "everybody"), tool }) },
  { weight: 2, arbitrary: one("token") },
  { weight: 3, arbitrary: fc.record({ type: fc.constantFrom("passes", "passes", "impatient"), ms: duration }) },
  { weight: 5, arbitrary: fc.record({ type: fc.constant("ages"), part: fc.constantFrom(0.1, 0.5, 0.6, 1) }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant("crash"), landed: fc.boolean(), cutOff: fc.boolean() }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant("fate"), fate }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant("disk"), state: fc.constantFrom("full", "fails", "works", "works") }) },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constantFrom("jump", "suspend"),
      ms: fc.oneof(duration, fc.constantFrom(-60 * minute, 24 * 60 * minute)),
    }),
  },
  { weight: 2, arbitrary: fc.record({ type: fc.constant("rotate"), isLate: fc.boolean() }) },
  { weight: 4, arbitrary: one("end", "stop", "continue", "refusal", "revocation", "revocation") },
  { weight: 3, arbitrary: one("move", "return", "refuse", "accept", "narrow", "widen") },
  { weight: 1, arbitrary: fc.constant({ type: "vault" }) },
);

const happening: fc.Arbitrary<Happening> = fc.record({ after: fc.nat({ max: 14 }), process: fc.nat({ max: 2 }), what });

/** A world and what happens in it. */
export const schedule = fc.record({ setting, happenings: fc.array(happening, { minLength: 2, maxLength: 40, size: "max" }) });
export type Schedule = typeof schedule extends fc.Arbitrary<infer T> ? T : never;
