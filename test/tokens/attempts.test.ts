/** How often a token request is sent, and what is waited for in between. */
import { describe, expect, test, vi } from "vitest";
import { McpAuthError, type McpAuthErrorDetails } from "../../src/errors.ts";
import type { AuthEvent } from "../../src/events.ts";
import { attempts, lockTimeoutFor } from "../../src/tokens/attempts.ts";
import { createServerSession } from "../../src/tokens/session.ts";
import { issuer, serverUrl, TestClock } from "../answers/support.ts";

type Fault = [code: "network_error" | "timeout" | "server_error" | "rate_limited" | "invalid_client", details?: McpAuthErrorDetails];

/** The pauses between attempts that end so, and what the last one came to. */
async function send(faults: Fault[]) {
  const clock = new TestClock();
  const events: AuthEvent[] = [];
  const session = createServerSession({ serverUrl, clock, onEvent: (event) => void events.push(event) });
  const left = faults.map(([code, details]) => new McpAuthError(code, { issuer, ...details }));
  let sent = 0;
  const result = await attempts(session, issuer, async () => {
    sent++;
    const error = left.shift();
    if (error) throw error;
    return "answered";
  }).catch((error: McpAuthError) => error.code);
  return { result, sent, slept: clock.slept, limits: clock.limits.size, events };
}

const busy: Fault = ["server_error", { status: 503 }];
const lost: Fault = ["network_error"];

describe("attempts", () => {
  // The jitter is in the middle: three quarters of 500 ms, 1 s.
  test.each<[what: string, faults: Fault[], result: string, slept: number[]]>([
    ["an answer", [], "answered", []],
    ["no answer: repeated at once", [lost], "answered", [0]],
    ["what may still be answered is not repeated", [["timeout"]], "timeout", []],
    ["… but the app's own function is asked again", [["timeout", { party: "app" }]], "answered", [0]],
    ["no answer twice: the second time the server is given time", [lost, lost], "answered", [0, 750]],
    ["a busy server is given more time each time", [busy, busy], "answered", [375, 750]],
    ["… at most three times", [busy, busy, busy], "server_error", [375, 750]],
    ["what it asks for is given", [["rate_limited", { retryAfterMs: 7000 }]], "answered", [7000]],
    ["nobody waits longer than half a minute", [["rate_limited", { retryAfterMs: 30_001 }]], "rate_limited", []],
    [
      "… in all",
      [
        ["rate_limited", { retryAfterMs: 20_000 }],
        ["rate_limited", { retryAfterMs: 10_001 }],
      ],
      "rate_limited",
      [20_000],
    ],
    ["half a minute is waited", [["rate_limited", { retryAfterMs: 30_000 }]], "answered", [30_000]],
    ["a refusal stands", [["invalid_client"]], "invalid_client", []],
  ])("%s", async (_what, faults, result, slept) => {
    vi.spyOn(Math, "random").mockReturnValue(0.5);
    const found = await send(faults);
    expect(found).toMatchObject({ result, slept, sent: slept.length + 1, limits: 0 });
    expect(found.events).toEqual(
      slept.map((waitMs, n) => expect.objectContaining({ type: "refresh.repeated", issuer, attempt: n + 1, waitMs, code: faults[n]?.[0] })),
    );
  });

  test.each([
    [0, [250, 500]],
    [0.999, [500, 1000]],
  ])("jitter %d: from half of the pause to all of it", async (random, slept) => {
    vi.spyOn(Math, "random").mockReturnValue(random);
    expect((await send([busy, busy])).slept.map(Math.round)).toEqual(slept);
  });
});

test("nothing is sent again before the pause is over", async () => {
  const clock = new TestClock();
  const pause = Promise.withResolvers<void>();
  clock.sleep = (_ms, options) => (options?.background ? new Promise(() => {}) : pause.promise);
  let sent = 0;
  const answered = attempts(createServerSession({ serverUrl, clock }), issuer, async () => {
    if (++sent === 1) throw new McpAuthError("server_error", { status: 503 });
    return "answered";
  });
  await new Promise((resolve) => setTimeout(resolve, 10));
  expect(sent).toBe(1);
  pause.resolve();
  expect([await answered, sent]).toEqual(["answered", 2]);
});

test.each<[rule: string, requestTimeout: number | undefined, ms: number]>([
  ["half a minute", undefined, 30_000],
  ["half a minute, although one request has less", 5000, 30_000],
  ["the time for one request, where the app gives more", 45_000, 45_000],
])("%s ends an attempt that hangs; others wait ten seconds longer", async (_rule, requestTimeout, ms) => {
  const clock = new TestClock();
  const session = createServerSession({ serverUrl, clock, requestTimeout, fetch: () => new Promise(() => {}) });
  const running = attempts(session, issuer, (http) => http.fetch(`${issuer}/token`, { method: "POST" }));
  await expect.poll(() => clock.limits.size).toBe(1);
  const began = clock.now();
  clock.reachLimit();
  await expect(running).rejects.toMatchObject({ code: "timeout" });
  expect(clock.now() - began).toBe(ms);
  expect(lockTimeoutFor(requestTimeout)).toBe(ms + 10_000);
});
