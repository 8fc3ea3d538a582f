/** When a refresh may be sent again after one that failed. */
import { describe, expect, test } from "vitest";
import { McpAuthError, type McpAuthErrorCode } from "../../src/errors.ts";
import type { Freshness } from "../../src/tokens/freshness.ts";
import { RefreshBackoff } from "../../src/tokens/refresh-backoff.ts";
import { TestClock } from "../answers/support.ts";

function made() {
  const clock = new TestClock();
  return { clock, backoff: new RefreshBackoff(clock) };
}
const fault = (retryAfterMs?: number) => new McpAuthError("server_error", { status: 503, ...(retryAfterMs && { retryAfterMs }) });

describe("a refresh token that was refused, but not for good", () => {
  test.each<[rule: string, refreshToken: string, ahead: boolean, afterMs: number, fresh: Freshness, may: boolean]>([
    ["is left alone for a minute", "refused", false, 59_999, "expired", false],
    ["… no longer", "refused", false, 60_000, "expired", true],
    ["… in the leeway as well", "refused", false, 59_999, "leeway", false],
    ["is not sent ahead again, however long ago", "refused", false, 60_000, "ahead", false],
    ["refused ahead: it is not sent ahead again", "refused", true, 60_000, "ahead", false],
    ["… and sent at once when it is needed", "refused", true, 0, "leeway", true],
    ["is not taken for another one", "other", false, 0, "ahead", true],
  ])("%s", (_rule, refreshToken, ahead, afterMs, fresh, may) => {
    const { clock, backoff } = made();
    backoff.onRefusal("refused", ahead);
    clock.time += afterMs;
    expect(backoff.mayRefresh(refreshToken, fresh)).toBe(may);
  });

  test("is sent again at once when the clock was put back", () => {
    const { clock, backoff } = made();
    backoff.onRefusal("refused", false);
    clock.time -= 1;
    expect(backoff.mayRefresh("refused", "expired")).toBe(true);
  });

  test("an answer is the end of it", () => {
    const { backoff } = made();
    backoff.onRefusal("refused", false);
    backoff.onAnswer();
    expect(backoff.mayRefresh("refused", "ahead")).toBe(true);
  });
});

test.each<[rule: string, retryAfterMs: number | undefined, afterMs: number, fresh: Freshness, may: boolean]>([
  ["half a minute without a refresh ahead", undefined, 29_999, "ahead", false],
  ["… no longer", undefined, 30_000, "ahead", true],
  ["… but an expired token is refreshed", undefined, 0, "expired", true],
  ["what the server asks for", 45_000, 44_999, "ahead", false],
  ["… at most five minutes", 900_000, 299_999, "leeway", false],
  ["… no longer, either", 900_000, 300_000, "leeway", true],
])("after a transient fault: %s", (_rule, retryAfterMs, afterMs, fresh, may) => {
  const { clock, backoff } = made();
  backoff.onFault(fault(retryAfterMs));
  clock.time += afterMs;
  expect(backoff.mayRefresh("any", fresh)).toBe(may);
});

describe("an outage", () => {
  test.each<[rule: string, faultsAtMs: number[], atMs: number, isInOutage: boolean]>([
    ["three faults in two minutes", [0, 1000, 2000], 120_000, true],
    ["less than two minutes are none", [0, 1000, 2000], 119_999, false],
    ["two faults are none", [0, 1000], 120_000, false],
    ["a clock that was put back: it begins anew", [60_000, 61_000, 0], 120_000, true],
  ])("%s", (_rule, faultsAtMs, atMs, isInOutage) => {
    const { clock, backoff } = made();
    const began = clock.time;
    for (const ms of faultsAtMs) {
      clock.time = began + ms;
      backoff.onFault(fault());
    }
    clock.time = began + atMs;
    expect(backoff.isInOutage).toBe(isInOutage);
  });

  test.each<[code: McpAuthErrorCode, counts: boolean]>([
    ["server_error", true],
    ["rate_limited", true],
    ["network_error", true],
    ["timeout", true],
    ["store_failed", false],
    ["lock_timeout", false],
    ["lock_lost", false],
  ])("%s counts: %s", (code, counts) => {
    const { clock, backoff } = made();
    for (let n = 0; n < 3; n++) backoff.onFault(new McpAuthError(code));
    clock.time += 120_000;
    expect(backoff.isInOutage).toBe(counts);
  });

  test("an answer in between: faults are counted anew, and their time begins anew", () => {
    const { clock, backoff } = made();
    for (let n = 0; n < 3; n++) backoff.onFault(fault());
    clock.time += 120_000;
    backoff.onAnswer();
    for (let n = 0; n < 3; n++) backoff.onFault(fault());
    expect(backoff.isInOutage).toBe(false);
  });
});
