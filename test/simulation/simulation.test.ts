/** The tokens' life of up to eight processes on one store, a disk or Redis, in schedules that chance finds (`npm run simulate` plays more). */
import { describe, expect, test } from "vitest";
import { simulate } from "./simulate.ts";
import { type Broken, type Invariant, Violation } from "./world.ts";

const runs = 1000;
/** On a machine that is busy with other tests. */
const limitMs = 180_000;

test(
  "whatever order things happen in, whatever dies, is lost or late: no login is lost that can be kept, and nobody waits in vain",
  async () => {
    const { failure, counts } = await simulate({ runs, seed: 2027 });
    expect(failure?.report).toBeUndefined();
    // A world in which nothing goes wrong would prove nothing.
    const { "logins lost by a full disk": _rare, ...common } = counts;
    for (const [name, count] of Object.entries(common)) expect(count, name).toBeGreaterThan(0);
  },
  limitMs,
);

test("a seed decides everything", async () => {
  const [one, other] = [await simulate({ runs: 100, seed: 7 }), await simulate({ runs: 100, seed: 7 })];
  expect(other.counts).toEqual(one.counts);
});

describe("what is broken is found", () => {
  const cases: [Broken, Invariant][] = [
    ["confirms early", "handed out unsaved"],
    ["counts pauses", "sent again"],
    ["does not check", "sent unlocked"],
    ["does not fence", "thrown away"],
    ["does not renew", "two at once"],
    ["does not tell", "handed out unsaved"],
    ["forgets with its writer", "login lost"],
    ["forgets with its writer", "sent again"],
    ["gives a lock twice", "sent unlocked"],
    ["gives a lock twice", "two at once"],
    ["gives a lock twice", "sent again"],
    ["gives a lock twice", "thrown away"],
    ["gives a lock twice", "two windows"],
    ["gives a lock twice", "logged out in vain"],
    ["gives a lock twice", "login lost"],
    ["invents refusals", "thrown away"],
    ["keeps locks of the dead", "never answered"],
    ["overlooks the login", "needless login"],
    ["overlooks the login", "needless window"],
    ["reads before it locks", "sent again"],
    ["reads before it locks", "login lost"],
    ["reads before it locks", "thrown away"],
    ["throws anything", "untyped error"],
  ];
  test.each(cases)(
    "%s: %s",
    async (broken, only) => {
      const { failure } = await simulate({ runs, seed: 2027, broken, only, shrink: false });
      expect(failure?.error).toBeInstanceOf(Violation);
    },
    limitMs,
  );
});
