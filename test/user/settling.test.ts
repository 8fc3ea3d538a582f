/** A token that was just issued, and a protected server that does not know it yet: waiting comes before asking. */
import { UnsecuredJWT } from "jose";
import { describe, expect, test } from "vitest";
import { MemoryStore } from "../../src/index.ts";
import { answer, type Hook, tokenRequest, when } from "../fixture/index.ts";
import * as machine from "../machine/support.ts";
import { type ManualClock, manager, manualClock, minutes, post, seed, startServer, tally, userAtHand } from "../storm/support.ts";

/** A login with an hour to live, at a server that takes a token `lagMs` after it has first seen it. */
async function lagging(lagMs: number, { options = {} }: { options?: Parameters<typeof manager>[1] } = {}) {
  const server = await startServer({ authorizationServer: { accessTokenTtlSeconds: 3600 } });
  const { authorizationServer: as, mcpServer: mcp } = server;
  const [store, clock, handler] = [new MemoryStore(), manualClock(), userAtHand()];
  const tokens = await seed(server, store, { clock });
  const made = manager(server, { store, clock, loginHandler: handler, ...options });
  expect(await post(made.auth)).toBe(200);
  mcp.intercept(refusingAtFirst(lagMs, clock, tokens.accessToken));
  const refreshes = () => as.tokenRequests("refresh_token").length;
  return { server, as, mcp, store, clock, handler, tokens, refreshes, ...made };
}

function refusingAtFirst(lagMs: number, clock: ManualClock, known = "") {
  const seen = new Map([[`Bearer ${known}`, -Infinity]]);
  return when(
    ({ headers: { authorization = "" } }) => {
      if (!authorization) return false;
      if (!seen.has(authorization)) seen.set(authorization, clock.now());
      return clock.now() - (seen.get(authorization) ?? 0) < lagMs;
    },
    answer(401, "", { "www-authenticate": 'Bearer error="invalid_token"' }),
  );
}

describe("50 calls at once, and a server that knows a new token only after a while", () => {
  test.each<[what: string, lagMs: number, slept: number[]]>([
    ["a moment", 300, [500]],
    ["two seconds", 2400, [500, 2000]],
  ])("at expiry, %s: one refresh, all wait together, nobody is asked", async (_what, lagMs, slept) => {
    const { auth, clock, handler, refreshes } = await lagging(lagMs);
    clock.advance(minutes(61));
    expect(await tally(Array.from({ length: 50 }, () => post(auth)))).toEqual({ 200: 50 });
    expect([refreshes(), handler.opened, clock.slept]).toEqual([1, 0, slept]);
    expect([await post(auth), clock.slept.length]).toEqual([200, slept.length]);
  });

  test("after a refusal of the old token: one refresh, nobody is asked", async () => {
    const { auth, clock, handler, mcp, refreshes } = await lagging(2400);
    mcp.revokeAll();
    expect(await tally(Array.from({ length: 50 }, () => post(auth)))).toEqual({ 200: 50 });
    expect([refreshes(), handler.opened, clock.slept]).toEqual([1, 0, [500, 2000]]);
  });

  test("after a login: the token that it brought is sent again", async () => {
    const { auth, clock, handler, as } = await lagging(2400);
    as.endLogins();
    clock.advance(minutes(61));
    expect(await tally(Array.from({ length: 50 }, () => post(auth)))).toEqual({ 200: 50 });
    expect([handler.opened, clock.slept]).toEqual([1, [500, 2000]]);
  });

  test("in several processes: one refresh, nobody is asked", async () => {
    const { auth, clock, handler, refreshes, server, store } = await lagging(2400);
    const others = Array.from({ length: 3 }, () => manager(server, { store, clock, loginHandler: handler }).auth);
    await Promise.all(others.map((other) => other.getAccessToken()));
    clock.advance(minutes(61));
    const calls = [auth, ...others].flatMap((each) => Array.from({ length: 5 }, () => post(each)));
    expect(await tally(calls)).toEqual({ 200: 20 });
    expect([refreshes(), handler.opened]).toEqual([1, 0]);
  });
});

test("a token that the server has taken before, or that is not new, is refreshed at once", async () => {
  const { auth, clock, mcp, refreshes } = await lagging(0);
  mcp.revokeAll();
  expect([await post(auth), refreshes()]).toEqual([200, 1]);
  mcp.revokeAll();
  expect([await post(auth), refreshes(), clock.slept]).toEqual([200, 2, []]);
});

test("a server that never takes a new token: one login at last, then its 401, and the reason", async () => {
  const { auth, clock, handler, refreshes } = await lagging(Infinity);
  clock.advance(minutes(61));
  expect(await tally(Array.from({ length: 20 }, () => post(auth)))).toEqual({ 401: 20 });
  expect([handler.opened, refreshes(), auth.lastError?.code]).toEqual([1, 2, "token_refused"]);
  const waits = clock.slept.length;
  expect([await post(auth), clock.slept.length, handler.opened]).toEqual([401, waits, 1]);
});

test("an authorization server that gives the refused token again and again: one login, then the 401", async () => {
  const { auth, as, clock, handler } = await lagging(Infinity);
  as.intercept(when(tokenRequest(), answer(200, { access_token: "same", token_type: "Bearer", refresh_token: "same, too" })));
  clock.advance(minutes(61));
  expect([await post(auth), handler.opened, auth.lastError?.code]).toEqual([401, 1, "token_refused"]);
});

test.each([
  ["nbf", { nbf: 120 }, true],
  ["iat", { iat: 120 }, true],
  ["neither in the future", { iat: -120, nbf: -120 }, false],
])("a new token that is refused for good, with %s: the clocks are named where they differ", async (_what, offsets, isNamed) => {
  const { auth, as, clock } = await lagging(Infinity, { options: { loginTimeout: 60_000 } });
  const claims = Object.fromEntries(Object.entries(offsets).map(([name, s]) => [name, Math.floor(clock.now() / 1000) + 3660 + s]));
  const token = () => new UnsecuredJWT({ ...claims, jti: crypto.randomUUID() }).encode();
  const issue: Hook = (...exchange) => answer(200, { access_token: token(), token_type: "Bearer", refresh_token: "r" })(...exchange);
  as.intercept(when(tokenRequest(), issue));
  clock.advance(minutes(61));
  expect(await post(auth)).toBe(401);
  expect(auth.lastError).toMatchObject({ code: "token_refused" });
  expect(/valid from .* on/.test(auth.lastError?.message ?? "")).toBe(isNamed);
  expect(/clocks/.test(auth.lastError?.hint ?? "")).toBe(isNamed);
});

describe("a program's token", () => {
  async function program(lagMs: number) {
    const clock = manualClock();
    const server = await machine.startServer({ authorizationServer: { accessTokenTtlSeconds: 3600 } });
    const { authorizationServer: as, mcpServer: mcp } = server;
    const { auth, call: whoami } = machine.program(server, { clock });
    mcp.intercept(refusingAtFirst(lagMs, clock));
    const call = async () => (await whoami()).status;
    return { as, mcp, auth, clock, call };
  }

  test.each([
    ["a moment", 300, [500]],
    ["two seconds", 2400, [500, 2000]],
  ])("at the first call and at expiry, %s: one token request each, all calls wait together", async (_what, lagMs, slept) => {
    const { as, clock, call } = await program(lagMs);
    for (const requests of [1, 2]) {
      expect(await tally(Array.from({ length: 50 }, call))).toEqual({ 200: 50 });
      expect([as.tokenRequests().length, clock.slept]).toEqual([requests, Array(requests).fill(slept).flat()]);
      clock.advance(minutes(61));
    }
  });

  test("one that is never taken: the 401, and the reason", async () => {
    const { as, auth, clock, call } = await program(Infinity);
    expect(await call()).toBe(401);
    expect([auth.lastError?.code, as.tokenRequests().length, clock.slept]).toEqual(["token_refused", 2, [500, 2000, 500, 2000]]);
  });
});
