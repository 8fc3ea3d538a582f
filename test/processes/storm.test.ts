/** Many processes, one login: it is refreshed once, never lost, and no call fails. */
import { describe, expect, test } from "vitest";
import { minutes } from "../storm/support.ts";
import { Random } from "./random.ts";
import { computer } from "./support.ts";

const callsEach = 20;

/** Calls of all programs, which begin at once or within so many ms. */
async function storm(programs: number, { expired, graceSeconds, spreadMs }: { expired: boolean; graceSeconds: number; spreadMs: number }) {
  const { as, mcp, logIn, startAll, expectAlive } = await computer({ authorizationServer: { graceSeconds } });
  await logIn();
  const children = await startAll(programs, { aheadMs: expired ? minutes(6) : 0 });
  if (!expired) mcp.revokeAll();

  const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 32));
  const random = new Random(seed);
  const delays = children.map(() => random.below(spreadMs));
  if (spreadMs > 0) console.log(`SEED=${seed}: begun after ${delays.map(Math.round).join(", ")} ms`);
  const outcomes = await Promise.all(
    children.map(async (child, i) => {
      await new Promise((resolve) => setTimeout(resolve, delays[i]));
      return child.call(callsEach);
    }),
  );

  expect(outcomes).toEqual(children.map(() => ({ 200: callsEach })));
  expect(as.tokenRequests().map(({ status }) => status)).toEqual([200]);
  await expectAlive();
}

describe.each([
  ["a server that ends the login when a refresh token is used twice", 0],
  ["a server with a grace window", 60],
])("20 calls of each process: one token request, no failed call, the login lives: %s", (_server, graceSeconds) => {
  test.each([
    [8, "at once, with an expired token", true, 0],
    [16, "at once, with an expired token", true, 0],
    [8, "within a second, with an expired token", true, 1000],
    [16, "within a second, with an expired token", true, 1000],
    [8, "at once, with a token that looks valid and is refused", false, 0],
    [16, "at once, with a token that looks valid and is refused", false, 0],
    [8, "within a second, with a token that looks valid and is refused", false, 1000],
  ])("%i processes %s", (programs, _how, expired, spreadMs) => storm(programs, { expired, graceSeconds, spreadMs }), 180_000);
});
