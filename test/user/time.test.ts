/** A session's clock governs all its time: limits of requests, of the probe, of a refresh, and dates that servers name. */
import { expect, test } from "vitest";
import { type LoginHandler, type McpAuthError, MemoryStore } from "../../src/index.ts";
import { answer, closeAfter, gate, type Hook, hang, type Matcher, pathEnds, tokenRequest, when } from "../fixture/index.ts";
import { failure, manager, manualClock, minutes, seed, startServer, toolRequest, userAtHand } from "../storm/support.ts";

/** In another century: whoever looks at the machine's clock is off by decades. */
const farAway = Date.UTC(2101, 0, 1);

test("the first request of `authorize()` that is never answered ends after ten of its seconds", async () => {
  const server = await startServer();
  const clock = manualClock(farAway);
  let asked = 0;
  const hangs = () => {
    asked++;
    return new Promise<never>(() => {});
  };
  const { auth } = manager(server, { clock, speculate: false, loginHandler: userAtHand(), fetch: patient(hangs) });
  const waiting = failure(auth.authorize());
  await expect.poll(() => asked).toBe(1);
  clock.advance(9_999);
  expect(clock.timers).toEqual([1]);
  clock.advance(1);
  expect((await waiting).code).toBe("timeout");
  expect(clock.timers).toEqual([]);
});

/** Keeps to the signal, as `fetch` does. */
function patient(work: () => Promise<Response>): typeof globalThis.fetch {
  return (_input, init) =>
    Promise.race([work(), new Promise<never>((_, reject) => init?.signal?.addEventListener("abort", () => reject(init.signal?.reason)))]);
}

test("metadata that never come end the login after ten of its seconds", async () => {
  const server = await startServer();
  const clock = manualClock(farAway);
  const metadata: Matcher = ({ path }) => path.includes("/.well-known/");
  const held = gate(metadata);
  server.authorizationServer.intercept(held.hook);
  const { auth } = manager(server, { clock, loginHandler: userAtHand() });
  const waiting = failure(auth.authorize());
  await held.reached(2);
  clock.advance(10_000);
  expect((await waiting).code).toBe("timeout");
  held.open();
});

test("a date in the token endpoint's `Retry-After` is as far away as the clock says", async () => {
  const server = await startServer();
  const store = new MemoryStore();
  const clock = manualClock(farAway);
  await seed(server, store, { clock, lifetimeSeconds: 60 });
  const { auth } = manager(server, { store, clock });
  clock.advance(minutes(2));
  const inFiveSeconds = new Date(clock.now() + 5000).toUTCString();
  server.authorizationServer.intercept(when(tokenRequest("refresh_token"), answer(503, "busy", { "retry-after": inFiveSeconds }), 1));
  await auth.getAccessToken();
  expect(clock.slept).toHaveLength(1);
  expect(Math.abs((clock.slept[0] ?? 0) - 5000)).toBeLessThanOrEqual(1000);
});

test("a code whose exchange takes 25 s is exchanged, once", async () => {
  const server = await startServer();
  const clock = manualClock(farAway);
  const { auth } = manager(server, { clock, loginHandler: userAtHand() });
  const late = gate(tokenRequest("authorization_code"), "after");
  server.authorizationServer.intercept(late.hook);
  const login = auth.authorize();
  await late.reached(1);
  clock.advance(25_000);
  late.open();
  expect(await login).toBe("authorized");
  expect(server.authorizationServer.tokenRequests("authorization_code")).toHaveLength(1);
});

test.each<[what: string, fault: Hook, afterMs: number, expected: object]>([
  [
    "is not answered in half a minute",
    hang,
    30_000,
    { code: "timeout", detail: ", 30000 ms", hint: "Log in again; if the server is only slow, with a longer `requestTimeout`." },
  ],
  ["meets a busy server", answer(503), 0, { code: "server_error", detail: "spent", hint: "Log in again later." }],
])("a code whose exchange %s is not sent again, and the error says that a new login is needed", async (_what, fault, afterMs, expected) => {
  const server = await startServer();
  const { authorizationServer: as } = server;
  const clock = manualClock(farAway);
  const loginHandler = userAtHand();
  const { auth } = manager(server, { clock, loginHandler });
  as.intercept(when(tokenRequest("authorization_code"), fault, 1));
  const login = failure(auth.authorize());
  await expect.poll(() => as.tokenRequests().length).toBe(1);
  if (afterMs) clock.advance(afterMs);
  const { code, hint, party, message } = (await login) as McpAuthError;
  const { detail, ...facts } = expected as { detail: string };
  expect(message).toContain(": the code of this login is spent");
  expect({ code, hint }).toEqual(facts);
  expect(party).toBe(afterMs ? "network" : "authorization-server");
  expect(message).toContain(`${detail} (server ${server.url}, authorization server ${as.issuer}`);
  expect(as.tokenRequests()).toHaveLength(1);
  expect(await auth.authorize()).toBe("authorized");
  expect(loginHandler.opened).toBe(2);
});

test("a refresh that takes 25 s: whoever wants a token meanwhile, in any process, waits for it and sends none", async () => {
  const server = await startServer();
  const { authorizationServer: as } = server;
  const store = new MemoryStore();
  const clock = manualClock(farAway);
  await seed(server, store, { clock, lifetimeSeconds: 60 });
  const [one, other] = [manager(server, { store, clock }), manager(server, { store, clock })];
  const late = gate(tokenRequest("refresh_token"), "after");
  as.intercept(late.hook);
  clock.advance(minutes(2));
  const tokens = [one, one, other, other].map(({ auth }) => auth.getAccessToken());
  await late.reached(1);
  clock.advance(25_000);
  late.open();
  const [token, ...others] = await Promise.all(tokens);
  expect(token).toBeTypeOf("string");
  expect(others).toEqual([token, token, token]);
  expect(as.tokenRequests("refresh_token")).toHaveLength(1);
});

test.each([
  ["ten seconds", undefined, 10_000],
  ["what the app says", 3000, 3000],
])("a logout at a server that does not answer ends after %s", async (_rule, requestTimeout, ms) => {
  const server = await startServer();
  const store = new MemoryStore();
  const clock = manualClock(farAway);
  await seed(server, store, { clock, lifetimeSeconds: 60 });
  let asked = 0;
  const count: Hook = (...request) => {
    asked++;
    return hang(...request);
  };
  server.authorizationServer.intercept(when(pathEnds("/revoke"), count));
  const { auth } = manager(server, { store, clock, requestTimeout });
  const leaving = auth.logout();
  for (const request of [1, 2]) {
    await expect.poll(() => asked).toBe(request);
    clock.advance(ms);
  }
  expect(await leaving).toMatchObject({ wasLoggedIn: true, refreshTokenRevoked: false });
});

test("no limit is left behind by what has been answered", async () => {
  const server = await startServer();
  const store = new MemoryStore();
  const clock = manualClock(farAway);
  await seed(server, store, { clock, lifetimeSeconds: 60 });
  const { auth } = manager(server, { store, clock, loginHandler: userAtHand() });
  server.authorizationServer.intercept(when(tokenRequest("refresh_token"), closeAfter, 1));
  clock.advance(minutes(2));
  await auth.getAccessToken().catch(() => {});
  await auth.authorize();
  expect(clock.timers).toEqual([]);
});

test("a login whose time is over before the user is sent away ends, even where the handler does not look", async () => {
  const server = await startServer();
  const clock = manualClock(farAway);
  let opened = 0;
  const loginHandler: LoginHandler = {
    async start() {
      clock.advance(minutes(5));
      const redirectUri = "http://127.0.0.1:1/callback";
      return {
        redirectUri,
        redirectUris: [redirectUri],
        authorize(_url, _receive, signal) {
          opened++;
          return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
        },
        close: async () => {},
      };
    },
  };
  const { auth } = manager(server, { clock, loginHandler, clientId: "known", redirectUris: ["http://127.0.0.1:1/callback"] });
  expect((await failure(auth.authorize())).code).toBe("login_timeout");
  expect(opened).toBe(0);
});

test("the user's time counts until the answer: tokens that come later are those of the login", async () => {
  const server = await startServer();
  const { authorizationServer: as } = server;
  const clock = manualClock(farAway);
  const { auth, events } = manager(server, { clock, loginHandler: userAtHand() });
  const late = gate(tokenRequest("authorization_code"), "after");
  as.intercept(late.hook);
  as.grantScopes = () => ["mcp:read"];
  const login = auth.authorize();
  await late.reached(1);
  expect(clock.timers.every((ms) => ms < minutes(5))).toBe(true);
  late.open();
  expect(await login).toBe("authorized");
  // What was granted, which is less than what was asked for.
  expect(events.find(({ type }) => type === "login.finished")).toMatchObject({ scopes: ["mcp:read"] });
  expect(events.find(({ type }) => type === "login.started")).toMatchObject({ scopes: ["mcp:read", "offline_access"] });
});

test.each([
  // how far the clock moves, how often the user was asked
  ["59 s later", 59_000, 1],
  ["a minute later", 60_000, 2],
  ["after the clock was put back by an hour", -minutes(60), 2],
])("a user who said no is asked again by a request: %s", async (_name, ms, asked) => {
  const server = await startServer();
  const clock = manualClock();
  const loginHandler = userAtHand();
  const { auth } = manager(server, { clock, loginHandler });
  const request = () => {
    server.authorizationServer.nextDecision = "deny";
    return failure(auth.fetch(server.url, toolRequest("add", { a: 1, b: 2 })));
  };
  expect(await request()).toMatchObject({ code: "authorization_denied" });
  clock.jump(ms);
  expect(await request()).toMatchObject({ code: "authorization_denied" });
  expect(loginHandler.opened).toBe(asked);
});
