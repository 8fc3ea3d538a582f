import { describe, expect, test } from "vitest";
import { isWithin, Pause } from "../src/pause.ts";

/** A clock that shows what it is set to. */
function setClock(now = 1_000_000) {
  const clock = { at: now, now: () => clock.at, sleep: () => Promise.reject(new Error("nobody sleeps here")) };
  return clock;
}

describe("a pause of 60 s", () => {
  test.each([
    // the clock moves by, lasts
    ["nothing has passed", 0, true],
    ["a moment before its end", 59_999, true],
    ["its end", 60_000, false],
    ["long after", 600_000, false],
    ["a clock that was put back a little", -1, false],
    ["a clock that was put back a day", -86_400_000, false],
  ])("%s", (_name, ms, lasts) => {
    const clock = setClock();
    const pause = new Pause<string>(clock);
    pause.start("no", 60_000);
    clock.at += ms;
    expect(pause.reason).toBe(lasts ? "no" : undefined);
    expect(pause.leftMs).toBe(lasts ? 60_000 - ms : 0);
    expect(isWithin(1_000_000, 60_000, clock.at)).toBe(lasts);
  });

  test("one that was not begun, or ended, holds nothing; the next takes its place", () => {
    const pause = new Pause<string>(setClock());
    expect([pause.reason, pause.leftMs]).toEqual([undefined, 0]);
    pause.start("no", 60_000);
    pause.start("not now", 1000);
    expect([pause.reason, pause.leftMs]).toEqual(["not now", 1000]);
    pause.end();
    expect([pause.reason, pause.leftMs]).toEqual([undefined, 0]);
  });
});
