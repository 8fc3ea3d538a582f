/** `nonce` of requests for an ID token: some servers refuse a request without it. */
import { describe, expect, test } from "vitest";
import { first, json, manager, outcome, protectedWorld, stored, stubUser } from "../answers/support.ts";
import { world } from "../discovery/support.ts";

const net = world();
const base64url = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
const idToken = (claims: object) => `${base64url({ alg: "none" })}.${base64url(claims)}.c2ln`;

/** A login whose ID token is made from the nonce that was sent. */
async function logIn(options: Parameters<typeof manager>[0], made: (nonce: string | null) => unknown) {
  const { answerTokens } = protectedWorld(net);
  const loginHandler = stubUser();
  const parts = manager({ loginHandler, ...options });
  const sent = () => loginHandler.asked[0]?.searchParams.get("nonce") ?? null;
  answerTokens((request) => {
    const answer = json({ ...first, id_token: made(sent()) });
    return typeof answer === "function" ? answer(request) : Promise.reject(answer);
  });
  return { ...parts, result: await outcome(parts.auth.authorize()), nonce: sent() };
}

describe("whether it is sent", () => {
  test.each([
    // scopes,               parameters,             sent
    [["openid", "a"], undefined, expect.stringMatching(/^[\w-]{43}$/)],
    [["a"], undefined, null],
    [["a"], { scope: "a openid" }, expect.stringMatching(/^[\w-]{43}$/)],
    [["openid"], { scope: "a" }, null],
    [["openid"], { nonce: "the-apps-own" }, "the-apps-own"],
    [["a"], { nonce: "the-apps-own" }, "the-apps-own"],
  ])("scopes %j, parameters %j", async (scopes, authorizationParameters, sent) => {
    const { nonce, result } = await logIn({ scopes, authorizationParameters }, (value) => (value ? idToken({ nonce: value }) : undefined));
    expect(result).toBe("authorized");
    expect(nonce).toEqual(sent);
  });

  test("another one for each login", async () => {
    const nonces = [];
    for (let login = 0; login < 2; login++) nonces.push((await logIn({ scopes: ["openid"] }, (nonce) => idToken({ nonce }))).nonce);
    expect(new Set(nonces).size).toBe(2);
  });
});

describe("what the ID token says", () => {
  const saved = { access: "access-1", refresh: "refresh-1" };
  test.each([
    // what,                               ID token,                                outcome,      stored,    concession
    ["the nonce that was sent", (nonce: unknown) => idToken({ nonce }), "authorized", saved, 0],
    ["no ID token", () => undefined, "authorized", saved, 0],
    ["null", () => null, "authorized", saved, 0],
    ["one that is encrypted", () => "a.b.c.d.e", "authorized", saved, 0],
    ["no nonce: PKCE binds the code all the same", () => idToken({ sub: "alice" }), "authorized", saved, 1],
    ["another login's nonce", () => idToken({ nonce: "another" }), "invalid_token_response", undefined, 0],
    ["a nonce that is a number", () => idToken({ nonce: 1 }), "authorized", saved, 1],
  ])("%s", async (_what, made, outcome, after, concessions) => {
    const { result, store, events } = await logIn({ scopes: ["openid"] }, made);
    expect(result).toBe(outcome);
    expect(await stored(store)).toEqual(after);
    expect(events.filter((event) => event.type === "discovery.concession")).toHaveLength(concessions);
  });
});
