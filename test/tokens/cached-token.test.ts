/** The token in memory: why it is refreshed, and what is known of the one that comes. */
import { describe, expect, test } from "vitest";
import { McpAuthError } from "../../src/errors.ts";
import { CachedToken, type Origin, type RefreshDemand, type RefreshOutcome } from "../../src/tokens/cached-token.ts";
import { createServerSession } from "../../src/tokens/session.ts";
import type { IssuedToken } from "../../src/tokens/token-record.ts";
import { issuer, serverUrl, TestClock } from "../answers/support.ts";

type Reason = RefreshDemand["reason"];
const ttlMs = 3_600_000;

/** A token of an hour, and refreshes that end when and how the test says. */
function made({ keepFresh, more }: { keepFresh?: boolean; more?: Partial<IssuedToken> } = {}) {
  const clock = new TestClock();
  const issued = (accessToken: string): IssuedToken =>
    ({ accessToken, refreshToken: `refresh-${accessToken}`, issuedAt: clock.time, expiresAt: clock.time + ttlMs, ...more }) as never;
  const first = issued("first");
  const demands: RefreshDemand[] = [];
  const answer = Promise.withResolvers<RefreshOutcome<IssuedToken>>();
  const token = new CachedToken<IssuedToken>(createServerSession({ serverUrl, clock, keepFresh }), {
    load: async () => first,
    bearer: (record) => record.accessToken,
    grant: (record) => (record as { refreshToken?: string } | undefined)?.refreshToken,
    refresh: (_record, demand) => {
      demands.push(demand);
      return answer.promise;
    },
  });
  return { clock, issued, first, demands, token, ...answer };
}

describe("whoever joins a refresh may raise its urgency, and never lowers it", () => {
  test.each<[first: Reason, joins: Reason, reason: Reason]>([
    ["ahead", "expired", "expired"],
    ["ahead", "refused", "refused"],
    ["expired", "refused", "refused"],
    ["expired", "ahead", "expired"],
    ["refused", "ahead", "refused"],
    ["refused", "expired", "refused"],
  ])("%s, joined by %s: %s", async (first, joins, reason) => {
    const { token, demands, issued, resolve } = made();
    await token.load();
    const running = [token.refresh({ reason: first }), token.refresh({ reason: joins })];
    resolve({ record: issued("second") });
    await Promise.all(running);
    expect(demands).toEqual([{ reason }]);
  });

  test("what was asked for is not changed for the caller, nor for the next refresh", async () => {
    const { token, demands, issued, resolve } = made();
    await token.load();
    const asked: RefreshDemand = { reason: "ahead" };
    const running = [token.refresh(asked), token.refresh({ reason: "refused" })];
    resolve({ record: issued("second") });
    await Promise.all(running);
    await token.refresh({ reason: "ahead" });
    expect([asked.reason, demands.map(({ reason }) => reason)]).toEqual(["ahead", ["refused", "ahead"]]);
  });
});

describe("where a new token comes from", () => {
  test.each<[rule: string, before: Origin, accepted: boolean, reason: Reason, isShared: boolean, origin: Origin]>([
    ["a refusal asked for it: a refresh", "store", true, "refused", false, "refresh"],
    ["… but what another process had got is as old as that", "store", true, "refused", true, "store"],
    ["no refusal asked for it: it shows nothing", "store", true, "expired", false, "store"],
    ["… nor does another process", "store", true, "expired", true, "store"],
    ["a login whose tokens were never accepted stays one", "login", false, "refused", false, "login"],
    ["… until one was", "login", true, "refused", false, "refresh"],
  ])("%s", async (_rule, before, accepted, reason, isShared, origin) => {
    const { token, first, issued, resolve } = made();
    token.use(first, before);
    token.accepted = accepted;
    resolve({ record: issued("second"), isShared });
    await token.refresh({ reason });
    expect([token.bearer, token.origin, token.accepted]).toEqual(["second", origin, false]);
  });
});

describe("a refresh that is refused, not for good, and the token in its last minute two seconds later", () => {
  test.each<[rule: string, reason: Reason, asked: Reason[]]>([
    ["it was ahead of time: it is asked for once more, now that it is needed", "ahead", ["ahead", "expired"]],
    ["it was needed: nobody is asked again so soon", "expired", ["expired"]],
  ])("%s", async (_rule, reason, asked) => {
    const { clock, token, first, demands, resolve } = made();
    await token.load();
    clock.time += ttlMs - 61_000;
    resolve({ record: first, error: new McpAuthError("token_request_refused", { issuer }) });
    await token.refresh({ reason });
    clock.time += 2000;
    expect(await token.get()).toBe("first");
    expect(demands).toEqual(asked.map((demand) => ({ reason: demand })));
  });
});

describe("a token for a request", () => {
  const fault = () => new McpAuthError("server_error", { issuer, status: 503 });

  test("one that is valid: nothing is asked for", async () => {
    const { token, demands } = made();
    expect([await token.get(), demands]).toEqual(["first", []]);
  });

  test.each<[what: string, afterMs: number, outcome: "fault" | "none" | "disposed", token: string | undefined]>([
    ["in the leeway, and it cannot be refreshed now: it serves", ttlMs - 1, "fault", "first"],
    ["in the leeway, and the refresh brings the same: it serves", ttlMs - 1, "none", "first"],
    ["in the leeway, and the manager ends: no token, however good", ttlMs - 1, "disposed", "disposed"],
    ["expired, and it cannot be refreshed now: the fault", ttlMs, "fault", "server_error"],
    ["expired, and the refresh brings the same: none", ttlMs, "none", undefined],
  ])("%s", async (_what, afterMs, outcome, expected) => {
    const { clock, token, first, demands, resolve, reject } = made();
    await token.load();
    clock.time += afterMs;
    if (outcome === "fault") reject(fault());
    else if (outcome === "disposed") reject(new McpAuthError("disposed"));
    else resolve({ record: first });
    expect(await token.get().catch((error: McpAuthError) => error.code)).toBe(expected);
    expect(demands).toEqual([{ reason: "expired" }]);
  });
});

test("a new login ends an outage: no user is asked again for what failed before", async () => {
  const { clock, token, issued } = made();
  await token.load();
  for (let n = 0; n < 3; n++) token.backoff.onFault(new McpAuthError("server_error", { status: 503 }));
  clock.time += 120_000;
  expect(token.isInOutage).toBe(true);
  token.use(issued("second"), "login");
  expect(token.isInOutage).toBe(false);
});

describe("a token for one who cannot wait", () => {
  test.each<[what: string, afterMs: number, token: string | undefined, asked: Reason[]]>([
    ["valid: it is given, and nothing is asked for", 0, "first", []],
    ["due for a refresh ahead: it is given, and refreshed meanwhile", ttlMs * 0.7, "first", ["ahead"]],
    ["in the leeway: the same, with more urgency", ttlMs - 1, "first", ["expired"]],
    ["expired: none now, and the next one may have one", ttlMs, undefined, ["expired"]],
  ])("%s", async (_what, afterMs, expected, asked) => {
    const { clock, token, demands } = made();
    await token.load();
    clock.time += afterMs;
    expect(token.read()).toBe(expected);
    expect(demands).toEqual(asked.map((reason) => ({ reason })));
  });
});

describe("the timer that keeps a token fresh", () => {
  const aheadMs = (clock: TestClock) => [...clock.limits.values()].map((at) => (at - clock.time) / ttlMs);

  test("wakes up when a refresh ahead is due, and asks for it", async () => {
    const { clock, token, demands } = made({ keepFresh: true });
    await token.load();
    const [due = 0, ...others] = aheadMs(clock);
    expect(others).toEqual([]);
    expect([due >= 0.5, due <= 0.65]).toEqual([true, true]);
    clock.reachLimit();
    await expect.poll(() => demands).toEqual([{ reason: "ahead" }]);
  });

  test.each<[what: string, options: Parameters<typeof made>[0]]>([
    ["the app does not want it", {}],
    ["nobody knows when the token expires", { keepFresh: true, more: { expiresAt: undefined } }],
    ["it cannot be refreshed", { keepFresh: true, more: { refreshToken: "" } }],
  ])("is not set where %s", async (_what, options) => {
    const { clock, token } = made(options);
    await token.load();
    expect(clock.limits.size).toBe(0);
  });

  test("is set by one who cannot wait, whatever the app wants, for one lifetime", async () => {
    const { clock, token, issued } = made();
    await token.load();
    token.read();
    expect(clock.limits.size).toBe(1);
    token.use({ ...issued("second") }, "refresh");
    expect(clock.limits.size).toBe(0);
  });

  test("ends with the manager, and with the token", async () => {
    const { clock, token, issued } = made({ keepFresh: true });
    await token.load();
    token.use(issued("second"), "refresh");
    expect(clock.limits.size).toBe(1);
    await token.dispose();
    expect(clock.limits.size).toBe(0);
  });
});
