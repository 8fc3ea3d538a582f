/** What a token endpoint may answer to a refresh, seen from the app: what it gets, and what is stored afterwards. */
import { describe, expect, test } from "vitest";
import { type Answer, failure, world } from "../discovery/support.ts";
import {
  call,
  first,
  json,
  manager,
  outcome,
  protectedWorld,
  serverUrl,
  stored,
  stubUser,
  TestClock,
  text,
  tokenEndpoint,
} from "./support.ts";

const net = world();

/** A rotated answer. */
const good = { access_token: "access-2", token_type: "Bearer", expires_in: 1000, refresh_token: "refresh-2", scope: "a" };
const without = (name: keyof typeof good) => ({ ...good, [name]: undefined });
const retryAfter = (status: number, value: string) => text(null, { status, headers: { "retry-after": value } });

interface Case {
  what: string;
  /** What the token endpoint answers, the last one for ever. */
  answers: Answer[];
  /** The access token, or the error's code where a token is needed now and there is no user. */
  outcome: string;
  /** How often it is asked. */
  asked: number;
  /** The refresh token that is stored afterwards. */
  refresh: "refresh-1" | "refresh-2" | undefined;
}

const accepted = (what: string, body: unknown, refresh: Case["refresh"] = "refresh-2"): Case => ({
  what,
  answers: [typeof body === "function" ? (body as Answer) : json(body)],
  outcome: "access-2",
  asked: 1,
  refresh,
});
/** 2xx, but no access token: what came beside it is kept. */
const kept = (what: string, body: unknown, refresh: Case["refresh"] = "refresh-2"): Case => ({
  what,
  answers: [typeof body === "function" ? (body as Answer) : json(body)],
  outcome: "invalid_token_response",
  asked: 1,
  refresh,
});
/** Refused, though not finally: nothing is deleted. */
const refused = (what: string, answer: Answer, code = "login_required"): Case => ({
  what,
  answers: [answer],
  outcome: code,
  asked: 1,
  refresh: "refresh-1",
});
const repeated = (what: string, answers: Answer[], outcome: string, asked: number): Case => ({
  what,
  answers,
  outcome,
  asked,
  refresh: outcome === "access-2" ? "refresh-2" : "refresh-1",
});

const cases: Case[] = [
  accepted("as the RFC has it", good),
  accepted(
    "form encoding",
    text(String(new URLSearchParams(good as unknown as Record<string, string>)), { type: "application/x-www-form-urlencoded" }),
  ),
  accepted("JSON as text/html", text(JSON.stringify(good), { type: "text/html" })),
  accepted("status 201", json(good, 201)),
  accepted("expires_in as text", { ...good, expires_in: "1000" }),
  accepted("expires_in null", { ...good, expires_in: null }),
  accepted("expires_in negative", { ...good, expires_in: -5 }),
  accepted("expires_in 0", { ...good, expires_in: 0 }),
  accepted("no expires_in", without("expires_in")),
  accepted("scope null", { ...good, scope: null }),
  accepted("scope as an array", { ...good, scope: ["a"] }),
  accepted("no token_type", without("token_type")),
  accepted("token_type null", { ...good, token_type: null }),
  accepted("extra members", { ...good, ext: { a: 1 }, id_token: "not a JWT" }),
  accepted("REQ-TOK-05 no refresh_token", without("refresh_token"), "refresh-1"),
  accepted("refresh_token null", { ...good, refresh_token: null }, "refresh-1"),

  kept("no access_token", without("access_token")),
  kept("access_token null", { ...good, access_token: null }),
  kept("access_token that no header can carry", { ...good, access_token: "a\r\nx: y" }),
  kept("token_type of another kind", { ...good, token_type: "DPoP" }),
  kept("an empty object", {}, "refresh-1"),
  kept("204", text(null, { status: 204 }), "refresh-1"),
  kept("truncated JSON", text(JSON.stringify(good).slice(0, 40)), "refresh-1"),
  kept("a login page", text("<!doctype html>", { type: "text/html" }), "refresh-1"),

  refused("400 invalid_request", json({ error: "invalid_request" }, 400)),
  refused("400 invalid_target", json({ error: "invalid_target" }, 400)),
  refused("400 unauthorized_client", json({ error: "unauthorized_client" }, 400)),
  refused("400 with an empty body", text(null, { status: 400 })),
  refused("400 as text/html that mentions invalid_grant", text("<p>invalid_grant", { status: 400, type: "text/html" })),
  refused("a firewall's 403", text("<p>Blocked", { status: 403, type: "text/html" })),
  refused("404", text(null, { status: 404 })),
  refused("200 with another error", json({ error: "bad_verification_code" })),
  refused("a redirect", text(null, { status: 302, headers: { location: "/login" } }), "redirect_refused"),
  refused("a huge body", text(`{"filler":"${"x".repeat(1024 * 1024)}"}`), "response_too_large"),

  { ...refused("400 invalid_grant: final", json({ error: "invalid_grant" }, 400), "login_required"), refresh: undefined },
  { ...refused("200 with invalid_grant: final", json({ error: "invalid_grant" }), "login_required"), refresh: undefined },
  {
    ...refused("401 invalid_client: the dynamic registration's login is over", json({ error: "invalid_client" }, 401), "invalid_client"),
    refresh: undefined,
  },

  repeated("503, then success", [text(null, { status: 503 }), json(good)], "access-2", 2),
  repeated("a lost connection, then success", ["unreachable", json(good)], "access-2", 2),
  repeated("429 and 502, then success", [retryAfter(429, "1"), text(null, { status: 502 }), json(good)], "access-2", 3),
  repeated("503 for ever", [text(null, { status: 503 })], "server_error", 3),
  repeated("429 for ever", [retryAfter(429, "2")], "rate_limited", 3),
  repeated("no connection for ever", ["unreachable"], "network_error", 3),
  repeated("503 with a longer Retry-After than anybody waits", [retryAfter(503, "3600")], "server_error", 1),
  repeated("503 with invalid_grant", [json({ error: "invalid_grant" }, 503)], "server_error", 3),
  repeated("400 temporarily_unavailable", [json({ error: "temporarily_unavailable" }, 400)], "server_error", 3),
];

/** Logged in at the beginning of the test; then the token endpoint answers as the case says. */
async function loggedIn(answers: Answer[], options: Parameters<typeof manager>[0] = {}) {
  const servers = protectedWorld(net);
  const before = manager({ loginHandler: stubUser() });
  expect(await before.auth.authorize()).toBe("authorized");
  expect(await stored(before.store)).toEqual({ access: "access-1", refresh: "refresh-1" });
  servers.tokenRequests.length = 0;
  servers.answerTokens(...answers);
  // A new process: what is known is what is stored.
  const after = manager({ store: before.store, clock: before.clock, ...options });
  return { ...servers, ...after };
}

const isGood = (c: Case) => c.outcome === "access-2";

describe("a token is needed now: the stored one has expired", () => {
  test.each(cases)("$what: $outcome, asked $asked times", async ({ answers, outcome: expected, asked, refresh }) => {
    const { auth, clock, store, tokenRequests } = await loggedIn(answers);
    clock.time += 1001_000;
    expect(await outcome(auth.getAccessToken())).toBe(expected);
    expect(tokenRequests).toHaveLength(asked);
    for (const request of tokenRequests)
      expect(request).toMatchObject({ grant_type: "refresh_token", refresh_token: "refresh-1", resource: serverUrl });
    const access = expected === "access-2" ? { access: "access-2" } : { access: "access-1" };
    expect(await stored(store)).toEqual(refresh === undefined ? undefined : { ...access, refresh });
  });

  test.each(cases.filter((c) => c.refresh !== undefined && !isGood(c)))(
    "$what: once the server is well again, the login goes on without a user",
    async ({ answers, refresh }) => {
      const { auth, clock, store, tokenRequests, answerTokens } = await loggedIn(answers);
      clock.time += 1001_000;
      await outcome(auth.getAccessToken());
      answerTokens(json({ ...good, access_token: "access-3", refresh_token: "refresh-3" }));
      clock.time += 3600_000;
      expect(await auth.getAccessToken()).toBe("access-3");
      expect(tokenRequests.at(-1)).toMatchObject({ refresh_token: refresh });
      expect(await stored(store)).toEqual({ access: "access-3", refresh: "refresh-3" });
    },
  );
});

describe("the server refuses a token that looked valid", () => {
  test.each(cases)("$what: $outcome, asked $asked times", async ({ answers, outcome: expected, asked, refresh }) => {
    const { auth, store, tokenRequests, accept } = await loggedIn(answers);
    accept("access-2");
    const response = await outcome(call(auth));
    if (expected === "access-2") expect(response).toMatchObject({ status: 200 });
    else expect(response).toBe(expected === "invalid_grant" ? "login_required" : expected);
    expect(tokenRequests).toHaveLength(asked);
    const access = expected === "access-2" ? { access: "access-2" } : { access: "access-1" };
    expect(await stored(store)).toEqual(refresh === undefined ? undefined : { ...access, refresh });
  });
});

describe("a refresh ahead of expiry: the valid token stays in use, whatever happens", () => {
  test.each(cases)("$what", async (c) => {
    const { auth, clock, store, tokenRequests, events, bearers, accept } = await loggedIn(c.answers);
    accept("access-1", "access-2");
    clock.time += 700_000;
    expect(await auth.getAccessToken()).toBe("access-1");
    await expect.poll(() => events.map(({ type }) => type)).toContainEqual(expect.stringMatching(/^refresh\.(finished|failed)$/));
    expect(tokenRequests).toHaveLength(c.asked);
    // Even what is final later is not final while the token is good.
    expect(await stored(store)).toEqual({ access: isGood(c) ? "access-2" : "access-1", refresh: c.refresh ?? "refresh-1" });
    expect((await call(auth)).status).toBe(200);
    expect(bearers.at(-1)).toBe(isGood(c) ? "access-2" : "access-1");
    // Not tried again at every call.
    expect(tokenRequests).toHaveLength(c.asked);
  });
});

test("invalid_grant within the leeway: the refresh token goes, the access token serves to its end, then the login says why it is over", async () => {
  const { auth, clock, store, tokenRequests } = await loggedIn([json({ error: "invalid_grant", error_description: "revoked" }, 400)]);
  clock.time += 950_000;
  expect(await auth.getAccessToken()).toBe("access-1");
  expect(await stored(store)).toEqual({ access: "access-1" });
  expect(await auth.getAccessToken()).toBe("access-1");
  clock.time += 50_000;
  expect(await failure(auth.getAccessToken())).toMatchObject({
    code: "login_required",
    cause: { code: "invalid_grant", serverDescription: "revoked" },
  });
  expect(tokenRequests).toHaveLength(1);
});

test("a new refresh token beside an unusable access token is used at the next refusal", async () => {
  const { auth, store, tokenRequests, accept, answerTokens } = await loggedIn([json(without("access_token"))]);
  accept("access-3");
  expect(await outcome(call(auth))).toBe("invalid_token_response");
  answerTokens(json({ ...good, access_token: "access-3", refresh_token: "refresh-3" }));
  expect((await call(auth)).status).toBe(200);
  expect(tokenRequests.map((form) => form.refresh_token)).toEqual(["refresh-1", "refresh-2"]);
  expect(await stored(store)).toEqual({ access: "access-3", refresh: "refresh-3" });
});

describe("how long is waited between repetitions", () => {
  test.each<[string, Answer[], (slept: number[]) => void]>([
    ["Retry-After is obeyed", [retryAfter(429, "7"), json(good)], (slept) => expect(slept).toEqual([7000])],
    ["what was sent but not answered is repeated at once", ["unreachable", json(good)], (slept) => expect(slept).toEqual([0])],
    [
      "a failing server is given time, with jitter",
      [text(null, { status: 500 })],
      ([one = 0, two = 0]) => {
        expect(one).toBeGreaterThanOrEqual(250);
        expect(one).toBeLessThanOrEqual(500);
        expect(two).toBeGreaterThanOrEqual(500);
        expect(two).toBeLessThanOrEqual(1000);
      },
    ],
    ["no longer than 30 s in all", [retryAfter(503, "20")], (slept) => expect(slept).toEqual([20_000])],
  ])("%s", async (_what, answers, check) => {
    const { auth, clock } = await loggedIn(answers);
    clock.time += 1001_000;
    await outcome(auth.getAccessToken());
    check(clock.slept);
  });

  test("the error says how long the server asks to wait", async () => {
    const { auth, clock } = await loggedIn([retryAfter(503, "3600")]);
    clock.time += 1001_000;
    expect(await failure(auth.getAccessToken())).toMatchObject({ retryAfterMs: 3600_000, transient: true, issuer: "https://as.example" });
  });
});

describe("with a user, what is refused for now leads to a login that replaces the old one", () => {
  const rotated = { ...first, access_token: "access-9", refresh_token: "refresh-9" };

  test.each(cases.filter((c) => c.asked === 1 && !isGood(c) && c.outcome !== "server_error"))("$what", async ({ answers }) => {
    const loginHandler = stubUser();
    const { auth, clock, store, accept } = await loggedIn([...answers, json(rotated)], { loginHandler });
    clock.time += 1001_000;
    accept("access-9");
    expect((await call(auth)).status).toBe(200);
    expect(loginHandler.asked).toHaveLength(1);
    expect(await stored(store)).toEqual({ access: "access-9", refresh: "refresh-9" });
  });

  test.each(cases.filter((c) => c.refresh === "refresh-1" && c.asked === 1 && !isGood(c) && c.outcome !== "server_error"))(
    "$what, and the user says no: nothing is lost",
    async ({ answers }) => {
      const loginHandler = stubUser("deny");
      const { auth, clock, store, accept } = await loggedIn(answers, { loginHandler });
      clock.time += 1001_000;
      accept("access-9");
      expect(await outcome(call(auth))).toBe("authorization_denied");
      expect(await stored(store)).toEqual({ access: "access-1", refresh: "refresh-1" });
      expect(loginHandler.open).toBe(0);
    },
  );

  test.each(cases.filter((c) => c.asked === 3 && !isGood(c)))(
    "$what passes by itself: nobody is asked",
    async ({ answers, outcome: code }) => {
      const loginHandler = stubUser();
      const { auth, clock, store } = await loggedIn(answers, { loginHandler });
      clock.time += 1001_000;
      expect(await outcome(call(auth))).toBe(code);
      expect(loginHandler.asked).toEqual([]);
      expect(await stored(store)).toEqual({ access: "access-1", refresh: "refresh-1" });
    },
  );
});

test("a pre-registered client that is refused stays, and so does its login: invalid_client", async () => {
  const servers = protectedWorld(net);
  const options = { clientId: "mine", clock: new TestClock() };
  const { auth, clock, store } = manager({ ...options, loginHandler: stubUser() });
  await auth.authorize();
  servers.answerTokens(json({ error: "invalid_client" }, 401));
  clock.time += 1001_000;
  const later = manager({ ...options, store });
  expect(await outcome(later.auth.getAccessToken())).toBe("invalid_client");
  expect(await stored(store)).toEqual({ access: "access-1", refresh: "refresh-1" });
});

test("a dynamic registration that is refused goes, and the next login registers anew", async () => {
  const loginHandler = stubUser();
  const { auth, clock, store, accept, answerTokens } = await loggedIn(
    [json({ error: "invalid_client" }, 401), json({ ...good, access_token: "access-9" })],
    {
      loginHandler,
    },
  );
  net.serve({ "https://as.example/register": { client_id: "client-2" } });
  clock.time += 1001_000;
  accept("access-9");
  expect((await call(auth)).status).toBe(200);
  expect(loginHandler.asked.map((url) => url.searchParams.get("client_id"))).toEqual(["client-2"]);
  expect(await store.get("registrations/https://as.example")).toMatchObject({ clientId: "client-2" });
  answerTokens(json(good));
});

test.each([
  ["30 s", undefined],
  ["the same where one request has less time: it may still be answered", 10_000],
])("a token endpoint that hangs is asked once, for %s; then timeout, and the login stays", async (_rule, requestTimeout) => {
  let sent = 0;
  const hangs = () => {
    sent++;
    return new Promise<never>(() => {});
  };
  const { auth, clock, store } = await loggedIn([json(good)], {
    requestTimeout,
    fetch: (input, init) => (String(input) === tokenEndpoint ? hangs() : fetch(input, init)),
  });
  clock.time += 1001_000;
  const startedAt = clock.time;
  const result = outcome(auth.getAccessToken());
  await expect.poll(() => sent).toBe(1);
  clock.reachLimit();
  expect(await result).toBe("timeout");
  expect([sent, clock.time - startedAt]).toEqual([1, 30_000]);
  expect(await stored(store)).toEqual({ access: "access-1", refresh: "refresh-1" });
});
