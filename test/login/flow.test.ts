/** A login that cannot work with the registration that is there, and what an authorization request asks for. */
import { HttpResponse } from "msw";
import { describe, expect, test } from "vitest";
import type { LoginHandler } from "../../src/authorization/login-handler.ts";
import type { Challenge } from "../../src/discovery/challenge.ts";
import { planAuthorization } from "../../src/login/authorization.ts";
import { createSession } from "../../src/login/session.ts";
import { MemoryStore } from "../../src/stores/memory.ts";
import { first, issuer, json, manager, outcome, protectedWorld, serverUrl, stubUser, TestClock } from "../answers/support.ts";
import { type Answer, world } from "../discovery/support.ts";
import { endLogin } from "../storm/support.ts";

const net = world();
const registered = () => net.asked.filter((url) => url === `${issuer}/register`).length;

/** A user whose browser brings this, and afterwards a code. */
function userWith(response: Record<string, string> | Error): LoginHandler {
  let isFirst = true;
  const start: LoginHandler["start"] = async () => ({
    redirectUri: "http://127.0.0.1:4711/callback",
    redirectUris: ["http://127.0.0.1:4711/callback"],
    async authorize(url, receive) {
      const wasFirst = isFirst;
      isFirst = false;
      if (wasFirst && response instanceof Error) throw response;
      const state = url.searchParams.get("state") ?? "";
      await receive(new URLSearchParams({ state, ...(wasFirst && !(response instanceof Error) ? response : { code: "c" }) }));
    },
    close: async () => {},
  });
  return { start };
}

/** A second login in a store that holds the registration of the first. */
async function secondLogin(loginHandler: LoginHandler, answers: Answer[], options: Parameters<typeof manager>[0] = {}) {
  const store = new MemoryStore();
  const clock = new TestClock();
  const { answerTokens } = protectedWorld(net);
  const before = manager({ store, clock, loginHandler: stubUser(), ...options });
  await before.auth.authorize();
  await endLogin(before.auth, store);
  clock.time += 1000;
  const registrations = registered();
  answerTokens(...answers, json(first));
  const { auth, events } = manager({ store, clock, loginHandler, ...options });
  const result = await auth.authorize().catch((error: Error & { code?: string }) => error.code ?? error.message);
  const stale = events.flatMap((event) => (event.type === "registration.stale" ? [event.reason] : []));
  return { result, again: registered() - registrations, stale };
}

describe("a registration of an earlier login", () => {
  const code = { code: "c" };
  test.each<[what: string, response: Record<string, string> | Error, answers: Answer[], result: string, again: number]>([
    ["the token endpoint does not know it: it is made anew", code, [json({ error: "invalid_client" }, 401)], "authorized", 1],
    ["… or does not let it: the same", code, [json({ error: "unauthorized_client" }, 400)], "authorized", 1],
    ["the authorization endpoint does not let it: the same", { error: "unauthorized_client" }, [], "authorized", 1],
    ["… or does not know it: the same", { error: "invalid_client" }, [], "authorized", 1],
    ["another refusal of the code keeps it", code, [json({ error: "invalid_target" }, 400)], "token_request_refused", 0],
    ["another refusal of the request keeps it", { error: "invalid_scope" }, [], "authorization_error", 0],
    ["a user's no keeps it", { error: "access_denied" }, [], "authorization_denied", 0],
    ["an error of the app's own keeps it", new Error("the app's own"), [], "the app's own", 0],
  ])("%s", async (_what, response, answers, result, again) => {
    const found = await secondLogin(userWith(response), answers);
    expect(found).toEqual({ result, again, stale: again ? ["refused"] : [] });
  });

  test.each<[what: string, response: Record<string, string>]>([
    ["a code", { code: "c" }],
    ["a user's no", { error: "access_denied" }],
    ["an error of the server", { error: "server_error" }],
  ])("%s is an answer: when the login ends, nothing says that there was none", async (_what, response) => {
    protectedWorld(net);
    const store = new MemoryStore();
    await manager({ store, loginHandler: userWith(response) })
      .auth.authorize()
      .catch(() => {});
    const [key = ""] = await store.keys("registrations/");
    expect(await store.get(key)).toMatchObject({ clientId: "client-1" });
    expect(await store.get(key)).not.toHaveProperty("unanswered");
  });

  test("once: what the server says of a new one stands", async () => {
    const refusal = json({ error: "invalid_client" }, 401);
    expect(await secondLogin(stubUser(), [refusal, refusal])).toEqual({ result: "invalid_client", again: 1, stale: ["refused"] });
  });

  test("a client that the app has brought along is not replaced", async () => {
    const found = await secondLogin(stubUser(), [json({ error: "invalid_client" }, 401)], { clientId: "of-the-app" });
    expect(found).toEqual({ result: "invalid_client", again: 0, stale: [] });
  });
});

describe("responses", () => {
  /** What becomes of responses that come one after the other. */
  async function received(...responses: ((state: string) => Record<string, string>)[]) {
    const results: unknown[] = [];
    const { tokenRequests } = protectedWorld(net);
    const start: LoginHandler["start"] = async () => ({
      redirectUri: "http://127.0.0.1:4711/callback",
      redirectUris: ["http://127.0.0.1:4711/callback"],
      async authorize(url, receive) {
        for (const response of responses) {
          const parameters = new URLSearchParams(response(url.searchParams.get("state") ?? ""));
          results.push(await outcome(receive(parameters)));
        }
      },
      close: async () => {},
    });
    const { auth } = manager({ loginHandler: { start } });
    await outcome(auth.authorize());
    return { results, codes: tokenRequests.map(({ code }) => code) };
  }

  test("after a code was taken, the same response belongs to no login", async () => {
    const response = (state: string) => ({ state, code: "once" });
    expect(await received(response, response)).toEqual({ results: [undefined, "state_mismatch"], codes: ["once"] });
  });

  test("before that, one of another login does not end this one", async () => {
    const found = await received(
      () => ({ state: "of-another-login", code: "foreign" }),
      (state) => ({ state, code: "own" }),
    );
    expect(found).toEqual({ results: ["state_mismatch", undefined], codes: ["own"] });
  });
});

test("a handler that ends without a response is told so", async () => {
  protectedWorld(net);
  const redirectUris = ["http://127.0.0.1:4711/callback"];
  const session = { redirectUri: "http://127.0.0.1:4711/callback", redirectUris, authorize: async () => {}, close: async () => {} };
  const { auth } = manager({ loginHandler: { start: async () => session } });
  await expect(auth.authorize()).rejects.toMatchObject({ code: "invalid_authorization_response", issuer });
});

describe("which redirect URIs a login handler is to listen at", () => {
  const ofTheApp = ["http://127.0.0.1:5000/callback"];
  const ofTheStore = ["http://127.0.0.1:4711/callback"];
  test.each<[rule: string, redirectUris: string[] | undefined, first: unknown, second: unknown]>([
    ["any, then those that were registered", undefined, [undefined, false], [ofTheStore, false]],
    ["the app's, which are fixed", ofTheApp, [ofTheApp, true], [ofTheApp, true]],
  ])("%s", async (_rule, redirectUris, first, second) => {
    protectedWorld(net);
    const user = stubUser();
    const wanted: unknown[] = [];
    const start: LoginHandler["start"] = (request) => {
      wanted.push([request.redirectUris, request.fixed]);
      return user.start(request);
    };
    const { auth, store } = manager({ loginHandler: { start }, redirectUris });
    await auth.authorize();
    await endLogin(auth, store);
    await auth.authorize();
    expect(wanted).toEqual([first, second]);
  });
});

test("a login that ended while its client was registered opens no window", async () => {
  protectedWorld(net);
  const handler = stubUser();
  const { auth, events } = manager({ loginHandler: handler });
  const ended = Promise.withResolvers<void>();
  net.serve({
    [`${issuer}/register`]: async () => {
      // The answer arrives all the same: the abort of a `fetch` is a race.
      ended.resolve();
      await auth.dispose();
      return HttpResponse.json({ client_id: "late" }, { status: 201 });
    },
  });
  const login = outcome(auth.authorize());
  await ended.promise;
  expect(await login).toBe("disposed");
  expect([handler.asked, events.filter(({ type }) => type === "login.opened")]).toEqual([[], []]);
});

test("a login that ended while its handler began to listen opens no window", async () => {
  protectedWorld(net);
  const user = stubUser();
  const begun = Promise.withResolvers<void>();
  const start: LoginHandler["start"] = async (request) => {
    begun.resolve();
    // Not awaited: it waits for the end of this login.
    void auth.dispose();
    return user.start(request);
  };
  // With a client of the app's own nothing is requested in between that would notice.
  const { auth, events } = manager({ loginHandler: { start }, clientId: "of-the-app" });
  const login = outcome(auth.authorize());
  await begun.promise;
  expect(await login).toBe("disposed");
  expect([user.asked, user.open, events.filter(({ type }) => type === "login.opened")]).toEqual([[], 0, []]);
});

test.each([
  ["is refused where the server says that it sends one", true, "issuer_mismatch"],
  ["is taken where the server says that it does not", false, "authorized"],
  ["is taken where the server says nothing", undefined, "authorized"],
])("a response without `iss` %s", async (_rule, isSent, expected) => {
  protectedWorld(net);
  net.serve({
    [`${issuer}/.well-known/oauth-authorization-server`]: {
      issuer,
      authorization_endpoint: `${issuer}/authorize`,
      token_endpoint: `${issuer}/token`,
      code_challenge_methods_supported: ["S256"],
      authorization_response_iss_parameter_supported: isSent,
    },
  });
  const { auth } = manager({ loginHandler: stubUser(), clientId: "of-the-app" });
  expect(await outcome(auth.authorize())).toBe(expected);
});

describe("`openid` among the scopes", () => {
  const strong = { acrValues: "2fa" };
  test.each<[rule: string, supported: string[] | undefined, scope: string | undefined, asked: Partial<Challenge>, scopes: string[]]>([
    ["comes with `acr_values`", ["openid", "a"], "a", strong, ["a", "openid"]],
    ["comes with `max_age`", ["openid", "a"], "a", { maxAge: "60" }, ["a", "openid"]],
    ["not without these", ["openid", "a"], "a", {}, ["a"]],
    ["not where the server does not list it", ["a"], "a", strong, ["a"]],
    ["not where the server lists nothing", undefined, "a", strong, ["a"]],
    ["not alone: no scope at all means the server's default", ["openid"], undefined, strong, []],
    ["not twice", ["openid", "a"], "a openid", strong, ["a", "openid"]],
  ])("%s", (_rule, supported, scope, asked, scopes) => {
    const session = createSession({ serverUrl, store: new MemoryStore() });
    const server = { issuer, scopes_supported: supported } as never;
    const discovery = { issuer, server, resource: serverUrl } as never;
    const challenge = { status: 401, scope, ...asked } as Challenge;
    const planned = planAuthorization(session, discovery, { challenge, signal: new AbortController().signal });
    expect([...planned.scopes].sort()).toEqual(scopes);
  });
});
