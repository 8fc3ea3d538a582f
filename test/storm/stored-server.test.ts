/** A login where an earlier one has stored the server's metadata: it begins at once, and what is stored is checked beside the user. */
import { expect, test } from "vitest";
import { type LoginHandler, MemoryStore, type Store } from "../../src/index.ts";
import { answer, gate, nextOrder, type ProtectedServer, pathEnds, recordingFetch, roundTrips, when } from "../fixture/index.ts";
import { endLogin, manager, shiftedClock, startServer, toolRequest, userAtHand } from "./support.ts";

const initialize: RequestInit = {
  method: "POST",
  headers: { "content-type": "application/json", accept: "application/json, text/event-stream" },
  body: JSON.stringify({
    jsonrpc: "2.0",
    id: 1,
    method: "initialize",
    params: { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "test", version: "1" } },
  }),
};

type Way = "authorize()" | "initialize" | "a tool's call";

/** A manager whose `fetch` and user are written down as one log of sequential steps. */
function visitor(
  server: ProtectedServer,
  store: Store,
  options: { clock?: ReturnType<typeof shiftedClock>; until?: () => Promise<unknown> } = {},
) {
  const fetch = recordingFetch();
  const user = userAtHand();
  const loginHandler: LoginHandler = {
    async start(request) {
      const session = await user.start(request);
      return {
        ...session,
        async authorize(...parameters) {
          const step = { start: nextOrder(), end: undefined as number | undefined, url: new URL("about:user"), method: "user" };
          fetch.log.push(step as (typeof fetch.log)[number]);
          await options.until?.();
          const [url, receive, signal] = parameters;
          await session.authorize(
            url,
            (response) => {
              step.end = nextOrder();
              return receive(response);
            },
            signal,
          );
        },
      };
    },
  };
  const { auth, events } = manager(server, { fetch, loginHandler, store, ...(options.clock && { clock: options.clock }) });
  const visit = async (way: Way) => {
    if (way === "authorize()") await auth.authorize();
    const response = await auth.fetch(server.url, way === "a tool's call" ? toolRequest("whoami") : initialize);
    await response.body?.cancel();
    return response.status;
  };
  return { auth, events, visit, fetch, user };
}

/** A server at which a login was made and ended. What the login has stored is there. */
async function visitedServer(way: Way = "initialize", keep: { registration: boolean } = { registration: true }) {
  const server = await startServer();
  const store = new MemoryStore();
  const first = visitor(server, store);
  expect(await first.visit(way)).toBe(200);
  await endLogin(first.auth, store);
  await first.auth.dispose();
  if (!keep.registration) for (const key of await store.keys("registrations/")) await store.delete(key);
  server.authorizationServer.requests.length = 0;
  return { server, as: server.authorizationServer, store };
}

test.each<[way: Way, registration: boolean, expected: number]>([
  ["authorize()", false, 4],
  ["authorize()", true, 3],
  ["initialize", false, 4],
  ["initialize", true, 3],
])("%s, the registration is stored: %s: %i round trips to the first authorised response", async (way, registration, expected) => {
  const { server, store, as } = await visitedServer(way, { registration });
  // What is stored is looked at while the user is there, however fast the servers answer.
  const held = [as, server.mcpServer].map((each) => {
    const hold = gate(({ path }) => path.startsWith("/.well-known/"));
    each.intercept(hold.hook);
    return hold;
  });
  const until = async () => {
    for (const { open } of held) open();
  };
  const { visit, fetch, user } = visitor(server, store, { until });
  expect(await visit(way)).toBe(200);
  expect([user.opened, roundTrips(fetch.log)]).toEqual([1, expected]);
  // What was stored has been looked at again.
  expect(as.requests.some(({ path }) => path.startsWith("/.well-known/"))).toBe(true);
});

test("a server that gives a session to everybody: nobody is asked before a call is refused", async () => {
  const { server, store } = await visitedServer("a tool's call");
  server.mcpServer.auth = false;
  const { auth, visit, user } = visitor(server, store);
  expect(await visit("initialize")).toBe(200);
  expect(user.started).toBe(0);
  await auth.dispose();
});

test("stored metadata that have expired: the server is asked first", async () => {
  const { server, store } = await visitedServer();
  const clock = shiftedClock();
  clock.shift(8 * 24 * 60 * 60_000);
  const { visit, fetch } = visitor(server, store, { clock });
  expect(await visit("initialize")).toBe(200);
  expect(fetch.log.filter(({ status }) => status === 401)).toHaveLength(1);
});

test("the user has just refused: no second window for the next request", async () => {
  const { server, store, as } = await visitedServer();
  const { visit, user } = visitor(server, store);
  as.nextDecision = "deny";
  await expect(visit("initialize")).rejects.toMatchObject({ code: "authorization_denied" });
  await expect(visit("initialize")).rejects.toMatchObject({ code: "authorization_denied" });
  expect(user.opened).toBe(1);
});

test.each<Way>(["authorize()", "initialize"])("%s: the server has moved: no code is exchanged at the old one", async (way) => {
  const { server, store, as } = await visitedServer();
  const other = (await startServer()).authorizationServer;
  server.mcpServer.moveTo(other);
  const { visit, user, events } = visitor(server, store);
  expect(await visit(way)).toBe(200);
  expect([as.tokenRequests(), other.tokenRequests("authorization_code")].map(({ length }) => length)).toEqual([0, 1]);
  expect(events.filter(({ type }) => type === "login.finished")).toMatchObject([{ issuer: other.issuer }]);
  expect(user.opened).toBeLessThanOrEqual(2);
});

test("metadata that cannot be asked for now: the login goes on with what is stored", async () => {
  const { server, store, as } = await visitedServer();
  as.intercept(when(pathEnds("/oauth-authorization-server"), answer(503)));
  as.intercept(when(pathEnds("/openid-configuration"), answer(503)));
  const { visit, user } = visitor(server, store);
  expect(await visit("initialize")).toBe(200);
  expect(user.opened).toBe(1);
});

test("the user answers before it is known that the server has moved: the code waits, and is not exchanged", async () => {
  const { server, store, as } = await visitedServer();
  const other = (await startServer()).authorizationServer;
  server.mcpServer.moveTo(other);
  const held = gate(pathEnds("/oauth-protected-resource/mcp"));
  server.mcpServer.intercept(held.hook);
  const { auth, visit, user, fetch } = visitor(server, store);
  const visiting = visit("initialize");
  await held.reached(1);
  await expect.poll(() => user.opened).toBe(1);
  // The user has been sent back with the code.
  await expect.poll(() => fetch.log.find(({ method }) => method === "user")?.end).toBeDefined();
  held.open();
  expect(await visiting).toBe(200);
  expect([as.tokenRequests(), other.tokenRequests("authorization_code")].map(({ length }) => length)).toEqual([0, 1]);
  await auth.dispose();
});

test("scopes of the first login's challenge are asked for again", async () => {
  const server = await startServer({ mcpServer: { challengeScope: "mcp:read" } });
  const store = new MemoryStore();
  const asked = [];
  for (const _time of [1, 2]) {
    const { auth, visit, events } = visitor(server, store);
    expect(await visit("initialize")).toBe(200);
    await auth.logout();
    asked.push(events.flatMap((event) => (event.type === "login.started" ? event.scopes : [])));
  }
  expect(asked[0]).toContain("mcp:read");
  expect(asked[1]).toEqual(asked[0]);
});
