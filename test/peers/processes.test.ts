/** What users of other clients saw go wrong, as tests named by what they saw: where several processes share a login. */
import { expect, test } from "vitest";
import { answer, refreshByHand, tokenRequest, when } from "../fixture/index.ts";
import { computer } from "../processes/support.ts";
import { minutes } from "../storm/support.ts";

test("several processes refresh the same rotating token, and the login is lost, some days several times", async () => {
  const { as, logIn, startAll, windows, expectAlive } = await computer();
  await logIn();
  const children = await startAll(4, { interactive: true });
  const rounds = 5;
  for (let round = 1; round <= rounds; round++) {
    // Just expired, once in each round.
    await Promise.all(children.map((child) => child.setAhead(minutes(5.1 * round))));
    expect(await Promise.all(children.map((child) => child.call(5)))).toEqual(children.map(() => ({ 200: 5 })));
  }
  expect(as.tokenRequests().map(({ status }) => status)).toEqual(Array.from({ length: rounds }, () => 200));
  expect(windows()).toEqual([]);
  for (const child of children) await child.close();
  await expectAlive(minutes(5.1 * rounds));
});

test("the loser of a refresh race deletes the winner's new tokens", async () => {
  const { as, logIn, start, store, record, server, windows } = await computer();
  const stolen = await logIn();
  const loser = await start({ aheadMs: minutes(6), interactive: true });
  const key = `tokens/default/${server.url}`;
  // Another program, which knows no locks, refreshes and stores its tokens while the loser's request is on its way.
  let winner = "";
  as.intercept(
    when(
      tokenRequest("refresh_token"),
      async (request, response) => {
        const { tokens } = await refreshByHand(as, stolen);
        winner = tokens?.accessToken ?? "";
        const { refreshToken, expiresIn = 0 } = tokens ?? {};
        const now = Date.now() + minutes(6);
        await store().set(key, {
          ...(await record()),
          v: 1,
          accessToken: winner,
          refreshToken,
          issuedAt: now,
          expiresAt: now + expiresIn * 1000,
        });
        return answer(400, { error: "invalid_grant" })(request, response);
      },
      1,
    ),
  );
  expect(await loser.call(5)).toEqual({ 200: 5 });
  expect(await loser.token()).toBe(winner);
  expect(await record()).toMatchObject({ accessToken: winner, refreshToken: expect.any(String) });
  expect([windows(), as.liveLogins]).toEqual([[], 1]);
});

test("the expiry is forgotten when tokens are loaded from disk: the first call of each new process fails", async () => {
  const { as, mcp, logIn, startAll } = await computer();
  await logIn();
  const children = await startAll(3, { aheadMs: minutes(6) });
  for (const child of children) expect(await child.call(1)).toEqual({ 200: 1 });
  expect(mcp.requests.filter(({ status }) => status === 401)).toEqual([]);
  expect(as.tokenRequests()).toHaveLength(1);
});

test("each window of an editor opens a login page of its own at its start", async () => {
  const { logIn, startAll, windows } = await computer();
  await logIn();
  const children = await startAll(6, { aheadMs: minutes(6), interactive: true });
  expect(await Promise.all(children.map((child) => child.authorize()))).toEqual(children.map(() => "authorized"));
  expect(windows()).toEqual([]);
});
