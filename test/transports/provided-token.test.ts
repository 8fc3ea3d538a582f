/** What the SDKs' `authProvider` is made of: how long it waits and pauses, by its clock. */
import { describe, expect, test } from "vitest";
import { McpAuthError, type McpAuthErrorCode } from "../../src/index.ts";
import { ProvidedToken, type TokenSource } from "../../src/transports/sdk/provided-token.ts";
import { manualClock, minutes } from "../storm/support.ts";

/** A source whose login ends as the test says. */
function source(parts: Partial<TokenSource> = {}) {
  const counts = { logins: 0, challenges: 0 };
  const auth: TokenSource & { token?: string } = {
    serverUrl: new URL("https://mcp.example/mcp"),
    headers: async () => ({}),
    async onChallenge() {
      counts.challenges++;
      return "retry";
    },
    getAccessToken: () => (auth.token === undefined ? Promise.reject(new McpAuthError("login_required")) : Promise.resolve(auth.token)),
    ...parts,
  };
  const { authorize } = parts;
  if (authorize) {
    auth.authorize = (options) => {
      counts.logins++;
      return authorize(options);
    };
  }
  return { auth, counts };
}

const refusing = (code: McpAuthErrorCode) => () => Promise.reject(new McpAuthError(code));

describe("after a login that failed", () => {
  test.each([
    // how far the clock moves, logins
    ["at once", 0, 1],
    ["a moment before a minute is over", minutes(1) - 1, 1],
    ["a minute later", minutes(1), 2],
    ["after the clock was put back by an hour", -minutes(60), 2],
  ])("%s", async (_name, ms, logins) => {
    const clock = manualClock();
    const { auth, counts } = source({ authorize: refusing("authorization_denied") });
    const provided = new ProvidedToken(auth, { clock });
    expect(await provided.get()).toBeUndefined();
    clock.jump(ms);
    expect(await provided.get()).toBeUndefined();
    expect(counts.logins).toBe(logins);
    await expect(provided.onRefused()).rejects.toMatchObject({ code: "authorization_denied" });
  });
});

test("a login is waited for as long as the source says, by the clock; then it is pending, and asked for again", async () => {
  const clock = manualClock();
  const waits = ({ signal }: { signal?: AbortSignal } = {}) =>
    new Promise<"authorized">((_, reject) => signal?.addEventListener("abort", () => reject(signal.reason)));
  const { auth, counts } = source({ authorize: waits, loginPendingTimeout: 7000 });
  const provided = new ProvidedToken(auth, { clock });
  const token = provided.get();
  await expect.poll(() => clock.timers).toEqual([7000]);
  clock.advance(7000);
  expect(await token).toBeUndefined();
  expect(clock.timers).toEqual([]);
  await expect(provided.onRefused()).rejects.toMatchObject({ code: "login_pending", serverUrl: "https://mcp.example/mcp" });
  void provided.get();
  await expect.poll(() => counts.logins).toBe(2);
});

describe("a refusal after the token has changed", () => {
  test.each([
    // how far the clock moves, refusals that reach the source
    ["at once: of the old one", 0, 0],
    ["a moment before 30 s are over", 29_999, 0],
    ["after 30 s: of this one", 30_000, 1],
    ["after the clock was put back by an hour", -minutes(60), 1],
  ])("%s", async (_name, ms, challenges) => {
    const clock = manualClock();
    const { auth, counts } = source();
    const provided = new ProvidedToken(auth, { clock });
    for (auth.token of ["one", "two"]) expect(await provided.get()).toBe(auth.token);
    clock.jump(ms);
    await provided.onRefused();
    expect(counts.challenges).toBe(challenges);
  });
});
