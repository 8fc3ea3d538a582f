/** DESIGN's rule 8: logout revokes what it can, deletes in any case, and says what happened. */
import { expect, test } from "vitest";
import { answer, closeBefore, type Matcher, when } from "../fixture/index.ts";
import { failure, manager, seeded } from "../storm/support.ts";

const revocations: Matcher = ({ path }) => path === "/revoke";

test("the refresh token first, then the access token, each with its hint; then both are gone", async () => {
  const { server, as, store, tokens } = await seeded();
  const { auth, events } = manager(server, { store });
  const result = await auth.logout();
  expect(result).toMatchObject({ wasLoggedIn: true, refreshTokenRevoked: true });
  const asked = as.requests.filter(revocations).map(({ body }) => Object.fromEntries(new URLSearchParams(body)));
  expect(asked).toEqual([
    expect.objectContaining({ token: tokens.refreshToken, token_type_hint: "refresh_token" }),
    expect.objectContaining({ token: tokens.accessToken, token_type_hint: "access_token" }),
  ]);
  expect(as.liveLogins).toBe(0);
  expect(await store.keys("tokens/")).toEqual([]);
  expect((await failure(auth.getAccessToken())).code).toBe("login_required");
  expect(events.map(({ type }) => type)).toEqual(["tokens.deleted", "logout.finished"]);
});

test.each([
  ["refuses to revoke", answer(400, { error: "unsupported_token_type" })],
  ["cannot be reached", closeBefore],
])("a server that %s: deleted here all the same, and said so", async (_what, fault) => {
  const { server, as, store } = await seeded();
  as.intercept(when(revocations, fault));
  const { auth } = manager(server, { store });
  expect(await auth.logout()).toEqual({ account: "default", wasLoggedIn: true, refreshTokenRevoked: false, accessTokenRevoked: false });
  expect(await store.keys("tokens/")).toEqual([]);
});

test("without a login there is nothing to do", async () => {
  const { server, as } = await seeded();
  const { auth, events } = manager(server);
  expect(await auth.logout()).toEqual({ account: "default", wasLoggedIn: false, refreshTokenRevoked: false, accessTokenRevoked: false });
  expect([as.requests, events]).toEqual([[], []]);
});
