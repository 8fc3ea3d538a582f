/** DESIGN's rules 1 to 5 of tokens, with a clock that stands still and a server that can be told what to answer. */
import { describe, expect, test } from "vitest";
import { McpAuthError, MemoryStore, type StoredRecord, type TokenManager } from "../../src/index.ts";
import { answer, closeAfter, closeBefore, gate, type Hook, type ProtectedServer, tokenRequest, when } from "../fixture/index.ts";
import {
  codeOf,
  failure,
  type ManualClock,
  manager,
  manualClock,
  minutes,
  post,
  seed,
  startServer,
  tally,
  userAtHand,
  WatchedStore,
} from "../storm/support.ts";

/** A login with an hour to live, a manager that has read it, and a server that accepts its token as long as it lives. */
async function loggedIn(options: Parameters<typeof manager>[1] = {}, lifetimeSeconds = 3600) {
  const server = await startServer({ authorizationServer: { accessTokenTtlSeconds: lifetimeSeconds } });
  const store = new MemoryStore();
  const clock = manualClock();
  const tokens = await seed(server, store, { clock });
  const made = manager(server, { store, clock, ...options });
  expect(await made.auth.getAccessToken()).toBe(tokens.accessToken);
  return { server, as: server.authorizationServer, mcp: server.mcpServer, store, clock, tokens, ...made };
}

const refreshes = tokenRequest("refresh_token");
const refuse = answer(400, { error: "invalid_grant" });
const key = (server: ProtectedServer) => `tokens/default/${server.url}`;
const stored = async (store: MemoryStore, server: ProtectedServer) => (await store.get(key(server))) as Record<string, unknown> | undefined;

describe("rule 2: refresh ahead", () => {
  test("one that is refused deletes nothing, and is not tried again before the leeway", async () => {
    const { as, auth, store, server, clock, tokens, types, mcp } = await loggedIn();
    as.intercept(when(refreshes, refuse));
    clock.advance(minutes(40));
    expect(await auth.getAccessToken()).toBe(tokens.accessToken);
    await expect.poll(types).toContain("refresh.failed");
    for (let call = 0; call < 10; call++) expect(await auth.getAccessToken()).toBe(tokens.accessToken);
    expect(as.tokenRequests()).toHaveLength(1);
    expect(await stored(store, server)).toMatchObject({ accessToken: tokens.accessToken, refreshToken: tokens.refreshToken });
    expect(types()).not.toContain("tokens.deleted");
    expect(await post(auth)).toBe(200);

    // In the leeway it is believed: the refresh token goes, the access token serves until it expires.
    clock.advance(minutes(19.5));
    expect(await auth.getAccessToken()).toBe(tokens.accessToken);
    expect(as.tokenRequests()).toHaveLength(2);
    expect(await stored(store, server)).toMatchObject({ accessToken: tokens.accessToken });
    expect((await stored(store, server))?.refreshToken).toBeUndefined();
    clock.advance(minutes(1));
    const error = await failure(auth.getAccessToken());
    expect([error.code, codeOf(error.cause)]).toEqual(["login_required", "invalid_grant"]);
    expect(as.tokenRequests()).toHaveLength(2);
    expect(mcp.calls("add")).toHaveLength(1);
  });

  test("one that was refused is tried again after a 401, and then believed", async () => {
    const { as, auth, clock, types, mcp, store, server } = await loggedIn();
    as.intercept(when(refreshes, refuse));
    clock.advance(minutes(40));
    await auth.getAccessToken();
    await expect.poll(types).toContain("refresh.failed");
    mcp.revokeAll();
    expect(codeOf(await post(auth).catch((error: unknown) => error))).toBe("login_required");
    expect(as.tokenRequests()).toHaveLength(2);
    expect(await stored(store, server)).toBeUndefined();
  });

  test.each<[string, Hook]>([
    ["503", answer(503)],
    ["429", answer(429)],
    ["no answer", closeBefore],
  ])("one that fails by %s costs nothing, and is tried again after a while", async (_what, fault) => {
    const { as, auth, clock, tokens, types, store, server } = await loggedIn();
    const remove = as.intercept(when(refreshes, fault));
    clock.advance(minutes(40));
    expect(await auth.getAccessToken()).toBe(tokens.accessToken);
    await expect.poll(types).toContain("refresh.failed");
    const before = as.tokenRequests().length;
    expect(before).toBe(3);
    for (let call = 0; call < 10; call++) expect(await auth.getAccessToken()).toBe(tokens.accessToken);
    expect(as.tokenRequests()).toHaveLength(before);
    expect(await stored(store, server)).toMatchObject({ refreshToken: tokens.refreshToken });

    remove();
    clock.advance(minutes(1));
    expect(await auth.getAccessToken()).toBe(tokens.accessToken);
    await expect.poll(types).toContain("refresh.finished");
    expect(await auth.getAccessToken()).not.toBe(tokens.accessToken);
  });

  test("in the leeway a fault that passes costs nobody the token that is still good", async () => {
    const { as, auth, clock, tokens } = await loggedIn();
    as.intercept(when(refreshes, answer(503)));
    clock.advance(minutes(59.1));
    expect(await auth.getAccessToken()).toBe(tokens.accessToken);
    clock.advance(minutes(1));
    expect((await failure(auth.getAccessToken())).code).toBe("server_error");
  });

  test("whoever needs a token now joins a refresh ahead that is running", async () => {
    const { as, auth, clock, tokens } = await loggedIn();
    const held = gate(refreshes);
    as.intercept(held.hook);
    clock.advance(minutes(40));
    expect(await auth.getAccessToken()).toBe(tokens.accessToken);
    await held.reached(1);
    // Slept through: the time limit of the request counts on.
    clock.jump(minutes(21));
    const waiting = Array.from({ length: 10 }, () => auth.getAccessToken());
    held.open();
    const answers = new Set(await Promise.all(waiting));
    expect(answers.size).toBe(1);
    expect(answers).not.toContain(tokens.accessToken);
    expect(as.tokenRequests()).toHaveLength(1);
  });

  test.each([
    // minutes, refresh token left
    ["is still good: it keeps both tokens", 10, true],
    ["has come to its last minute: the refusal is believed", 19.5, false],
    ["has expired: it is believed, and nothing is left", 21, false],
  ])("one that is refused when the token %s", async (_rule, later, isLeft) => {
    const { as, auth, clock, store, server, tokens, types } = await loggedIn();
    const held = gate(refreshes);
    as.intercept(held.hook);
    as.intercept(when(refreshes, refuse));
    clock.advance(minutes(40));
    await auth.getAccessToken();
    await held.reached(1);
    clock.jump(minutes(later));
    held.open();
    await expect.poll(types).toContain("refresh.failed");
    await expect.poll(async () => (await stored(store, server))?.refreshStartedAt === undefined || isLeft).toBe(true);
    if (later > 20) expect(await stored(store, server)).toBeUndefined();
    else expect(await stored(store, server)).toMatchObject({ accessToken: tokens.accessToken });
    expect((await stored(store, server))?.refreshToken !== undefined).toBe(isLeft);
  });

  test("a refused refresh ahead is final for one who joins it with an expired token", async () => {
    const { as, auth, clock, store, server } = await loggedIn();
    const held = gate(refreshes);
    as.intercept(held.hook);
    as.intercept(when(refreshes, refuse));
    clock.advance(minutes(40));
    await auth.getAccessToken();
    await held.reached(1);
    // Slept through: the time limit of the request counts on.
    clock.jump(minutes(21));
    const waiting = failure(auth.getAccessToken());
    held.open();
    expect((await waiting).code).toBe("login_required");
    expect(await stored(store, server)).toBeUndefined();
    expect(as.tokenRequests()).toHaveLength(1);
  });
});

test.each<[what: string, options: { refreshScope?: boolean }, record: object, scope: string | undefined]>([
  ["by default none: the server keeps what was granted", {}, {}, undefined],
  ["where the server insists: those that were granted", { refreshScope: true }, { scope: "mcp:read" }, "mcp:read"],
  [
    "… or those that were asked for, where nobody knows",
    { refreshScope: true },
    { scope: undefined, requestedScopes: ["mcp:read"] },
    "mcp:read",
  ],
])("scopes in a refresh, %s", async (_what, options, parts, scope) => {
  const { as, clock, server, store } = await loggedIn();
  await store.set(key(server), { ...(await stored(store, server)), ...parts, v: 1 });
  const { auth } = manager(server, { store, clock, ...options });
  clock.advance(minutes(61));
  await auth.getAccessToken();
  expect(as.tokenRequests().map(({ body }) => new URLSearchParams(body).get("scope") ?? undefined)).toEqual([scope]);
});

describe("rule 5: answers", () => {
  test.each<[string, Hook, string, number[]]>([
    // the fault, its code, how long is waited between attempts at least and at most
    ["503", answer(503), "server_error", [250, 500, 500, 1000]],
    ["429", answer(429), "rate_limited", [250, 500, 500, 1000]],
    ["429 with Retry-After", answer(429, "", { "retry-after": "7" }), "rate_limited", [7000, 7000, 7000, 7000]],
    ["503 with Retry-After", answer(503, "", { "retry-after": "3" }), "server_error", [3000, 3000, 3000, 3000]],
    ["a connection that ends", closeBefore, "network_error", [0, 0, 500, 1000]],
    ["temporarily_unavailable", answer(400, { error: "temporarily_unavailable" }), "server_error", [250, 500, 500, 1000]],
  ])("%s: three tries, then the error; nothing is deleted", async (_what, fault, code, [least1 = 0, most1 = 0, least2 = 0, most2 = 0]) => {
    const { as, auth, clock, store, server, tokens } = await loggedIn();
    as.intercept(when(refreshes, fault));
    clock.advance(minutes(61));
    const error = await failure(auth.getAccessToken());
    expect([error.code, error.transient]).toEqual([code, true]);
    expect(as.tokenRequests()).toHaveLength(3);
    expect(clock.slept).toHaveLength(2);
    expect(clock.slept[0]).toBeGreaterThanOrEqual(least1);
    expect(clock.slept[0]).toBeLessThanOrEqual(most1);
    expect(clock.slept[1]).toBeGreaterThanOrEqual(least2);
    expect(clock.slept[1]).toBeLessThanOrEqual(most2);
    expect(await stored(store, server)).toMatchObject({ accessToken: tokens.accessToken, refreshToken: tokens.refreshToken });
  });

  test("a `Retry-After` beyond the refresh's own time is not waited for; the error tells it", async () => {
    const { as, auth, clock } = await loggedIn();
    as.intercept(when(refreshes, answer(429, "", { "retry-after": "120" })));
    clock.advance(minutes(61));
    const error = await failure(auth.getAccessToken());
    expect([error.code, error.retryAfterMs]).toEqual(["rate_limited", 120_000]);
    expect([as.tokenRequests().length, clock.slept]).toEqual([1, []]);
  });

  test("a server that asks for time is left alone for that time, also when the token has expired", async () => {
    const { as, auth, clock } = await loggedIn();
    as.intercept(when(refreshes, answer(429, "", { "retry-after": "120" }), 1));
    clock.advance(minutes(61));
    expect((await failure(auth.getAccessToken())).code).toBe("rate_limited");
    clock.advance(minutes(1));
    expect((await failure(auth.getAccessToken())).code).toBe("rate_limited");
    expect(as.tokenRequests()).toHaveLength(1);
    clock.advance(minutes(1.1));
    expect(await auth.getAccessToken()).toBeTruthy();
    expect(as.tokenRequests()).toHaveLength(2);
  });

  test.each([
    ["a day", () => 0, minutes(5)],
    ["two minutes, before the clock is put back", (clock: ManualClock) => clock.jump(-minutes(3)), 0],
  ])("a server that asks for %s is believed for five minutes at most", async (_what, disturb, waitMs) => {
    const { as, auth, clock } = await loggedIn();
    as.intercept(when(refreshes, answer(429, "", { "retry-after": waitMs ? "86400" : "120" }), 1));
    clock.advance(minutes(69));
    expect((await failure(auth.getAccessToken())).code).toBe("rate_limited");
    disturb(clock);
    clock.advance(waitMs);
    expect(await auth.getAccessToken()).toBeTruthy();
  });

  test.each<[string, Hook, number]>([
    ["one 503", answer(503), 1],
    ["two 503", answer(503), 2],
    ["a lost connection", closeBefore, 1],
  ])("%s, then success: nobody notices", async (_what, fault, times) => {
    const { as, auth, clock, types } = await loggedIn();
    as.intercept(when(refreshes, fault, times));
    clock.advance(minutes(61));
    expect(await tally(Array.from({ length: 20 }, () => post(auth)))).toEqual({ 200: 20 });
    expect(as.tokenRequests()).toHaveLength(times + 1);
    expect(types().filter((type) => type === "refresh.repeated")).toHaveLength(times);
  });

  test("sent but not answered, a server with a grace window: repeated at once, the login lives", async () => {
    const { as, auth, clock } = await loggedIn();
    as.graceSeconds = 30;
    as.intercept(when(refreshes, closeAfter, 1));
    clock.advance(minutes(61));
    expect(await post(auth)).toBe(200);
    expect([as.tokenRequests().length, clock.slept]).toEqual([2, [0]]);
    expect(as.liveLogins).toBe(1);
  });

  test("sent but not answered, a strict server: the one loss that no client can avoid ends in a login", async () => {
    const handler = userAtHand();
    const { as, auth, clock } = await loggedIn({ loginHandler: handler });
    as.intercept(when(refreshes, closeAfter, 1));
    clock.advance(minutes(61));
    expect(await post(auth)).toBe(200);
    expect(handler.opened).toBe(1);
    expect(as.liveLogins).toBe(1);
  });

  test("three refreshes over two minutes that failed by faults that should pass: then a user may be asked", async () => {
    const handler = userAtHand();
    const { as, auth, clock } = await loggedIn({ loginHandler: handler });
    as.intercept(when(refreshes, answer(503)));
    clock.advance(minutes(61));
    for (let failures = 0; failures < 3; failures++) {
      expect(codeOf(await post(auth).catch((error: unknown) => error))).toBe("server_error");
      expect(handler.opened).toBe(0);
      clock.advance(minutes(0.9));
    }
    clock.advance(minutes(0.5));
    expect(await post(auth)).toBe(200);
    expect(handler.opened).toBe(1);
  });

  test("a disk that is full for hours asks no user: a login could not be stored, either", async () => {
    const { server, store, clock, as } = await loggedIn();
    const [full, handler] = [new WatchedStore(store), userAtHand()];
    let isFull = true;
    full.beforeWrite = () => {
      if (isFull) throw new Error("no space left");
    };
    const { auth, types } = manager(server, { store: full, clock, loginHandler: handler });
    for (let failures = 0; failures < 5; failures++) {
      clock.advance(minutes(61));
      expect((await failure(post(auth))).code).toBe("store_failed");
    }
    isFull = false;
    clock.advance(minutes(1));
    expect(await post(auth)).toBe(200);
    // Not even tried: it would go on once there is space.
    expect(types()).not.toContain("login.failed");
    expect([handler.opened, as.tokenRequests().length]).toEqual([0, 1]);
  });

  test.each([
    ["the token endpoint fails: the user may get in all the same", 503, "authorized", 1],
    ["the server is reached by nobody", 0, "network_error", 0],
  ])("`authorize()` while %s", async (_what, status, outcome, opened) => {
    const handler = userAtHand();
    const { as, auth, clock } = await loggedIn({ loginHandler: handler });
    as.intercept(when(refreshes, status === 0 ? closeBefore : answer(status), 20));
    clock.advance(minutes(61));
    const end = await auth.authorize().catch(codeOf);
    expect([end, handler.opened]).toEqual([outcome, opened]);
  });

  test("without a user a long outage stays the fault that it is, and nothing is deleted", async () => {
    const { as, auth, clock, store, server, tokens } = await loggedIn();
    as.intercept(when(refreshes, answer(503), 15));
    clock.advance(minutes(61));
    for (let failures = 0; failures < 5; failures++) {
      expect((await failure(post(auth))).code).toBe("server_error");
      clock.advance(minutes(1));
    }
    expect(await stored(store, server)).toMatchObject({ refreshToken: tokens.refreshToken });
    expect(await post(auth)).toBe(200);
  });

  test.each<[string, Hook]>([
    ["invalid_target", answer(400, { error: "invalid_target" })],
    ["an empty 400", answer(400)],
    ["a firewall's 403", answer(403, "<h1>Blocked</h1>", { "content-type": "text/html" })],
    ["404", answer(404, "not here")],
    ["unauthorized_client", answer(400, { error: "unauthorized_client" })],
  ])("%s at a refresh deletes nothing: a user is asked; without one, that a login is needed, and why", async (_what, fault) => {
    const { as, auth, clock, store, server, tokens } = await loggedIn();
    as.intercept(when(refreshes, fault));
    clock.advance(minutes(61));
    const error = await failure(auth.getAccessToken());
    expect([error.code, codeOf(error.cause)]).toEqual(["login_required", "token_request_refused"]);
    expect(await stored(store, server)).toMatchObject({ accessToken: tokens.accessToken, refreshToken: tokens.refreshToken });

    const handler = userAtHand();
    const user = manager(server, { store, clock, loginHandler: handler });
    expect(await post(user.auth)).toBe(200);
    expect(handler.opened).toBe(1);
    expect((await stored(store, server))?.refreshToken).not.toBe(tokens.refreshToken);
  });

  test("`invalid_grant` deletes exactly what was refused; the registration stays", async () => {
    const handler = userAtHand();
    const { as, auth, clock, store, server, tokens, types } = await loggedIn({ loginHandler: handler });
    await auth.authorize({ scopes: ["mcp:read", "mcp:write"] });
    const registered = await store.keys("");
    as.endLogins();
    clock.advance(minutes(61));
    expect(codeOf(await auth.getAccessToken().catch((error: unknown) => error))).toBe("login_required");
    expect(types()).toContain("tokens.deleted");
    expect((await store.keys("")).sort()).toEqual(registered.sort());
    // Nobody has refused the token of the login before; the logout revokes it.
    const { accessToken, refreshToken, superseded } = (await stored(store, server)) ?? {};
    expect([accessToken, refreshToken, superseded]).toMatchObject([undefined, undefined, [{ refreshToken: tokens.refreshToken }]]);
    as.requests.length = 0;
    expect(await post(auth)).toBe(200);
    expect(as.registrations).toHaveLength(0);
  });

  test("no refresh token in the answer: the old one stays (REQ-TOK-05)", async () => {
    const { as, auth, clock, store, server, tokens } = await loggedIn();
    as.rotation = false;
    as.intercept(when(refreshes, answer(200, { access_token: "next", token_type: "Bearer", expires_in: 60 })));
    clock.advance(minutes(61));
    expect(await auth.getAccessToken()).toBe("next");
    expect(await stored(store, server)).toMatchObject({ accessToken: "next", refreshToken: tokens.refreshToken, scope: "mcp:read" });
    expect((await stored(store, server))?.refreshStartedAt).toBeUndefined();
  });

  test("an answer with a refresh token, but without an access token: what is there is kept and used", async () => {
    const { as, auth, clock, store, server } = await loggedIn();
    as.intercept(when(refreshes, answer(200, { refresh_token: "rotated" }), 1));
    as.intercept(
      when((request) => refreshes(request) && request.form.get("refresh_token") === "rotated", answer(200, { access_token: "next" })),
    );
    clock.advance(minutes(61));
    expect((await failure(auth.getAccessToken())).code).toBe("invalid_token_response");
    expect(await stored(store, server)).toMatchObject({ refreshToken: "rotated" });
    clock.advance(minutes(2));
    expect(await auth.getAccessToken()).toBe("next");
  });

  test("a refusal that did not last keeps nobody from refreshing: another process got a token with the same refresh token since", async () => {
    const { as, auth, clock, store, server } = await loggedIn({}, 30);
    as.rotation = false;
    as.intercept(when(refreshes, answer(403, "<h1>Blocked</h1>"), 1));
    clock.advance(minutes(0.5));
    expect((await failure(auth.getAccessToken())).code).toBe("login_required");
    clock.advance(minutes(1));
    const token = await manager(server, { store, clock }).auth.getAccessToken();
    expect(await auth.getAccessToken()).toBe(token);
    clock.advance(minutes(0.5));
    expect(await auth.getAccessToken()).not.toBe(token);
  });

  test("a user is not told to log in for an answer without an access token, also where another process had refreshed before", async () => {
    const { as, auth, clock, store, server } = await loggedIn();
    const other = manager(server, { store, clock });
    clock.advance(minutes(61));
    await other.auth.getAccessToken();
    clock.advance(minutes(61));
    as.intercept(when(refreshes, answer(200, { refresh_token: "rotated" })));
    expect((await failure(auth.getAccessToken())).code).toBe("invalid_token_response");
  });
});

describe("rule 3: once", () => {
  test("managers on one store: the first refreshes, the others use its result and say so", async () => {
    const { as, auth, clock, store, server } = await loggedIn();
    const others = Array.from({ length: 4 }, () => manager(server, { store, clock }));
    await Promise.all(others.map((other) => other.auth.getAccessToken()));
    clock.advance(minutes(61));
    const tokens = await Promise.all([auth, ...others.map((other) => other.auth)].map((each) => each.getAccessToken()));
    expect(new Set(tokens).size).toBe(1);
    expect(as.tokenRequests()).toHaveLength(1);
    expect(others.flatMap(({ types }) => types()).filter((type) => type === "refresh.shared")).toHaveLength(4);
    expect(as.liveLogins).toBe(1);
  });

  test("a token that is refused after another manager has replaced it: the new one is used", async () => {
    const { as, auth, clock, mcp, store, server, types } = await loggedIn();
    const other = manager(server, { store, clock });
    await other.auth.getAccessToken();
    mcp.revokeAll();
    expect([await post(auth), await post(other.auth)]).toEqual([200, 200]);
    expect(as.tokenRequests()).toHaveLength(1);
    expect([types().includes("refresh.finished"), other.types()]).toEqual([true, ["refresh.shared"]]);
  });

  test("a refusal that comes before the first request of a manager: the token in the store is refreshed", async () => {
    const { as, clock, store, server, tokens } = await loggedIn();
    const { auth } = manager(server, { store, clock });
    const used = { authorization: `Bearer ${tokens.accessToken}` };
    const request = { method: "POST", url: new URL(server.url) };
    expect(await auth.onChallenge({ status: 401 } as never, used, request)).toBe("retry");
    expect(as.tokenRequests("refresh_token")).toHaveLength(1);
  });

  test("the loser never deletes the winner's tokens", async () => {
    const { as, auth, clock, store, server } = await loggedIn();
    const winner = await auth.getAccessToken();
    clock.advance(minutes(61));
    // Somebody without our locks, such as an older version of the app, rotates the token while our refresh is refused.
    const held = gate(refreshes);
    as.intercept(held.hook);
    as.intercept(when(refreshes, refuse));
    const sent = auth.headers({ method: "POST", url: new URL(server.url) });
    const refused = auth.getAccessToken();
    await held.reached(1);
    const record = await stored(store, server);
    await store.set(key(server), {
      ...record,
      accessToken: "winner",
      refreshToken: "winner's",
      expiresAt: clock.now() + 3_600_000,
    } as unknown as StoredRecord);
    held.open();
    expect(await sent).toEqual({ authorization: "Bearer winner" });
    expect(await refused).toBe("winner");
    expect(await stored(store, server)).toMatchObject({ accessToken: "winner", refreshToken: "winner's" });
    expect(winner).not.toBe("winner");
  });

  test("the winner's token is refused as well: one more refresh, no window", async () => {
    const handler = userAtHand();
    const { as, auth, clock, store, server, mcp } = await loggedIn({ loginHandler: handler });
    await post(auth);
    mcp.revokeAll();
    const held = gate(refreshes);
    as.intercept(held.hook);
    as.intercept(when(refreshes, refuse, 1));
    const call = post(auth);
    await held.reached(1);
    const winner = await seed(server, new MemoryStore(), { clock });
    const { accessToken, refreshToken, clientId } = winner;
    const record = await stored(store, server);
    const client = { ...(record?.client as object), clientId };
    await store.set(key(server), { ...record, client, accessToken, refreshToken, issuedAt: clock.now() } as unknown as StoredRecord);
    mcp.revokeAll();
    held.open();
    expect([await call, handler.opened]).toEqual([200, 0]);
  });

  test("a refresh that finds its login deleted writes nothing and revokes what it got", async () => {
    const { as, auth, clock, store, server, types } = await loggedIn();
    clock.advance(minutes(61));
    const held = gate(refreshes, "after");
    as.intercept(held.hook);
    const refreshing = failure(auth.getAccessToken());
    await held.reached(1);
    await store.delete(key(server));
    held.open();
    expect((await refreshing).code).toBe("login_required");
    expect(await stored(store, server)).toBeUndefined();
    expect(as.requests.some(({ path }) => path.endsWith("/revoke") || path.endsWith("/revocation"))).toBe(true);
    expect(as.liveLogins).toBe(0);
    expect(types()).not.toContain("refresh.finished");
  });

  test("a refresh that cannot read whether its login was replaced has not lost it: what it got is used, stored, and not revoked", async () => {
    const { as, auth, clock, store, server } = await loggedIn();
    clock.advance(minutes(61));
    const held = gate(refreshes, "after");
    as.intercept(held.hook);
    const refreshing = auth.getAccessToken();
    await held.reached(1);
    const { get } = store;
    let failures = 0;
    store.get = async (name) => {
      if (failures++ === 0) throw new Error("busy");
      return get.call(store, name);
    };
    held.open();
    expect(await refreshing).toBe((await stored(store, server))?.accessToken);
    expect([failures > 0, as.liveLogins, as.tokenRequests().length]).toEqual([true, 1, 1]);
    expect(as.requests.some(({ path }) => path === "/revoke")).toBe(false);
  });

  test("a refresh that finds another login in place of its own leaves it and uses it", async () => {
    const { as, auth, clock, store, server } = await loggedIn();
    clock.advance(minutes(61));
    const held = gate(refreshes, "after");
    as.intercept(held.hook);
    const refreshing = auth.getAccessToken();
    await held.reached(1);
    const other = await seed(server, new MemoryStore(), { clock });
    const record = {
      ...(await stored(store, server)),
      accessToken: other.accessToken,
      refreshToken: other.refreshToken,
      expiresAt: clock.now() + 3_600_000,
    };
    await store.set(key(server), record as unknown as StoredRecord);
    held.open();
    expect(await refreshing).toBe(other.accessToken);
    expect(as.liveLogins).toBe(1);
  });

  test("a logout by another manager waits for the refresh, then ends the login for both", async () => {
    const { as, auth, clock, store, server } = await loggedIn();
    const other = manager(server, { store, clock });
    await other.auth.getAccessToken();
    clock.advance(minutes(61));
    const held = gate(refreshes, "after");
    as.intercept(held.hook);
    const refreshing = auth.getAccessToken();
    await held.reached(1);
    const leaving = other.auth.logout();
    held.open();
    expect(await refreshing).toBeTruthy();
    expect(await leaving).toMatchObject({ wasLoggedIn: true, refreshTokenRevoked: true });
    expect([await stored(store, server), as.liveLogins]).toEqual([undefined, 0]);
    clock.advance(minutes(61));
    expect((await failure(auth.getAccessToken())).code).toBe("login_required");
  });

  test("a lock that was lost during the refresh: the caller gets its token, and it is stored when nobody else has changed the login", async () => {
    const inner = new MemoryStore();
    let lose = false;
    const store = losing(inner, () => lose);
    const server = await startServer({ authorizationServer: { accessTokenTtlSeconds: 3600 } });
    const clock = manualClock();
    await seed(server, inner, { clock });
    const { auth, types } = manager(server, { store, clock });
    clock.advance(minutes(61));
    const held = gate(refreshes, "after");
    server.authorizationServer.intercept(held.hook);
    const refreshing = auth.getAccessToken();
    await held.reached(1);
    lose = true;
    held.open();
    const token = await refreshing;
    expect(types()).toContain("tokens.unsaved");
    lose = false;
    await expect
      .poll(async () => {
        clock.advance(1000);
        return (await stored(inner, server))?.accessToken;
      })
      .toBe(token);
    expect(types()).toContain("tokens.saved");
  });
});

/** A store whose lock holders are told that they have lost it. */
function losing(inner: MemoryStore, isLost: () => boolean): MemoryStore {
  const store = Object.create(inner) as MemoryStore;
  const bound = <K extends "get" | "set" | "delete" | "take" | "keys">(name: K) => inner[name].bind(inner) as MemoryStore[K];
  return Object.assign(store, {
    get: bound("get"),
    set: bound("set"),
    delete: bound("delete"),
    take: bound("take"),
    keys: bound("keys"),
    withLock: ((name, action, options) =>
      inner.withLock(
        name,
        (held) =>
          action({
            signal: held.signal,
            set: (k, value) => (isLost() ? Promise.reject(lockLost()) : held.set(k, value)),
            delete: (k) => (isLost() ? Promise.reject(lockLost()) : held.delete(k)),
          }),
        options,
      )) as MemoryStore["withLock"],
  });
}

function lockLost() {
  return new McpAuthError("lock_lost");
}

describe("rule 1: the clock", () => {
  test("put back by a day: the token is used as long as the server takes it, and no refresh runs", async () => {
    const { as, auth, clock, tokens } = await loggedIn();
    clock.jump(-24 * minutes(60));
    expect(await auth.getAccessToken()).toBe(tokens.accessToken);
    expect(await post(auth)).toBe(200);
    expect(as.tokenRequests()).toHaveLength(0);
  });

  test("put back, and then the token is refused: refreshed by the 401, and the new lifetime counts from the new time", async () => {
    const { as, auth, clock, mcp, store, server } = await loggedIn();
    clock.jump(-24 * minutes(60));
    mcp.revokeAll();
    expect(await post(auth)).toBe(200);
    expect(as.tokenRequests()).toHaveLength(1);
    expect(await stored(store, server)).toMatchObject({ issuedAt: clock.now(), expiresAt: clock.now() + 3_600_000 });
  });

  test("put forward by a day (sleep): one refresh before the first call, no 401", async () => {
    const { as, auth, clock, mcp } = await loggedIn();
    clock.jump(24 * minutes(60));
    expect(await tally(Array.from({ length: 10 }, () => post(auth)))).toEqual({ 200: 10 });
    expect(as.tokenRequests()).toHaveLength(1);
    expect(mcp.calls("add").map(({ status }) => status)).toEqual(Array(10).fill(200));
  });

  test("the server's lifetime counts from the receipt, not from its own clock, and survives a new process", async () => {
    const { as, auth, clock, store, server } = await loggedIn();
    clock.advance(minutes(61));
    const token = await auth.getAccessToken();
    clock.advance(minutes(25));
    const restarted = manager(server, { store, clock });
    expect(await restarted.auth.getAccessToken()).toBe(token);
    expect(as.tokenRequests()).toHaveLength(1);
    clock.advance(minutes(36));
    expect(await restarted.auth.getAccessToken()).not.toBe(token);
  });
});

describe("`keepFresh` and `requestInit()`", () => {
  test("`keepFresh` refreshes by a timer, without any call, for as long as the manager lives", async () => {
    const { as, auth, clock, types } = await loggedIn({ keepFresh: true });
    for (let round = 1; round <= 3; round++) {
      expect(clock.timers).toHaveLength(1);
      expect(clock.timers[0]).toBeGreaterThanOrEqual(minutes(30));
      expect(clock.timers[0]).toBeLessThanOrEqual(minutes(39));
      clock.advance(minutes(39));
      await expect.poll(() => types().filter((type) => type === "refresh.finished").length).toBe(round);
    }
    expect(as.tokenRequests()).toHaveLength(3);
    await auth.dispose();
    expect(clock.timers).toEqual([]);
  });

  test("without it no timer is set", async () => {
    const { clock } = await loggedIn();
    expect(clock.timers).toEqual([]);
  });

  test("a timer whose refresh fails by a transient fault tries again", async () => {
    const { as, clock, types } = await loggedIn({ keepFresh: true });
    as.intercept(when(refreshes, answer(503), 3));
    clock.advance(minutes(39));
    await expect.poll(types).toContain("refresh.failed");
    await expect.poll(() => clock.timers.length).toBe(1);
    clock.advance(clock.timers[0] as number);
    await expect.poll(types).toContain("refresh.finished");
  });

  test("a timer that was overtaken by a clock put back waits again", async () => {
    const { as, clock } = await loggedIn({ keepFresh: true });
    clock.jump(-minutes(60));
    clock.advance(minutes(39));
    await expect.poll(() => clock.timers.length).toBe(1);
    expect(as.tokenRequests()).toHaveLength(0);
  });

  test("`requestInit()` is kept fresh in the background while it is read at least once a lifetime", async () => {
    const { as, auth, clock, tokens, types } = await loggedIn();
    const init = auth.requestInit();
    expect(init.headers).toEqual({ authorization: `Bearer ${tokens.accessToken}` });
    expect(clock.timers).toHaveLength(1);
    clock.advance(minutes(39));
    await expect.poll(types).toContain("refresh.finished");
    expect(init.headers.authorization).not.toContain(tokens.accessToken);
    await expect.poll(() => clock.timers.length).toBe(1);
    // Read once more in this lifetime, so once more refreshed; then nobody reads it.
    clock.advance(minutes(39));
    await expect.poll(() => as.tokenRequests().length).toBe(2);
    await expect.poll(() => types().filter((type) => type === "refresh.finished").length).toBe(2);
    expect(clock.timers).toEqual([]);
    clock.advance(minutes(61));
    expect(as.tokenRequests()).toHaveLength(2);
    expect(() => init.headers).toThrow(expect.objectContaining({ code: "login_required" }));
    init.dispose();
    expect(() => init.headers).toThrow(expect.objectContaining({ code: "disposed" }));
  });

  test("`requestInit()` after a pause longer than the token's life: one read fails, and starts the refresh for the next", async () => {
    const { as, auth, clock, types } = await loggedIn();
    const init = auth.requestInit();
    clock.jump(minutes(600));
    expect(() => init.headers).toThrow(expect.objectContaining({ code: "login_required" }));
    await expect.poll(types).toContain("refresh.finished");
    expect(init.headers.authorization).toBe(`Bearer ${await auth.getAccessToken()}`);
    expect(as.tokenRequests()).toHaveLength(1);
  });
});

describe("a token that has never been accepted is refused", () => {
  test("long after its login: it may have been good once, so it is refreshed", async () => {
    const handler = userAtHand();
    const server = await startServer({ authorizationServer: { accessTokenTtlSeconds: 3600 } });
    const clock = manualClock();
    const { auth } = manager(server, { clock, loginHandler: handler });
    await auth.authorize();
    clock.advance(minutes(20));
    server.mcpServer.revokeAll();
    expect(await post(auth)).toBe(200);
    expect(handler.opened).toBe(1);
    expect(server.authorizationServer.tokenRequests("refresh_token")).toHaveLength(1);
  });

  test("long after a refresh ahead: refreshed again, no browser", async () => {
    const handler = userAtHand();
    const { as, auth, clock, mcp, types } = await loggedIn({ loginHandler: handler });
    clock.advance(minutes(40));
    await auth.getAccessToken();
    await expect.poll(types).toContain("refresh.finished");
    clock.advance(minutes(20));
    mcp.revokeAll();
    expect(await post(auth)).toBe(200);
    expect([handler.opened, as.tokenRequests("refresh_token").length]).toEqual([0, 2]);
  });

  test("a server that refuses every token: no browser opens again and again", async () => {
    const handler = userAtHand();
    const server = await startServer({ authorizationServer: { accessTokenTtlSeconds: 3600 } });
    const clock = manualClock();
    const { auth } = manager(server, { clock, loginHandler: handler });
    server.mcpServer.refuseTokens(() => true);
    for (let call = 0; call < 10; call++) {
      expect(await post(auth)).toBe(401);
      expect(auth.lastError?.code).toBe("token_refused");
      clock.advance(minutes(5));
    }
    expect(handler.opened).toBe(1);
  });
});

describe("dispose", () => {
  test("a call that still reads the store begins no refresh afterwards: a program that ended then lost its login", async () => {
    const { server, as, clock, store } = await loggedIn();
    clock.advance(minutes(61));
    const slow = new WatchedStore(store);
    const { get } = slow;
    const reading = Promise.withResolvers<void>();
    slow.get = async (name) => {
      await reading.promise;
      return get(name);
    };
    const { auth } = manager(server, { store: slow, clock });
    const call = failure(auth.getAccessToken());
    await auth.dispose();
    reading.resolve();
    expect((await call).code).toBe("disposed");
    expect(as.tokenRequests()).toHaveLength(0);
  });

  test.each<[way: string, use: (auth: TokenManager) => unknown]>([
    ["headers", (auth) => auth.headers({ method: "POST", url: auth.serverUrl })],
    ["fetch", (auth) => auth.fetch(auth.serverUrl)],
    ["getAccessToken", (auth) => auth.getAccessToken()],
    ["authorize", (auth) => auth.authorize()],
    ["requestInit", async (auth) => auth.requestInit().headers],
    ["setTokens", (auth) => auth.setTokens({ accessToken: "given" })],
  ])("afterwards nothing gives a token away, however valid: %s", async (_way, use) => {
    const { auth } = await loggedIn();
    await auth.getAccessToken();
    await auth.dispose();
    expect((await failure(Promise.resolve(use(auth)))).code).toBe("disposed");
  });

  test("waits for a refresh in flight until it is stored, and starts none any more", async () => {
    const { as, auth, clock, store, server, tokens } = await loggedIn();
    const held = gate(refreshes, "after");
    as.intercept(held.hook);
    clock.advance(minutes(40));
    await auth.getAccessToken();
    await held.reached(1);
    let disposed = false;
    const disposing = auth.dispose().then(() => {
      disposed = true;
    });
    expect((await failure(auth.getAccessToken())).code).toBe("disposed");
    expect(disposed).toBe(false);
    held.open();
    await disposing;
    const record = await stored(store, server);
    expect(record?.refreshToken).not.toBe(tokens.refreshToken);
    expect(record?.refreshStartedAt).toBeUndefined();
    expect(as.liveLogins).toBe(1);
  });

  test("waits until tokens that could not be stored are stored", async () => {
    const { as, clock, server, store: inner, tokens } = await loggedIn();
    const store = new WatchedStore(inner);
    const { auth } = manager(server, { store, clock });
    const space = Promise.withResolvers<void>();
    let failed = 0;
    store.beforeWrite = async (name) => {
      if (!name.startsWith("tokens/") || as.tokenRequests().length === 0) return;
      if (failed++ === 0) throw new Error("no space left on device");
      await space.promise;
    };
    clock.advance(minutes(61));
    const token = await auth.getAccessToken();
    let disposed = false;
    const disposing = auth.dispose().then(() => {
      disposed = true;
    });
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect([disposed, (await stored(inner, server))?.accessToken]).toEqual([false, tokens.accessToken]);
    space.resolve();
    await disposing;
    expect((await stored(inner, server))?.accessToken).toBe(token);
  });

  test("a process that knows that it ends starts no refresh ahead, but refreshes what is needed", async () => {
    let ending = true;
    const { as, auth, clock, tokens } = await loggedIn({ isEnding: () => ending });
    clock.advance(minutes(40));
    expect(await auth.getAccessToken()).toBe(tokens.accessToken);
    expect(as.tokenRequests()).toHaveLength(0);
    clock.advance(minutes(21));
    expect(await auth.getAccessToken()).not.toBe(tokens.accessToken);
    ending = false;
  });

  test("`waitUntil` is told about every refresh, and its promise never rejects", async () => {
    const work: Promise<unknown>[] = [];
    const { as, auth, clock } = await loggedIn({ waitUntil: (promise) => void work.push(promise) });
    as.intercept(when(refreshes, answer(503), 3));
    clock.advance(minutes(61));
    expect((await failure(auth.getAccessToken())).code).toBe("server_error");
    expect(await auth.getAccessToken()).toBeTruthy();
    expect(work).toHaveLength(2);
    await Promise.all(work);
  });
});
