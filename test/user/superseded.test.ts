/** A logout ends every login that this one has replaced, not only the newest; nothing of theirs is revoked earlier. */
import { inspect } from "node:util";
import { describe, expect, test } from "vitest";
import { type Clock, MemoryStore, type StoredRecord, type TokenManager } from "../../src/index.ts";
import { answer, closeBefore, hang, logInByHand, type Matcher, type ProtectedServer, tokenRequest, when } from "../fixture/index.ts";
import { manager, manualClock, minutes, seed, seeded, startServer, userAtHand } from "../storm/support.ts";

const revocations: Matcher = ({ path }) => path === "/revoke";
const notRevoked = { refreshTokenRevoked: false, accessTokenRevoked: false };

/** A login, and a step-up to `mcp:write` that has replaced it. */
async function steppedUp() {
  const parts = await seeded();
  const watched = manager(parts.server, { store: parts.store, clock: parts.clock, loginHandler: userAtHand() });
  await watched.auth.authorize({ scopes: ["mcp:write"] });
  const key = `tokens/default/${parts.server.url}`;
  const record = async () => (await parts.store.get(key)) as (StoredRecord & { refreshToken?: string; superseded?: unknown }) | undefined;
  return { ...parts, ...watched, key, record };
}

/** Tokens of one more login at a server, as `setTokens` takes them. */
async function given({ authorizationServer: as, mcpServer: { resource } }: ProtectedServer) {
  return { ...(await logInByHand(as, { resource, scope: "mcp:read" })), issuer: as.issuer, resource };
}

test("after a step-up both logins are alive until the logout, which ends both: the newest first, each as its own client", async () => {
  const { auth, as, tokens, record, store } = await steppedUp();
  expect([as.liveLogins, as.requests.filter(revocations)]).toEqual([2, []]);
  const { refreshToken, superseded } = (await record()) ?? {};
  expect(superseded).toMatchObject([{ refreshToken: tokens.refreshToken }]);
  expect(await auth.logout()).toMatchObject({ wasLoggedIn: true, refreshTokenRevoked: true });
  const asked = as.requests.filter(revocations).map(({ body }) => new URLSearchParams(body));
  expect(asked.filter((form) => form.get("token_type_hint") === "refresh_token").map((form) => form.get("token"))).toEqual([
    refreshToken,
    tokens.refreshToken,
  ]);
  expect(asked.at(-1)?.get("client_id")).toBe(tokens.clientId);
  expect([as.liveLogins, await store.keys("tokens/")]).toEqual([0, []]);
});

test("two step-ups, with refreshes between, by different processes", async () => {
  const { server, as, store, clock, auth } = await steppedUp();
  clock.shift(minutes(60));
  await auth.getAccessToken();
  const other = manager(server, { store, clock, loginHandler: userAtHand() }).auth;
  as.grantScopes = (scopes) => scopes;
  await other.authorize({ scopes: ["mcp:write", "mcp:admin"] });
  clock.shift(minutes(60));
  await other.getAccessToken();
  expect(as.liveLogins).toBe(3);
  expect(await manager(server, { store, clock }).auth.logout()).toMatchObject({ refreshTokenRevoked: true });
  expect(as.liveLogins).toBe(0);
});

test("a token that a refresh has rotated is spent: it is not kept", async () => {
  const { store, clock, server, as } = await seeded();
  const { auth } = manager(server, { store, clock });
  clock.shift(minutes(60));
  await auth.getAccessToken();
  expect(as.tokenRequests("refresh_token")).toHaveLength(1);
  expect((await store.get(`tokens/default/${server.url}`))?.superseded).toBeUndefined();
});

test("tokens that are given over a login", async () => {
  const { server, as, auth } = await steppedUp();
  await auth.setTokens(await given(server));
  expect(as.liveLogins).toBe(3);
  await auth.logout();
  expect(as.liveLogins).toBe(0);
});

test("the same tokens given twice are in use, not superseded", async () => {
  const { server, auth, record } = await steppedUp();
  const tokens = await given(server);
  await auth.setTokens(tokens);
  const before = (await record())?.superseded;
  await auth.setTokens(tokens);
  expect((await record())?.superseded).toEqual(before);
});

test("of many, the newest ten are kept", async () => {
  const { server, auth, record, tokens } = await steppedUp();
  const all = [];
  for (let n = 0; n < 12; n++) {
    const next = await given(server);
    all.push(next.refreshToken);
    await auth.setTokens(next);
  }
  const kept = (await record())?.superseded as { refreshToken: string }[];
  expect(kept.map(({ refreshToken }) => refreshToken)).toEqual(all.slice(1, 11));
  expect(JSON.stringify(kept)).not.toContain(tokens.refreshToken);
});

/** A login that the server has refused, so that only what it had replaced is left. */
async function refused() {
  const parts = await steppedUp();
  const { auth, as, clock } = parts;
  as.intercept(when(tokenRequest("refresh_token"), answer(400, { error: "invalid_grant" })));
  clock.shift(24 * minutes(60));
  expect(await auth.getAccessToken().catch(({ code }) => code)).toBe("login_required");
  return parts;
}

test("a login that was refused is none any more; what it had replaced is still ended, by this process or another", async () => {
  for (const isOther of [false, true]) {
    const { server, store, auth, as, clock, tokens, record } = await refused();
    expect(await record()).toMatchObject({ superseded: [{ refreshToken: tokens.refreshToken }] });
    const leaving = isOther ? manager(server, { store, clock }).auth : auth;
    expect(await leaving.status()).toMatchObject({ isLoggedIn: false, canRefresh: false });
    expect(await leaving.accounts()).toEqual([]);
    expect(await leaving.getAccessToken().catch(({ code }) => code)).toBe("login_required");
    expect(as.tokenRequests("refresh_token")).toHaveLength(1);
    expect(await leaving.logout()).toMatchObject({ wasLoggedIn: false, refreshTokenRevoked: true, accessTokenRevoked: false });
    expect(as.requests.filter(revocations).map(({ body }) => new URLSearchParams(body).get("token"))).toEqual([tokens.refreshToken]);
    expect(await store.keys("tokens/")).toEqual([]);
  }
});

test("a login after a refused one carries on what is left", async () => {
  const { auth, record, tokens, as } = await refused();
  expect(await auth.authorize()).toBe("authorized");
  expect((await record())?.superseded).toMatchObject([{ refreshToken: tokens.refreshToken }]);
  expect(await auth.logout()).toMatchObject({ wasLoggedIn: true, refreshTokenRevoked: true });
  // The one that was refused by the test alone.
  expect(as.liveLogins).toBe(1);
});

test("a logout everywhere ends those of other accounts, also where nothing else is left", async () => {
  const { server, store, as, clock } = await refused();
  const { auth } = manager(server, { store, clock, account: "work", loginHandler: userAtHand() });
  await auth.authorize();
  await auth.setTokens(await given(server));
  expect(await auth.logoutEverywhere()).toMatchObject([
    { account: "work", wasLoggedIn: true, refreshTokenRevoked: true },
    { account: "default", wasLoggedIn: false, refreshTokenRevoked: true },
  ]);
  expect([as.liveLogins, await store.keys("tokens/")]).toEqual([1, []]);
});

describe("a server that says another resource identifier than before", () => {
  /** A login for the whole host, at a server that names a resource of its own since. */
  async function renamed(options: { with?: (host: string, store: MemoryStore) => Promise<unknown> } = {}) {
    const [server, store] = [await startServer(), new MemoryStore()];
    const host = new URL("/", server.url).href;
    const { auth } = manager(server, { store, loginHandler: userAtHand() });
    await auth.setTokens({ ...(await given(server)), resource: host });
    await options.with?.(host, store);
    return { server, store, auth, as: server.authorizationServer, host };
  }
  const logIn = (auth: TokenManager) => auth.authorize({ scopes: ["mcp:write"] });
  const give = async (auth: TokenManager, server: ProtectedServer) => auth.setTokens(await given(server));

  test.each<[way: string, replace: (auth: TokenManager, server: ProtectedServer) => Promise<unknown>]>([
    ["a login", logIn],
    ["tokens that are given", give],
  ])("%s: the former login is ended by the logout, and none is left", async (_way, replace) => {
    const { server, store, auth, as } = await renamed();
    await replace(auth, server);
    expect([as.liveLogins, await store.keys("tokens/")]).toEqual([2, [`tokens/default/${server.url}`]]);
    expect(await auth.logout()).toMatchObject({ refreshTokenRevoked: true });
    expect([as.liveLogins, await store.keys("tokens/")]).toEqual([0, []]);
  });

  test("another server URL that leads to the former login keeps it", async () => {
    const led = async (host: string, store: MemoryStore) => store.set(`index/default/${host}other`, { v: 1, resource: host });
    const { store, auth, as, server, host } = await renamed({ with: led });
    await logIn(auth);
    await auth.logout();
    expect([as.liveLogins, await store.keys("tokens/")]).toEqual([1, [`tokens/default/${host}`]]);
    await server.close();
  });

  test("tokens that are given for what another server URL leads to are found by this one as well", async () => {
    const { server, store, host } = await renamed();
    await store.set(`index/default/${host}other`, { v: 1, resource: host });
    const { auth } = manager(server, { store });
    await give(auth, server);
    const tokens = await given(server);
    await auth.setTokens({ ...tokens, resource: host });
    expect(await manager(server, { store }).auth.getAccessToken()).toBe(tokens.accessToken);
  });

  test("another account is nobody's former login", async () => {
    const led = async (host: string, store: MemoryStore) => store.set(`index/work/${host}mcp`, { v: 1, resource: host });
    const { store, auth, as } = await renamed({ with: led });
    await logIn(auth);
    await auth.logout();
    expect([as.liveLogins, await store.keys("tokens/")]).toEqual([0, []]);
  });

  test("one that cannot be read is left alone, and the user is logged in", async () => {
    const damage = async (host: string, store: MemoryStore) => store.set(`tokens/default/${host}`, { v: 1 });
    const { auth, store, server, host } = await renamed({ with: damage });
    await give(auth, server);
    expect(await store.keys("tokens/")).toEqual([`tokens/default/${host}`, `tokens/default/${server.url}`]);
  });

  test("one that was refreshed while the user logged in is in use: it stays", async () => {
    const { auth, store, server, host } = await renamed();
    const key = `tokens/default/${host}`;
    const refreshed = { ...(await store.get(key)), v: 1, refreshToken: "newer" } as const;
    const index = store.set.bind(store);
    store.set = async (name, record) => {
      await index(name, record);
      if (name.startsWith("index/")) await index(key, refreshed);
    };
    await give(auth, server);
    expect(await store.keys("tokens/")).toEqual([key, `tokens/default/${server.url}`]);
  });
});

/** A login at a server's present authorization server over one that another has issued. */
async function moved(clock?: Clock) {
  const [server, former] = [await startServer(), await startServer()];
  const store = new MemoryStore();
  const { auth } = manager(server, { store });
  await auth.setTokens({ ...(await given(former)), resource: server.mcpServer.resource });
  await seed(server, store);
  return { server, former, store, ...manager(server, { store, clock }) };
}

test("each token goes to the server that issued it, and to no other", async () => {
  const { server, former, auth } = await moved();
  expect(await auth.logout()).toMatchObject({ refreshTokenRevoked: true });
  expect([server.authorizationServer.liveLogins, former.authorizationServer.liveLogins]).toEqual([0, 0]);
  expect(former.authorizationServer.requests.filter(revocations)).toHaveLength(1);
});

test("a former server that cannot be reached keeps nothing here, and is said not to have confirmed", async () => {
  const { server, former, store, auth } = await moved();
  await former.close();
  expect(await auth.logout()).toMatchObject({ wasLoggedIn: true, refreshTokenRevoked: false });
  expect([server.authorizationServer.liveLogins, await store.keys("tokens/")]).toEqual([0, []]);
});

test("a former server that hangs holds the logout up for five seconds", async () => {
  const clock = manualClock();
  const { former, store, auth } = await moved(clock);
  former.authorizationServer.intercept(hang);
  const leaving = auth.logout();
  await expect.poll(() => clock.timers).toContain(5000);
  clock.advance(5000);
  expect(await leaving).toMatchObject({ wasLoggedIn: true, refreshTokenRevoked: false });
  expect(await store.keys("tokens/")).toEqual([]);
});

test("one refresh token that is not revoked is enough to say so", async () => {
  const { auth, as, tokens } = await steppedUp();
  as.intercept(when(({ path, body }) => path === "/revoke" && body.includes(String(tokens.refreshToken)), closeBefore));
  expect(await auth.logout()).toMatchObject({ wasLoggedIn: true, ...notRevoked });
  expect(as.liveLogins).toBe(1);
});

test.each([
  ["absent, as older versions leave it", undefined],
  ["no list", "x"],
  ["a list of other things", [null, 1, { issuer: "https://as.example", client: {}, refreshToken: "r" }]],
])("superseded tokens that are %s count as none", async (_what, superseded) => {
  const { server, store, key, clock, as } = await steppedUp();
  const { superseded: _, ...record } = (await store.get(key)) as StoredRecord & { superseded?: unknown };
  await store.set(key, superseded === undefined ? record : { ...record, superseded });
  const { auth } = manager(server, { store, clock });
  expect(await auth.getAccessToken()).toBeTruthy();
  expect(await auth.logout()).toMatchObject({ wasLoggedIn: true, refreshTokenRevoked: true });
  expect(as.liveLogins).toBe(1);
});

test("superseded tokens are in no event, result or printed manager", async () => {
  const { auth, events, tokens } = await steppedUp();
  const seen = inspect([auth, await auth.status(), await auth.accounts(), await auth.logout(), events], { depth: null });
  expect(seen).not.toContain(tokens.refreshToken);
  expect(seen).toContain("logout.finished");
});
