/** A time limit counts only while the program runs: what arrived while it could not is read before the limit is over. */
import { describe, expect, test } from "vitest";
import { deadline } from "../src/async.ts";
import { systemClock } from "../src/clock.ts";

const block = (ms: number) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
const passes = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe("a limit", () => {
  test("is over after its time", async () => {
    const began = performance.now();
    await systemClock.sleep(1200, { limit: true });
    expect(performance.now() - began).toBeGreaterThanOrEqual(1190);
  });

  test.each([
    ["in its first moment", 300, 0],
    ["in its last moment", 300, 250],
    ["in a later slice", 1500, 1200],
  ])("of a program that is blocked %s is not over when it goes on", async (_rule, limitMs, blockedAfterMs) => {
    const { signal, stop } = deadline(systemClock, limitMs, () => "over");
    await passes(blockedAfterMs);
    block(1000);
    await passes(1);
    await passes(1);
    expect(signal.aborted).toBe(false);
    await expect.poll(() => signal.reason, { timeout: 45_000 }).toBe("over");
    stop();
  });

  test("of a program that is always late is over all the same", async () => {
    let isOver = false;
    systemClock.sleep(1, { limit: true }).then(() => {
      isOver = true;
    });
    let turns = 0;
    for (; !isOver && turns < 100; turns++) {
      block(110);
      await passes(0);
    }
    expect(isOver).toBe(true);
  });

  test("ends with its signal", async () => {
    const end = new AbortController();
    const sleeping = systemClock.sleep(60_000, { limit: true, signal: end.signal });
    end.abort("enough");
    await expect(sleeping).rejects.toBe("enough");
  });
});
