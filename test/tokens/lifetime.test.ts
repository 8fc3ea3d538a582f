/** How long a token lives that the server does not say it of: as the token says of itself. */
import { UnsecuredJWT } from "jose";
import { describe, expect, test } from "vitest";
import { freshness } from "../../src/tokens/freshness.ts";
import { lifetimeOf } from "../../src/tokens/lifetime.ts";
import { manager, manualClock, minutes, post, startServer, userAtHand } from "../storm/support.ts";

const now = 1_800_000_000_000;
const seconds = now / 1000;
const jwt = (claims: Record<string, unknown>) => new UnsecuredJWT(claims).encode();
const year = 365 * 24 * 3600;

test.each<[rule: string, token: string, expiresIn: number | undefined, lifetimeMs: number | undefined, isAssumed: boolean]>([
  ["what the answer says comes first", jwt({ iat: seconds, exp: seconds + 60 }), 30, 30_000, false],
  ["from `iat` to `exp`", jwt({ iat: seconds, exp: seconds + 60 }), undefined, 60_000, true],
  ["… counted from its receipt, whatever this machine's clock says", jwt({ iat: 1000, exp: 1060 }), undefined, 60_000, true],
  ["without `iat`: from now on", jwt({ exp: seconds + 60 }), undefined, 60_000, true],
  ["… but not into the past", jwt({ exp: seconds - 60 }), undefined, undefined, false],
  ["an end before its beginning is none", jwt({ iat: seconds, exp: seconds }), undefined, undefined, false],
  ["a year is believed", jwt({ iat: seconds, exp: seconds + year }), undefined, year * 1000, true],
  ["more is not", jwt({ iat: seconds, exp: seconds + 2 * year }), undefined, undefined, false],
  ["no `exp`", jwt({ iat: seconds }), undefined, undefined, false],
  ["no JWT", "opaque", undefined, undefined, false],
])("%s", (_rule, token, expiresIn, lifetimeMs, isAssumed) => {
  expect(lifetimeOf(token, expiresIn, now)).toEqual({
    ...(lifetimeMs && { expiresAt: now + lifetimeMs }),
    ...(isAssumed && { expiryIsAssumed: true }),
  });
});

test.each([
  // seconds, freshness
  [0, "valid"],
  [2000, "ahead"],
  [3541, "leeway"],
  [3600, "leeway"],
  [9e9, "leeway"],
] as const)("%d s after its issue a token that says an hour is %s", (age, expected) => {
  const token = { accessToken: "x", issuedAt: now, ...lifetimeOf(jwt({ iat: seconds, exp: seconds + 3600 }), undefined, now) };
  expect(freshness(token, now + age * 1000, 0)).toBe(expected);
});

describe("a login whose server does not say how long its tokens live", () => {
  /** The fixture's tokens are JWTs with `iat` and `exp`. */
  async function silent() {
    const server = await startServer({ authorizationServer: { accessTokenTtlSeconds: 3600 } });
    const [clock, loginHandler] = [manualClock(), userAtHand()];
    const fetch: typeof globalThis.fetch = async (input, init) => {
      const response = await globalThis.fetch(input, init);
      if (!String(input).endsWith("/token")) return response;
      const { expires_in: _, ...body } = (await response.json()) as Record<string, unknown>;
      return Response.json(body, { status: response.status });
    };
    const { auth } = manager(server, { clock, loginHandler, fetch });
    expect(await post(auth)).toBe(200);
    return { auth, as: server.authorizationServer, mcp: server.mcpServer, clock, loginHandler };
  }

  test("is refreshed before the token expires: a server that takes guests never sees an expired one", async () => {
    const { auth, as, clock } = await silent();
    const first = await auth.getAccessToken();
    clock.advance(minutes(61));
    expect(await auth.getAccessToken()).not.toBe(first);
    expect(as.tokenRequests("refresh_token")).toHaveLength(1);
  });

  test("keeps the token when it cannot be refreshed: it is sent until the server refuses it", async () => {
    const { auth, as, clock, loginHandler, mcp } = await silent();
    const first = await auth.getAccessToken();
    as.endLogins();
    clock.advance(minutes(61));
    for (let call = 0; call < 3; call++) expect([await auth.getAccessToken(), await post(auth)]).toEqual([first, 200]);
    expect([as.tokenRequests("refresh_token").length, loginHandler.opened]).toEqual([1, 1]);
    mcp.revokeAll();
    expect([await post(auth), loginHandler.opened]).toEqual([200, 2]);
  });
});
