/**
 * A late timer is not a time-out: while a program cannot run, because its event loop is blocked or it was stopped, answers
 * arrive that are read before anything is given up. The server ends a login whose refresh token is used twice.
 */
import { expect, onTestFinished, test } from "vitest";
import { gate, tokenRequest } from "../fixture/index.ts";
import { minutes } from "../storm/support.ts";
import { moments } from "./moments.ts";
import type { ProgramSettings } from "./program.ts";
import { computer } from "./support.ts";

/** All times are shorter by this factor: the limit of a token request is 6 s. `FULL_LENGTH=1` takes them whole. */
const hurry = process.env.FULL_LENGTH ? 1 : 5;
/** Longer than any limit. */
const minute = 60_000 / hurry;

/** A program whose token has expired. */
async function expired(settings: Partial<ProgramSettings>) {
  const { logIn, start, as, expectAlive } = await computer();
  await logIn();
  return { program: await start({ aheadMs: minutes(6), hurry, tellLocks: false, ...settings }), as, expectAlive };
}

test("a program is kept from running for a minute at any moment of a refresh: it is sent once, and nothing is lost", async () => {
  const all: { name: string; run: () => Promise<object>; expectAlive: () => Promise<void> }[] = [];
  for (const at of moments) {
    const { program, as, expectAlive } = await expired({ block: { at, ms: minute } });
    const run = async () => ({ outcomes: await program.call(3), refreshes: as.tokenRequests("refresh_token") });
    all.push({ name: `blocked at: ${at}`, run, expectAlive });
  }
  for (const point of ["before", "after"] as const) {
    const { program, as, expectAlive } = await expired({});
    const held = gate(tokenRequest("refresh_token"), point);
    as.intercept(held.hook);
    onTestFinished(() => program.signal("SIGCONT"));
    const run = async () => {
      const calls = program.call(3);
      await held.reached(1);
      program.signal("SIGSTOP");
      held.open();
      await new Promise((resolve) => setTimeout(resolve, minute));
      program.signal("SIGCONT");
      return { outcomes: await calls, refreshes: as.tokenRequests("refresh_token") };
    };
    all.push({ name: `stopped ${point} the answer`, run, expectAlive });
  }
  const began = Date.now();
  // Side by side: a program that does not run costs nothing.
  const found = await Promise.all(all.map(async ({ name, run }) => ({ name, ...(await run()), tookLong: Date.now() - began >= minute })));
  const right = all.map(({ name }) => ({
    name,
    outcomes: { 200: 3 },
    refreshes: [expect.objectContaining({ status: 200 })],
    tookLong: true,
  }));
  expect(found).toEqual(right);
  for (const { expectAlive } of all) await expectAlive();
}, 300_000);
