/** The process that refreshes is stopped (Ctrl-Z, SIGSTOP): the others do not bypass its lock, and nothing is lost when it goes on. */
import { describe, expect, onTestFinished, test } from "vitest";
import { gate, tokenRequest } from "../fixture/index.ts";
import { minutes } from "../storm/support.ts";
import type { Child } from "./child.ts";
import { computer } from "./support.ts";

/** A program that was stopped while its refresh waits at the authorization server, or for its answer. */
async function stoppedRefresh(point: "before" | "after", settings: { hurry?: number } = {}) {
  const desk = await computer();
  await desk.logIn();
  const held = gate(tokenRequest("refresh_token"), point);
  desk.as.intercept(held.hook);
  const stopped = await desk.start({ aheadMs: minutes(3.5), ...settings });
  onTestFinished(() => stopped.signal("SIGCONT"));
  // At 3.5 of 5 minutes a call starts a refresh ahead.
  expect(await stopped.call(1)).toEqual({ 200: 1 });
  await held.reached(1);
  stopped.signal("SIGSTOP");
  return { ...desk, held, stopped };
}

const saw = (child: Child, type: string) => expect.poll(() => child.saw(type), { timeout: 45_000 }).toBeGreaterThan(0);

describe.each(["before", "after"] as const)("stopped %s the server has processed its refresh token", (point) => {
  test("others use their valid token, or fail within the bound; afterwards all go on with one refresh", async () => {
    const { as, held, stopped, start, expectAlive } = await stoppedRefresh(point);
    const valid = await start({ aheadMs: minutes(3.5) });
    expect(await valid.call(20)).toEqual({ 200: 20 });

    const expired = await start({ aheadMs: minutes(6), hurry: 20 });
    expect(await expired.call(5)).toEqual({ lock_timeout: 5 });
    // Whole, the bound is below the 60 s of the SDKs' requests.
    const bounds = expired.news.flatMap((piece) => (piece.news === "lock" ? [piece.lockTimeout] : []));
    expect(bounds).toEqual(bounds.map(() => 40_000));
    await expect(expired.token()).rejects.toThrow("lock_timeout");
    expect(await valid.call(1)).toEqual({ 200: 1 });
    expect(as.tokenRequests()).toHaveLength(1);

    stopped.signal("SIGCONT");
    held.open();
    await saw(stopped, "refresh.finished");
    expect(await expired.call(5)).toEqual({ 200: 5 });
    await saw(valid, "refresh.shared");
    expect(as.tokenRequests().map(({ status }) => status)).toEqual([200]);
    await expectAlive();
  });

  test("others wait for it: it goes on in time, and they take its result", async () => {
    const { as, held, stopped, startAll, expectAlive } = await stoppedRefresh(point);
    const children = await startAll(4, { aheadMs: minutes(6) });
    const calls = Promise.all(children.map((child) => child.call(5)));
    held.open();
    stopped.signal("SIGCONT");
    expect(await calls).toEqual(children.map(() => ({ 200: 5 })));
    expect(as.tokenRequests().map(({ status }) => status)).toEqual([200]);
    await expectAlive();
  });

  test("it is killed in its sleep: the next one refreshes at once", async () => {
    const { as, held, stopped, startAll, expectAlive } = await stoppedRefresh(point);
    // The answer of a killed process has nobody to go to.
    as.graceSeconds = 60;
    const children = await startAll(4, { aheadMs: minutes(6) });
    const calls = Promise.all(children.map((child) => child.call(5)));
    await stopped.kill();
    held.open();
    expect(await calls).toEqual(children.map(() => ({ 200: 5 })));
    expect(as.tokenRequests()).toHaveLength(2);
    await expectAlive();
  });
});

test("stopped for longer than it waits for answers, while the answer arrives: it takes it, and sends the used token to nobody", async () => {
  const hurry = 5;
  const { as, held, stopped, expectAlive } = await stoppedRefresh("after", { hurry });
  const since = performance.now();
  held.open();
  // A request has 10 s, of which this program makes two.
  await expect.poll(() => performance.now() - since, { timeout: 45_000 }).toBeGreaterThan(10_500 / hurry);
  stopped.signal("SIGCONT");
  await saw(stopped, "refresh.finished");
  expect(as.tokenRequests().map(({ status }) => status)).toEqual([200]);
  await expectAlive();
});
