/** The folder of a store is deleted while programs use it: whoever has the login in memory puts it back. */
import { expect, test } from "vitest";
import { gate, tokenRequest } from "../fixture/index.ts";
import { failure, manager, manualClock, minutes, seed, startServer, userAtHand } from "../storm/support.ts";
import { disk } from "../tokens/disk.ts";

async function loggedIn(options: Parameters<typeof manager>[1] = {}) {
  const server = await startServer({ authorizationServer: { accessTokenTtlSeconds: 3600 } });
  const clock = manualClock();
  const place = disk();
  const tokens = await seed(server, place.open(), { clock });
  const made = manager(server, { store: place.open(), clock, ...options });
  expect(await made.auth.getAccessToken()).toBe(tokens.accessToken);
  /** A program that starts now. */
  const another = () => manager(server, { store: place.open(), clock }).auth;
  return { server, as: server.authorizationServer, clock, tokens, another, ...place, ...made };
}

test("the next refresh stores the login again, and the next program finds it", async () => {
  const { as, auth, another, clock, deleteFolder, types } = await loggedIn();
  await deleteFolder();
  expect((await failure(another().getAccessToken())).code).toBe("login_required");
  clock.advance(minutes(61));
  const token = await auth.getAccessToken();
  expect(types()).toEqual(["refresh.started", "refresh.finished"]);
  expect(await another().getAccessToken()).toBe(token);
  expect([as.tokenRequests().length, as.liveLogins]).toEqual([1, 1]);
});

test("the refresh token is stored again before it is sent: a program that dies with the answer leaves the note behind", async () => {
  const { server, as, auth, clock, open, deleteFolder } = await loggedIn();
  const held = gate(tokenRequest("refresh_token"));
  as.intercept(held.hook);
  await deleteFolder();
  clock.advance(minutes(61));
  const refreshing = auth.getAccessToken();
  await held.reached(1);
  expect(await open().get(`tokens/default/${server.url}`)).toMatchObject({ refreshStartedAt: clock.now() });
  held.open();
  await refreshing;
});

test("deleted in the middle of a refresh: the new tokens are stored in the new folder, and nothing is revoked", async () => {
  const { as, auth, another, clock, deleteFolder, types } = await loggedIn();
  const held = gate(tokenRequest("refresh_token"));
  as.intercept(held.hook);
  clock.advance(minutes(61));
  const refreshing = auth.getAccessToken();
  await held.reached(1);
  await deleteFolder();
  held.open();
  const token = await refreshing;
  expect(types()).toContain("tokens.unsaved");
  await expect.poll(() => clock.timers.length).toBeGreaterThan(0);
  clock.advance(minutes(1));
  await expect.poll(types).toContain("tokens.saved");
  expect(await another().getAccessToken()).toBe(token);
  expect([as.tokenRequests().length, as.liveLogins]).toEqual([1, 1]);
});

test("`authorize()` with an expired token opens no window: the login in memory can be refreshed", async () => {
  const handler = userAtHand();
  const { as, auth, clock, deleteFolder } = await loggedIn({ loginHandler: handler });
  await deleteFolder();
  clock.advance(minutes(61));
  expect(await auth.authorize()).toBe("authorized");
  expect([handler.started, as.tokenRequests().length]).toEqual([0, 1]);
});

test("a logout revokes what is in memory", async () => {
  const { as, auth, another, deleteFolder } = await loggedIn();
  await deleteFolder();
  expect(await auth.logout()).toMatchObject({ wasLoggedIn: true, refreshTokenRevoked: true });
  expect([as.liveLogins, (await another().status()).isLoggedIn]).toEqual([0, false]);
});

test("a login that somebody has made since is used, not overwritten", async () => {
  const { server, as, auth, clock, open, deleteFolder } = await loggedIn();
  await deleteFolder();
  clock.advance(minutes(61));
  const newer = await seed(server, open(), { clock });
  expect(await auth.getAccessToken()).toBe(newer.accessToken);
  expect(as.tokenRequests()).toHaveLength(0);
});

test("a login that is missing in a store that was not lost has ended", async () => {
  const { as, auth, another, clock } = await loggedIn();
  await another().logout();
  clock.advance(minutes(61));
  expect((await failure(auth.getAccessToken())).code).toBe("login_required");
  expect(as.tokenRequests()).toHaveLength(0);
});
