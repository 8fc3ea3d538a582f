/** A login is one browser window, however many callers, managers and transports want it. */
import { describe, expect, onTestFinished, test } from "vitest";
import { MemoryStore, type Store } from "../../src/index.ts";
import { gate, startAuthorizationServer, tokenRequest } from "../fixture/index.ts";
import {
  callTool,
  connect,
  failure,
  manager,
  manualClock,
  minutes,
  post,
  seeded,
  shiftedClock,
  startServer,
  tally,
  toolRequest,
  userAtHand,
} from "./support.ts";

async function coldServer(options?: Parameters<typeof startServer>[0]) {
  const server = await startServer(options);
  const handler = userAtHand();
  const store = new MemoryStore();
  const clock = shiftedClock();
  return {
    server,
    as: server.authorizationServer,
    mcp: server.mcpServer,
    handler,
    store,
    clock,
    ...manager(server, { store, clock, loginHandler: handler }),
  };
}

/** How many logins have the lock or wait for it, from now on. */
function linedUp(store: Store): () => number {
  const { withLock } = store;
  let count = 0;
  store.withLock = (key, action, options) => {
    if (key.startsWith("login/")) count++;
    return withLock.call(store, key, action, options) as ReturnType<typeof action>;
  };
  return () => count;
}

describe("the first login", () => {
  test("100 cold calls: one browser window, one registration, one code exchange", async () => {
    const { as, mcp, auth, handler } = await coldServer();
    const calls = Array.from({ length: 100 }, (_, n) => post(auth, "count", { id: `c${n}` }));
    expect(await tally(calls)).toEqual({ 200: 100 });
    expect([handler.opened, as.registrations.length, as.tokenRequests().length]).toEqual([1, 1, 1]);
    expect([...mcp.tools.counts.values()]).toEqual(Array(100).fill(1));
    expect(as.liveLogins).toBe(1);
  });

  test("calls over ten transports and `authorize()` at the same time: one browser window", async () => {
    const { server, as, auth, handler } = await coldServer();
    const clients = Array.from({ length: 10 }, () =>
      connect(server.url, auth.fetch).then((client) => callTool(client, "add", { a: 1, b: 2 })),
    );
    expect(await tally([auth.authorize(), auth.authorize(), ...clients])).toEqual({ 3: 10, authorized: 2 });
    expect([handler.opened, as.registrations.length, as.tokenRequests().length]).toEqual([1, 1, 1]);
  });

  test("`authorize({ scopes })` during a login for others: what it returns has the scopes", async () => {
    const { as, auth, handler } = await coldServer();
    expect(await tally([auth.authorize(), post(auth), auth.authorize({ scopes: ["mcp:write"] })])).toEqual({ 200: 1, authorized: 2 });
    const opened = handler.opened;
    expect(opened).toBeLessThanOrEqual(2);
    expect(await auth.authorize({ scopes: ["mcp:write"] })).toBe("authorized");
    expect(await post(auth, "write_note", { text: "x" })).toBe(200);
    expect([handler.opened, as.registrations.length]).toEqual([opened, 1]);
  });

  test("two managers on one store: one browser window", async () => {
    const { server, as, auth, handler, store, clock } = await coldServer();
    const other = manager(server, { store, clock, loginHandler: handler });
    const calls = [auth, other.auth].flatMap((each) => Array.from({ length: 10 }, () => post(each)));
    expect(await tally(calls)).toEqual({ 200: 20 });
    expect([handler.opened, as.registrations.length, as.tokenRequests().length]).toEqual([1, 1, 1]);
    expect(as.liveLogins).toBe(1);
  });

  test("two managers on one store: who waited while the user said no opens no second window", async () => {
    const { server, as, auth, handler, store } = await coldServer();
    const other = manager(server, { store, loginHandler: handler });
    as.nextDecision = "deny";
    let decide = () => {};
    handler.until = new Promise<void>((resolve) => (decide = resolve));
    const lined = linedUp(store);
    const first = failure(post(auth));
    await expect.poll(() => handler.opened).toBe(1);
    const second = failure(post(other.auth));
    await expect.poll(lined).toBe(2);
    decide();
    expect([(await first).code, (await second).code]).toEqual(["authorization_denied", "authorization_denied"]);
    expect(handler.opened).toBe(1);
    // Whoever asks afterwards asks anew.
    expect(await other.auth.authorize()).toBe("authorized");
    expect(handler.opened).toBe(2);
  });

  test("two managers on one store: when one is disposed of during its login, the other one's user is asked", async () => {
    const { server, auth, handler, store } = await coldServer();
    handler.until = new Promise(() => {});
    const user = userAtHand();
    const other = manager(server, { store, loginHandler: user });
    const lined = linedUp(store);
    const first = failure(post(auth));
    await expect.poll(() => handler.opened).toBe(1);
    const second = post(other.auth);
    await expect.poll(lined).toBe(2);
    await auth.dispose();
    expect([(await first).code, await second, user.opened]).toEqual(["disposed", 200, 1]);
  });

  test("… also on a store whose writes take a while", async () => {
    const { server, as, handler, store } = await coldServer();
    const written = Promise.withResolvers<void>();
    let isWriting = false;
    const { set } = store;
    store.set = async (key, value) => {
      if (key.startsWith("refusals/")) {
        isWriting = true;
        await written.promise;
      }
      await set.call(store, key, value);
    };
    let decide = () => {};
    handler.until = new Promise<void>((resolve) => (decide = resolve));
    as.nextDecision = "deny";
    const lined = linedUp(store);
    const managers = Array.from({ length: 3 }, () => manager(server, { store, loginHandler: handler }).auth);
    const outcomes = managers.map((auth) => failure(post(auth)).then(({ code }) => code));
    await expect.poll(() => [handler.opened, lined()]).toEqual([1, 3]);
    decide();
    // Who is next in line could find nothing yet.
    await expect.poll(() => isWriting).toBe(true);
    await new Promise((resolve) => setImmediate(resolve));
    expect(handler.started).toBe(1);
    written.resolve();
    expect(await Promise.all(outcomes)).toEqual(["authorization_denied", "authorization_denied", "authorization_denied"]);
    expect(handler.opened).toBe(1);
  });

  test("a logout ends a login in progress: nobody is logged in afterwards", async () => {
    const { as, auth, handler } = await coldServer();
    handler.until = new Promise(() => {});
    const call = failure(post(auth));
    await expect.poll(() => handler.opened).toBe(1);
    expect(await auth.logout()).toMatchObject({ wasLoggedIn: false });
    expect((await call).code).toBe("login_required");
    expect([as.liveLogins, await failure(auth.getAccessToken()).then(({ code }) => code)]).toEqual([0, "login_required"]);
    handler.until = Promise.resolve();
    expect(await auth.authorize()).toBe("authorized");
  });

  test("a 401 that arrives after the login has finished is repeated with the new token", async () => {
    const { as, mcp, auth, handler } = await coldServer();
    const late = gate(({ body }) => body.includes("late"), "after");
    mcp.intercept(late.hook);
    const held = post(auth, "count", { id: "late" });
    await late.reached(1);
    expect(await post(auth, "count", { id: "early" })).toBe(200);
    late.open();
    expect(await held).toBe(200);
    expect([handler.opened, as.tokenRequests().length]).toEqual([1, 1]);
    expect(Object.fromEntries(mcp.tools.counts)).toEqual({ early: 1, late: 1 });
  });

  test("a denied login: everybody gets the same error, later calls at once, and a new window only after a while", async () => {
    const { as, auth, handler, clock } = await coldServer();
    as.nextDecision = "deny";
    expect(await tally(Array.from({ length: 20 }, () => post(auth)))).toEqual({ authorization_denied: 20 });
    expect(await tally(Array.from({ length: 20 }, () => post(auth)))).toEqual({ authorization_denied: 20 });
    expect(handler.opened).toBe(1);
    expect(auth.lastError?.code).toBe("authorization_denied");
    clock.shift(minutes(2));
    expect(await post(auth)).toBe(200);
    expect(handler.opened).toBe(2);
    expect(auth.lastError).toBeUndefined();
  });

  test("after a denied login, `authorize()` asks the user again at once", async () => {
    const { as, auth, handler } = await coldServer();
    as.nextDecision = "deny";
    expect((await failure(post(auth))).code).toBe("authorization_denied");
    expect(await auth.authorize()).toBe("authorized");
    expect(handler.opened).toBe(2);
    expect(await post(auth)).toBe(200);
  });

  test("`loginPendingTimeout` is over: `login_pending`; the login goes on, the request is never sent", async () => {
    const server = await startServer();
    const handler = userAtHand();
    const decision = Promise.withResolvers<void>();
    handler.until = decision.promise;
    const { auth } = manager(server, { loginHandler: handler, loginPendingTimeout: 30 });
    const error = await failure(post(auth, "count", { id: "parked" }));
    expect(error.code).toBe("login_pending");
    // On a busy machine the waiting may be over before the browser is open.
    await expect.poll(() => handler.opened).toBe(1);
    decision.resolve();
    expect(await auth.authorize()).toBe("authorized");
    expect(await post(auth, "count", { id: "next" })).toBe(200);
    expect(Object.fromEntries(server.mcpServer.tools.counts)).toEqual({ next: 1 });
    // Once without a token, which was refused; the other call once.
    expect(server.mcpServer.calls("count").map(({ status }) => status)).toEqual([401, 200]);
    expect(handler.opened).toBe(1);
  });

  test("a response that a login handler hands over twice: the code is exchanged once", async () => {
    const { as, auth, handler } = await coldServer();
    const { start } = handler;
    const again: Promise<unknown>[] = [];
    handler.start = async (request) => {
      const session = await start(request);
      const authorize: typeof session.authorize = (url, receive, signal) =>
        session.authorize(
          url,
          async (parameters) => {
            const first = receive(parameters);
            again.push(failure(receive(parameters)).then(({ code }) => code));
            await first;
          },
          signal,
        );
      return { ...session, authorize };
    };
    expect(await auth.authorize()).toBe("authorized");
    expect([await Promise.all(again), as.tokenRequests("authorization_code").length]).toEqual([["state_mismatch"], 1]);
  });

  test("by default a request waits 50 s for the user: less than the SDKs' 60 s", async () => {
    const server = await startServer();
    const handler = userAtHand();
    handler.until = new Promise(() => {});
    const clock = manualClock();
    const { auth } = manager(server, { loginHandler: handler, clock });
    const call = failure(post(auth));
    await expect.poll(() => handler.opened).toBe(1);
    // The other timer is the user's own.
    expect(clock.timers.toSorted((a, b) => a - b)).toEqual([50_000, 300_000]);
    clock.advance(50_000);
    expect((await call).code).toBe("login_pending");
  });

  test("a caller who gives up ends its own waiting, not the login that others wait for", async () => {
    const { mcp, auth, handler } = await coldServer();
    const decision = Promise.withResolvers<void>();
    handler.until = decision.promise;
    const impatient = new AbortController();
    const first = auth.fetch(auth.serverUrl, toolRequest("count", { id: "impatient" }, { signal: impatient.signal }));
    const second = post(auth, "count", { id: "patient" });
    await expect.poll(() => handler.opened).toBe(1);
    impatient.abort(new Error("no patience"));
    await expect(first).rejects.toThrow("no patience");
    decision.resolve();
    expect(await second).toBe(200);
    expect(Object.fromEntries(mcp.tools.counts)).toEqual({ patient: 1 });
    expect(handler.opened).toBe(1);
  });

  test("`authorize()` returns at once when a login is stored, and asks the server nothing", async () => {
    const { server, store } = await seeded();
    const handler = userAtHand();
    const { auth } = manager(server, { store, loginHandler: handler });
    expect(await auth.authorize()).toBe("authorized");
    expect([handler.started, server.requests.length]).toEqual([0, 0]);
  });

  test("disposing ends a login in progress: callers get `disposed`, and no later request is sent", async () => {
    const { mcp, auth, handler } = await coldServer();
    handler.until = new Promise(() => {});
    const call = failure(post(auth, "count", { id: "x" }));
    await expect.poll(() => handler.opened).toBe(1);
    await auth.dispose();
    expect((await call).code).toBe("disposed");
    expect((await failure(post(auth))).code).toBe("disposed");
    expect(mcp.tools.counts.size).toBe(0);
  });
});

describe("a login whose tokens are over", () => {
  test("dead refresh token: `invalid_grant` leads to one new login for all callers", async () => {
    const { server, as, mcp, store, clock } = await seeded();
    const handler = userAtHand();
    const { auth, types } = manager(server, { store, clock, loginHandler: handler });
    expect(await post(auth)).toBe(200);
    as.endLogins();
    mcp.revokeAll();
    expect(await tally(Array.from({ length: 50 }, () => post(auth)))).toEqual({ 200: 50 });
    expect(as.tokenRequests("refresh_token")).toHaveLength(1);
    expect([handler.opened, as.tokenRequests("authorization_code").length]).toEqual([1, 1]);
    expect(types()).toContain("tokens.deleted");
  });

  test("tokens that were just issued and are refused: the server's 401 is the answer, and no second window opens", async () => {
    const { mcp, auth, handler } = await coldServer();
    mcp.refuseTokens(() => true);
    const response = await auth.fetch(auth.serverUrl, toolRequest("add"));
    expect([response.status, await response.json()]).toEqual([401, { error: "invalid_token" }]);
    expect(auth.lastError?.code).toBe("token_refused");
    expect(await post(auth)).toBe(401);
    expect(handler.opened).toBe(1);
  });
});

describe("REQ-DISC-05, REQ-REG-06: a server that moves to another authorization server", () => {
  test("never sees the old one's tokens or registration there; everybody shares one new login", async () => {
    const { as, mcp, auth, handler, store, server } = await coldServer();
    expect(await post(auth)).toBe(200);
    const other = await startAuthorizationServer();
    onTestFinished(() => other.close());
    as.requests.length = 0;

    mcp.moveTo(other);
    expect(await tally(Array.from({ length: 20 }, () => post(auth)))).toEqual({ 200: 20 });
    expect([handler.opened, other.registrations.length]).toEqual([2, 1]);
    expect(other.tokenRequests().map(({ grantType }) => grantType)).toEqual(["authorization_code"]);
    const record = (await store.get(`tokens/default/${server.url}`)) as { issuer?: string } | undefined;
    expect(record?.issuer).toBe(other.issuer);
    // Nothing of the new server's reaches the old one.
    expect(as.tokenRequests("authorization_code")).toHaveLength(0);
    expect(as.registrations).toHaveLength(0);
    const oldSecrets = as.tokenRequests().map(({ form }) => form.get("refresh_token"));
    for (const { body } of other.requests) for (const secret of oldSecrets) if (secret) expect(body).not.toContain(secret);
  });

  test("the old one is gone: the new login does not wait for it to come back", async () => {
    const { as, mcp, auth, handler } = await coldServer();
    expect(await post(auth)).toBe(200);
    const other = await startAuthorizationServer();
    onTestFinished(() => other.close());
    mcp.moveTo(other);
    await as.close();
    expect(await post(auth)).toBe(200);
    expect(handler.opened).toBe(2);
  });

  test("without a user: `login_required`, and the new server is sent nothing", async () => {
    const { server, mcp, store, clock } = await seeded();
    const other = await startAuthorizationServer();
    onTestFinished(() => other.close());
    const { auth } = manager(server, { store, clock });
    expect(await post(auth)).toBe(200);
    mcp.moveTo(other);
    expect((await failure(post(auth))).code).toBe("login_required");
    expect([other.tokenRequests(), other.registrations]).toEqual([[], []]);
  });

  test("the first 401 tells; back again, the old registration is used", async () => {
    const { as, mcp, auth } = await coldServer();
    expect(await post(auth)).toBe(200);
    const other = await startAuthorizationServer();
    onTestFinished(() => other.close());
    mcp.moveTo(other);
    expect(await post(auth)).toBe(200);
    mcp.moveTo(as);
    expect(await post(auth)).toBe(200);
    expect([as.registrations.length, other.registrations.length]).toEqual([1, 1]);
    // A token that the old server has refreshed meanwhile is not even tried.
    expect(mcp.calls("add").map(({ status }) => status)).toEqual([401, 200, 401, 200, 401, 200]);
  });
});

test("a login that finishes during a refresh of the old one is not overwritten by it", async () => {
  const { server, as, store, clock } = await seeded();
  const handler = userAtHand();
  const { auth } = manager(server, { store, clock, loginHandler: handler });
  const other = manager(server, { store, clock, loginHandler: handler });
  expect(await post(auth)).toBe(200);
  const refresh = gate(tokenRequest("refresh_token"), "after");
  as.intercept(refresh.hook);
  clock.shift(minutes(3.5));
  expect(await post(auth)).toBe(200);
  await refresh.reached(1);
  const login = other.auth.authorize({ scopes: ["mcp:read", "mcp:write"] });
  await expect.poll(() => as.tokenRequests("authorization_code").length).toBe(1);
  refresh.open();
  expect(await login).toBe("authorized");
  const record = (await store.get(`tokens/default/${server.url}`)) as { scope?: string; accessToken?: string };
  expect(record.scope?.split(" ")).toContain("mcp:write");
  expect(record.accessToken).toBe(await other.auth.getAccessToken());
});
