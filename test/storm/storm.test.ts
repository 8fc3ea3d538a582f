/** Many callers, one login: it is refreshed once, never lost, and no call fails. The server rotates and detects reuse. */
import { describe, expect, test } from "vitest";
import { MemoryStore } from "../../src/index.ts";
import { answer, gate, tokenRequest, toolCall, when } from "../fixture/index.ts";
import {
  callTool,
  connect,
  manager,
  minutes,
  post,
  seed,
  seeded,
  shiftedClock,
  startServer,
  tally,
  toolRequest,
  userAtHand,
  WatchedStore,
} from "./support.ts";

/** Calls of `add` by these senders in turn, all at once. */
function storm(count: number, senders: readonly ((n: number) => Promise<unknown>)[]): Promise<unknown>[] {
  return Array.from({ length: count }, (_, n) => (senders[n % senders.length] as (n: number) => Promise<unknown>)(n));
}

describe("1000 calls at once with an expired token: one token request, no failed call, the login survives", () => {
  test.each([
    // transports, managers on one store
    [1, 1],
    [10, 1],
    [10, 5],
  ])(
    "over %i transports of %i managers",
    async (transports, managers) => {
      const { server, as, mcp, store, clock } = await seeded();
      const auths = Array.from({ length: managers }, () => manager(server, { store, clock }).auth);
      const clients = await Promise.all(
        Array.from({ length: transports }, (_, n) => connect(server.url, (auths[n % managers] as (typeof auths)[0]).fetch)),
      );
      expect(as.tokenRequests()).toHaveLength(0);

      clock.shift(minutes(6));
      const calls = storm(
        1000,
        clients.map((client) => (n: number) => callTool(client, "add", { a: n, b: 1 }).then((sum) => sum === n + 1)),
      );
      expect(await tally(calls)).toEqual({ true: 1000 });
      expect(as.tokenRequests().map(({ status }) => status)).toEqual([200]);
      expect(as.liveLogins).toBe(1);
      // Each call was sent once, with the new token.
      expect(mcp.calls("add")).toHaveLength(1000);
      expect(new Set(mcp.calls("add").map(({ tokenJti }) => tokenJti)).size).toBe(1);
    },
    60_000,
  );
});

describe("1000 calls at once get 401 for a token that looked valid: one token request, no failed call, the login survives", () => {
  test.each([
    [1, 1],
    [10, 1],
    [10, 5],
  ])(
    "over %i transports of %i managers",
    async (transports, managers) => {
      const { server, as, mcp, store, clock } = await seeded();
      const auths = Array.from({ length: managers }, () => manager(server, { store, clock }).auth);
      const clients = await Promise.all(
        Array.from({ length: transports }, (_, n) => connect(server.url, (auths[n % managers] as (typeof auths)[0]).fetch)),
      );
      await Promise.all(clients.map((client) => callTool(client, "add", { a: 1, b: 1 })));
      mcp.requests.length = 0;

      mcp.revokeAll();
      const calls = storm(
        1000,
        clients.map((client) => (n: number) => callTool(client, "add", { a: n, b: 1 }).then((sum) => sum === n + 1)),
      );
      expect(await tally(calls)).toEqual({ true: 1000 });
      expect(as.tokenRequests().map(({ status }) => status)).toEqual([200]);
      expect(as.liveLogins).toBe(1);
      expect(mcp.calls("add").filter(({ status }) => status === 200)).toHaveLength(1000);
      expect(mcp.calls("add").filter(({ status }) => status === 401).length).toBeLessThanOrEqual(1000);
    },
    60_000,
  );
});

test("half of the 401s arrive after the refresh has finished: a late refusal of an old token causes no second refresh", async () => {
  const { server, as, mcp, store, clock } = await seeded();
  const { auth } = manager(server, { store, clock });
  expect(await post(auth)).toBe(200);
  mcp.revokeAll();
  const late = gate(
    ({ tool, json }) => tool === "add" && (json as { params: { arguments: { b: number } } }).params.arguments.b === 1,
    "after",
  );
  mcp.intercept(late.hook);

  const early = storm(500, [(n) => post(auth, "add", { a: n, b: 0 })]);
  const held = storm(500, [(n) => post(auth, "add", { a: n, b: 1 })]);
  await late.reached(500);
  expect(await tally(early)).toEqual({ 200: 500 });
  expect(as.tokenRequests()).toHaveLength(1);

  late.open();
  expect(await tally(held)).toEqual({ 200: 500 });
  expect(as.tokenRequests()).toHaveLength(1);
  expect(as.liveLogins).toBe(1);
  expect(mcp.calls("add").filter(({ status }) => status === 401)).toHaveLength(1000);
}, 60_000);

test("401s that arrive while a refresh ahead of expiry is already running share it", async () => {
  const { server, as, mcp, store, clock } = await seeded();
  const { auth } = manager(server, { store, clock });
  const refresh = gate(tokenRequest("refresh_token"));
  as.intercept(refresh.hook);
  clock.shift(minutes(3.5));
  expect(await post(auth)).toBe(200);
  await refresh.reached(1);
  mcp.revokeAll();
  const refused = gate(toolCall("add"), "after");
  mcp.intercept(refused.hook);
  const calls = storm(100, [() => post(auth)]);
  await refused.reached(100);
  refused.open();
  refresh.open();
  expect(await tally(calls)).toEqual({ 200: 100 });
  expect(as.tokenRequests().map(({ status }) => status)).toEqual([200]);
  expect(as.liveLogins).toBe(1);
}, 60_000);

describe("refresh ahead of expiry: nobody waits", () => {
  test("calls succeed with the still valid token while the refresh is held", async () => {
    const { server, as, mcp, store, clock } = await seeded();
    const { auth, types } = manager(server, { store, clock });
    const refresh = gate(tokenRequest("refresh_token"));
    as.intercept(refresh.hook);
    clock.shift(minutes(3.5));
    expect(await tally(storm(100, [() => post(auth)]))).toEqual({ 200: 100 });
    await refresh.reached(1);
    expect(await tally(storm(100, [() => post(auth)]))).toEqual({ 200: 100 });
    expect(as.tokenRequests()).toHaveLength(1);
    expect(types()).toEqual(["refresh.started"]);

    refresh.open();
    await expect.poll(types).toContain("refresh.finished");
    mcp.requests.length = 0;
    expect(await post(auth)).toBe(200);
    expect(as.tokenRequests()).toHaveLength(1);
    expect(mcp.calls("add").map(({ tokenJti }) => tokenJti)).toHaveLength(1);
  });

  test("before half of the lifetime nothing is refreshed, after 65 % always", async () => {
    const { server, as, store, clock } = await seeded();
    const { auth, types } = manager(server, { store, clock });
    clock.shift(minutes(2.4));
    expect(await tally(storm(100, [() => post(auth)]))).toEqual({ 200: 100 });
    expect(as.tokenRequests()).toHaveLength(0);
    clock.shift(minutes(0.9));
    expect(await post(auth)).toBe(200);
    await expect.poll(types).toContain("refresh.finished");
    expect(as.tokenRequests()).toHaveLength(1);
  });

  test("a token of 30 seconds is not refreshed at every call", async () => {
    const server = await startServer({ authorizationServer: { accessTokenTtlSeconds: 30 } });
    const { authorizationServer: as } = server;
    const store = new MemoryStore();
    const clock = shiftedClock();
    await seed(server, store, { clock });
    const { auth } = manager(server, { store, clock });
    for (let call = 0; call < 20; call++) expect(await post(auth)).toBe(200);
    expect(as.tokenRequests()).toHaveLength(0);
    clock.shift(28_000);
    for (let call = 0; call < 20; call++) expect(await post(auth)).toBe(200);
    expect(as.tokenRequests()).toHaveLength(1);
  });
});

describe("steady state", () => {
  test("a call is one HTTP request, without any read or write of the store", async () => {
    const { server, as, mcp, store: inner, clock } = await seeded();
    const store = new WatchedStore(inner);
    const { auth } = manager(server, { store, clock });
    expect(await post(auth)).toBe(200);
    const before = { reads: store.reads, writes: store.writes, requests: server.requests.length };
    expect(await tally(storm(100, [() => post(auth)]))).toEqual({ 200: 100 });
    expect({ reads: store.reads, writes: store.writes, requests: server.requests.length }).toEqual({
      ...before,
      requests: before.requests + 100,
    });
    expect(mcp.calls("add")).toHaveLength(101);
    expect(as.requests).toHaveLength(0);
  });

  test("a stored token is used by a new process without discovery, refresh or login", async () => {
    const { server, as, mcp, store } = await seeded();
    const { auth } = manager(server, { store });
    expect(await post(auth)).toBe(200);
    expect(as.requests).toHaveLength(0);
    expect(mcp.requests).toHaveLength(1);
  });

  test("an expired token is replaced in two round trips when the metadata is known, without a 401", async () => {
    const server = await startServer({ authorizationServer: { accessTokenTtlSeconds: 60 } });
    const clock = shiftedClock();
    const { auth } = manager(server, { clock, loginHandler: userAtHand() });
    expect(await post(auth)).toBe(200);
    clock.shift(minutes(1.1));
    const before = server.requests.length;
    expect(await post(auth)).toBe(200);
    expect(server.requests.slice(before).map(({ path, status }) => [path, status])).toEqual([
      ["/token", 200],
      ["/mcp", 200],
    ]);
  });

  test("a storm leaves no warning about too many listeners", async () => {
    const warnings: string[] = [];
    const warn = ({ name }: Error) => void warnings.push(name);
    process.on("warning", warn);
    const { server, mcp, store, clock } = await seeded();
    const { auth } = manager(server, { store, clock });
    const { signal } = new AbortController();
    mcp.revokeAll();
    const calls = storm(200, [
      async () => {
        const response = await auth.fetch(auth.serverUrl, toolRequest("add", { a: 1, b: 1 }, { signal }));
        await response.arrayBuffer();
        return response.status;
      },
    ]);
    expect(await tally(calls)).toEqual({ 200: 200 });
    process.off("warning", warn);
    expect(warnings).toEqual([]);
  });
});

test("a caller who gives up ends its own waiting, not the refresh that others wait for", async () => {
  const { server, as, mcp, store, clock } = await seeded();
  const { auth } = manager(server, { store, clock });
  const refresh = gate(tokenRequest("refresh_token"));
  as.intercept(refresh.hook);
  clock.shift(minutes(6));
  const impatient = new AbortController();
  const first = auth.fetch(auth.serverUrl, toolRequest("count", { id: "impatient" }, { signal: impatient.signal }));
  const second = post(auth, "count", { id: "patient" });
  await refresh.reached(1);
  impatient.abort(new Error("no patience"));
  await expect(first).rejects.toThrow("no patience");
  refresh.open();
  expect(await second).toBe(200);
  expect(as.tokenRequests().map(({ status }) => status)).toEqual([200]);
  expect(Object.fromEntries(mcp.tools.counts)).toEqual({ patient: 1 });
});

test("a refusal that is not about the token costs no refresh: 403 without insufficient_scope comes back as it is", async () => {
  const { server, as, mcp, store } = await seeded();
  const { auth } = manager(server, { store });
  mcp.intercept(when(toolCall("add"), answer(403, { error: "firewall" }), 1));
  const response = await auth.fetch(auth.serverUrl, toolRequest("add", { a: 1, b: 2 }));
  expect([response.status, await response.json()]).toEqual([403, { error: "firewall" }]);
  expect(as.requests).toHaveLength(0);
});
