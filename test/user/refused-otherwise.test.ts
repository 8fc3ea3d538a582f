/** A server that tells a refused token by something else than 401: what costs least is tried first, and nobody is asked in vain. */
import { describe, expect, test } from "vitest";
import { MemoryStore } from "../../src/index.ts";
import { answer, type Hook, tokenRequest, toolCall, when } from "../fixture/index.ts";
import { codeOf, failure, manager, manualClock, minutes, post, seed, startServer, tally, userAtHand } from "../storm/support.ts";

const bearer = (parameters: string) => ({ "www-authenticate": `Bearer ${parameters}` });
const insufficient = (scope: string) => answer(403, {}, bearer(`error="insufficient_scope", scope="${scope}"`));

/** A login in the store whose access token the MCP server refuses as the test says. */
async function refusing(refusal: Hook, { isLasting = false, interactive = true } = {}) {
  const server = await startServer({ authorizationServer: { accessTokenTtlSeconds: 3600 } });
  const [store, clock, handler] = [new MemoryStore(), manualClock(), userAtHand()];
  const tokens = await seed(server, store, { clock });
  const made = manager(server, { store, clock, loginHandler: handler, interactive });
  const old = `Bearer ${tokens.accessToken}`;
  server.mcpServer.intercept(when(({ headers }) => isLasting || headers.authorization === old, refusal));
  const refreshes = () => server.authorizationServer.tokenRequests("refresh_token").length;
  return { server, as: server.authorizationServer, mcp: server.mcpServer, store, clock, handler, tokens, refreshes, ...made };
}

describe("a 4xx that names the error is a refusal like 401", () => {
  test.each<[what: string, refusal: Hook]>([
    ["403", answer(403, {}, bearer('error="invalid_token", error_description="The token expired"'))],
    ["400", answer(400, { error: "invalid_token" }, bearer('error="invalid_token"'))],
    ["404", answer(404, "", bearer('realm="x", error="invalid_token"'))],
  ])("%s with `invalid_token`: one refresh, nobody is asked", async (_what, refusal) => {
    const { auth, handler, refreshes } = await refusing(refusal);
    expect(await tally(Array.from({ length: 20 }, () => post(auth)))).toEqual({ 200: 20 });
    expect([refreshes(), handler.opened]).toEqual([1, 0]);
  });

  test("… and where the refresh token is dead as well, one login", async () => {
    const { as, auth, handler } = await refusing(answer(403, {}, bearer('error="invalid_token"')));
    as.endLogins();
    expect(await tally(Array.from({ length: 20 }, () => post(auth)))).toEqual({ 200: 20 });
    expect(handler.opened).toBe(1);
  });

  test.each<[what: string, status: number, headers: Record<string, string>]>([
    ["a gateway's 403 without a challenge", 403, {}],
    ["a 400 for another error", 400, bearer('error="invalid_request"')],
    ["a 503 that names it all the same", 503, bearer('error="invalid_token"')],
  ])("%s is not: it is returned", async (_what, status, headers) => {
    const { auth, handler, refreshes } = await refusing(answer(status, "", headers));
    expect(await post(auth)).toBe(status);
    expect([refreshes(), handler.opened]).toEqual([0, 0]);
  });
});

describe("`insufficient_scope` for scopes that the token has", () => {
  test.each<[what: string, scope: string, interactive: boolean]>([
    ["nobody is there", "mcp:read", false],
    ["somebody is there", "mcp:read", true],
    ["no scope is named", "", false],
  ])("a token that has expired, %s: one refresh for all calls", async (_what, scope, interactive) => {
    const { auth, handler, refreshes } = await refusing(insufficient(scope), { interactive });
    expect(await tally(Array.from({ length: 20 }, () => post(auth)))).toEqual({ 200: 20 });
    expect([refreshes(), handler.opened]).toEqual([1, 0]);
  });

  test("where the server has not named the granted scopes, those that were asked for count", async () => {
    const { store, server, auth, refreshes } = await refusing(insufficient("a b"), { interactive: false });
    const key = `tokens/default/${server.url}`;
    const { scope: _, ...record } = (await store.get(key)) ?? { v: 1 };
    await store.set(key, { ...record, v: 1, requestedScopes: ["b", "a"] });
    expect([await post(auth), refreshes()]).toEqual([200, 1]);
  });

  test("scopes that it lacks: no refresh, a user is asked", async () => {
    const { auth, handler, refreshes } = await refusing(insufficient("mcp:read mcp:write"));
    expect(await post(auth)).toBe(200);
    expect([refreshes(), handler.opened]).toEqual([0, 1]);
  });

  test("a server that is never content costs one refresh in ten minutes, and then is dealt with as ever", async () => {
    const { auth, mcp, clock, refreshes, tokens, as } = await refusing(insufficient("mcp:read"), { isLasting: true, interactive: false });
    for (let call = 0; call < 5; call++) expect((await failure(post(auth))).code).toBe("insufficient_scope");
    expect([refreshes(), mcp.calls("add").length]).toEqual([1, 6]);
    expect(await auth.getAccessToken()).not.toBe(tokens.accessToken);
    expect(as.liveLogins).toBe(1);
    clock.advance(minutes(11));
    expect((await failure(post(auth))).code).toBe("insufficient_scope");
    expect(refreshes()).toBe(2);
  });

  test("a refresh that is refused deletes nothing: other operations may still be allowed", async () => {
    const { as, auth, tokens, store, server } = await refusing(answer(500), { interactive: false });
    server.mcpServer.reset();
    server.mcpServer.intercept(when(toolCall("count"), insufficient("mcp:read")));
    as.intercept(when(tokenRequest("refresh_token"), answer(400, { error: "invalid_grant" })));
    expect(codeOf(await post(auth, "count", { id: "x" }).catch((error: unknown) => error))).toBe("insufficient_scope");
    expect(await store.get(`tokens/default/${server.url}`)).toMatchObject({ refreshToken: tokens.refreshToken });
    expect(await post(auth)).toBe(200);
  });
});
