/** What a token endpoint may answer to an authorization code, seen from the app: the login's outcome, and what is stored. */
import { describe, expect, test } from "vitest";
import { type Answer, world } from "../discovery/support.ts";
import { call, first, json, manager, outcome, protectedWorld, stored, stubUser, text } from "./support.ts";

const net = world();
const without = (name: keyof typeof first) => ({ ...first, [name]: undefined });

type Case = [what: string, answer: Answer, outcome: string, stored: { access?: string; refresh?: string } | undefined];
const both = { access: "access-1", refresh: "refresh-1" };

const cases: Case[] = [
  ["as the RFC has it", json(first), "authorized", both],
  [
    "form encoding, GitHub's way",
    text("access_token=access-1&token_type=bearer&refresh_token=refresh-1", { type: "text/plain" }),
    "authorized",
    both,
  ],
  ["JSON as text/html", text(JSON.stringify(first), { type: "text/html" }), "authorized", both],
  ["status 201", json(first, 201), "authorized", both],
  ["expires_in as text", json({ ...first, expires_in: "1000" }), "authorized", both],
  ["expires_in null", json({ ...first, expires_in: null }), "authorized", both],
  ["expires_in 0", json({ ...first, expires_in: 0 }), "authorized", both],
  ["no expires_in", json(without("expires_in")), "authorized", both],
  ["scope null", json({ ...first, scope: null }), "authorized", both],
  ["no token_type", json(without("token_type")), "authorized", both],
  ["extra members", json({ ...first, more: [1] }), "authorized", both],
  ["REQ-AUTHZ-04 no refresh token: none is assumed", json(without("refresh_token")), "authorized", { access: "access-1" }],
  ["refresh_token null", json({ ...first, refresh_token: null }), "authorized", { access: "access-1" }],

  ["no access_token: the refresh token survives", json(without("access_token")), "invalid_token_response", { refresh: "refresh-1" }],
  [
    "access_token null: the refresh token survives",
    json({ ...first, access_token: null }),
    "invalid_token_response",
    { refresh: "refresh-1" },
  ],
  [
    "another token_type: the refresh token survives",
    json({ ...first, token_type: "DPoP" }),
    "invalid_token_response",
    { refresh: "refresh-1" },
  ],

  ["an empty object", json({}), "invalid_token_response", undefined],
  ["204", text(null, { status: 204 }), "invalid_token_response", undefined],
  ["truncated JSON", text(JSON.stringify(first).slice(0, 30)), "invalid_token_response", undefined],
  ["a login page", text("<!doctype html>", { type: "text/html" }), "invalid_token_response", undefined],
  ["invalid_grant", json({ error: "invalid_grant" }, 400), "invalid_grant", undefined],
  ["invalid_client", json({ error: "invalid_client" }, 401), "invalid_client", undefined],
  ["400 with an empty body", text(null, { status: 400 }), "token_request_refused", undefined],
  ["400 as text/html", text("<p>no", { status: 400, type: "text/html" }), "token_request_refused", undefined],
  ["a firewall's 403", text("<p>no", { status: 403, type: "text/html" }), "token_request_refused", undefined],
  ["an error with status 200", json({ error: "bad_verification_code" }), "token_request_refused", undefined],
  ["a redirect", text(null, { status: 307, headers: { location: "https://evil.example/token" } }), "redirect_refused", undefined],
  ["a huge body", text("x".repeat(1024 * 1024 + 1)), "response_too_large", undefined],
  // A code is sent once: a server that has seen it may treat a second time as theft (RFC 6749 §4.1.2).
  ["503", text(null, { status: 503 }), "server_error", undefined],
  ["429", text(null, { status: 429 }), "rate_limited", undefined],
  ["no connection", "unreachable", "network_error", undefined],
];
const kept = cases.filter(([, , , after]) => after?.refresh && !after.access);

describe("the first login", () => {
  test.each(cases.map(([what, answer, result, after]) => ({ what, answer, result, after })))(
    "$what: $result",
    async ({ answer, result, after }) => {
      const { tokenRequests, answerTokens } = protectedWorld(net);
      const loginHandler = stubUser();
      const { auth, store } = manager({ loginHandler });
      answerTokens(answer);
      expect(await outcome(auth.authorize())).toBe(result);
      expect(tokenRequests).toEqual([expect.objectContaining({ grant_type: "authorization_code", code: "the-authorization-code" })]);
      expect(await stored(store)).toEqual(after);
      expect(net.asked.filter((url) => url.includes("evil.example"))).toEqual([]);
      expect(loginHandler.open, "places that wait for an answer").toBe(0);
      // The registration is good for the next try.
      expect(await store.get("registrations/https://as.example")).toMatchObject({ clientId: "client-1" });
    },
  );

  test.each(kept.map(([what, answer]) => ({ what, answer })))("$what, and is enough to go on without a user", async ({ answer }) => {
    const { answerTokens } = protectedWorld(net);
    const { auth, store } = manager({ loginHandler: stubUser() });
    answerTokens(answer, json({ ...first, access_token: "access-2", refresh_token: "refresh-2" }));
    await outcome(auth.authorize());
    expect(await manager({ store }).auth.getAccessToken()).toBe("access-2");
    expect(await stored(store)).toEqual({ access: "access-2", refresh: "refresh-2" });
  });
});

describe("a second login that fails leaves the first one as it was", () => {
  const failing = cases.filter(([, , result, after]) => result !== "authorized" && after === undefined);
  test.each(failing.map(([what, answer, result]) => ({ what, answer, result })))("$what: $result", async ({ answer, result }) => {
    const { answerTokens } = protectedWorld(net);
    const { auth, store } = manager({ loginHandler: stubUser(), clientMetadata: { scope: "a b" } });
    await auth.authorize();
    const before = await everything(store);
    answerTokens(answer);
    expect(await outcome(auth.authorize({ scopes: ["b"] }))).toBe(result);
    expect(await everything(store)).toEqual(result === "invalid_client" ? expect.objectContaining(tokensOf(before)) : before);
    expect((await call(auth)).status).toBe(200);
  });
});

/** All that is stored, except what was discovered: that is only a cache. */
async function everything(store: { keys(prefix: string): Promise<string[]>; get(key: string): Promise<unknown> }) {
  const names = (await store.keys("")).filter((key) => !/^(servers|refusals)\//.test(key));
  return Object.fromEntries(await Promise.all(names.map(async (key) => [key, await store.get(key)] as const)));
}
const tokensOf = (all: Record<string, unknown>) => Object.fromEntries(Object.entries(all).filter(([key]) => key.startsWith("tokens/")));
