/** What short programs learn from those that ran before them: how often a refresh has failed, and that it was refused. */
import { describe, expect, test } from "vitest";
import { McpAuthError } from "../../src/errors.ts";
import { LoginRequiredError, MemoryStore } from "../../src/index.ts";
import { holdingBack, withFailure, withRefusal } from "../../src/tokens/refresh-history.ts";
import { answer, closeBefore, type Hook, tokenRequest, when } from "../fixture/index.ts";
import { codeOf, manager, manualClock, minutes, post, seed, startServer, userAtHand, WatchedStore } from "../storm/support.ts";

const refreshes = tokenRequest("refresh_token");
const broken = answer(500, "<h1>Server Error</h1>", { "content-type": "text/html" });

/** A login whose access token has expired, in a store that programs share which each make one call. */
async function expired(fault: Hook) {
  const server = await startServer({ authorizationServer: { accessTokenTtlSeconds: 3600 } });
  const { authorizationServer: as } = server;
  const [store, clock, handler] = [new WatchedStore(), manualClock(), userAtHand()];
  const tokens = await seed(server, store, { clock });
  const remove = as.intercept(when(refreshes, fault));
  clock.advance(minutes(61));
  const program = async (interactive: boolean) => {
    const { auth } = manager(server, { store, clock, loginHandler: handler, interactive });
    const outcome = await post(auth).catch((error: McpAuthError) => error);
    await auth.dispose();
    return outcome;
  };
  const record = async () => (await store.get(`tokens/default/${server.url}`)) as Record<string, unknown> | undefined;
  return { server, as, store, clock, handler, tokens, program, record, remove, sent: () => as.tokenRequests("refresh_token").length };
}

describe("an authorization server that fails at every refresh", () => {
  test("three programs over two minutes: the third may ask the user, and the next finds the login", async () => {
    const { clock, handler, program } = await expired(broken);
    for (const outcome of ["server_error", "server_error", "200", "200"]) {
      expect(codeOf(await program(true))).toBe(outcome);
      clock.advance(minutes(1));
    }
    expect(handler.opened).toBe(1);
  });

  test("without a user it stays the fault, whose hint says that a login helps; the login stays", async () => {
    const { clock, handler, program, record, tokens, remove } = await expired(broken);
    for (let start = 0; start < 5; start++) {
      const error = await program(false);
      expect(error).toMatchObject({ code: "server_error", hint: expect.stringContaining("authorize()") });
      expect((error as McpAuthError).message).not.toContain("authorize()");
      clock.advance(minutes(1));
    }
    expect([(await record())?.refreshToken, handler.opened]).toEqual([tokens.refreshToken, 0]);
    remove();
    expect(await program(false)).toBe(200);
    expect(await record()).not.toHaveProperty("refreshHistory");
  });

  test("an answer in between ends the count", async () => {
    const { as, clock, handler, program, remove } = await expired(broken);
    for (let start = 0; start < 2; start++) await program(true);
    remove();
    clock.advance(minutes(1));
    expect(await program(true)).toBe(200);
    as.intercept(when(refreshes, broken));
    clock.advance(minutes(61));
    for (let start = 0; start < 2; start++) expect(codeOf(await program(true))).toBe("server_error");
    expect(handler.opened).toBe(0);
  });

  test("a network that fails is not counted from one program to the next", async () => {
    const { clock, handler, program, record } = await expired(closeBefore);
    for (let start = 0; start < 5; start++) {
      expect(codeOf(await program(true))).toBe("network_error");
      clock.advance(minutes(1));
    }
    expect(handler.opened).toBe(0);
    expect(await record()).not.toHaveProperty("refreshHistory");
  });

  test("a store that cannot be written then costs the count alone", async () => {
    const { program, store, record, tokens, remove } = await expired(broken);
    let isFull = false;
    store.beforeWrite = () => {
      if (isFull) throw new Error("no space left");
      isFull = true;
    };
    expect(codeOf(await program(true))).toBe("server_error");
    store.beforeWrite = () => {};
    expect(await record()).toMatchObject({ refreshToken: tokens.refreshToken });
    remove();
    expect(await program(true)).toBe(200);
  });

  test("a login that was replaced meanwhile is not touched", async () => {
    const { server, as, store, program, record, remove } = await expired(broken);
    remove();
    as.intercept(
      when(refreshes, async (...exchange) => {
        const key = `tokens/default/${server.url}`;
        await store.set(key, { ...(await store.get(key)), v: 1, refreshToken: "other" });
        return broken(...exchange);
      }),
    );
    await program(false);
    expect(await record()).toMatchObject({ refreshToken: "other" });
    expect(await record()).not.toHaveProperty("refreshHistory");
  });
});

const dead: [what: string, fault: Hook][] = [
  ["400 invalid_request", answer(400, { error: "invalid_request", error_description: "refresh_token is invalid" })],
  ["403 unauthorized_client", answer(403, { error: "unauthorized_client", error_description: "refresh_token is invalid" })],
  ["200 bad_refresh_token", answer(200, { error: "bad_refresh_token", error_description: "The refresh token passed is incorrect." })],
  ["401 invalid_token", answer(401, { error: "invalid_token" })],
  ["400 without a word", answer(400, "Bad Request")],
];

describe("a dead refresh token, refused with another code", () => {
  test.each(dead)("%s, with a user: one login", async (_what, fault) => {
    const { handler, program, sent } = await expired(fault);
    expect([await program(true), await program(true), handler.opened, sent()]).toEqual([200, 200, 1, 1]);
  });

  test.each(dead)("%s, without one: `login_required` with the cause; it is sent again ever more rarely", async (_what, fault) => {
    const { clock, program, sent, record, tokens } = await expired(fault);
    const counts: number[] = [];
    for (let start = 0; start < 12; start++) {
      const error = await program(false);
      expect(error).toBeInstanceOf(LoginRequiredError);
      expect((error as Error).cause).toMatchObject({ code: "token_request_refused", party: "authorization-server" });
      counts.push(sent());
      clock.advance(minutes(1));
    }
    expect(counts).toEqual([1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 4]);
    expect(await record()).toMatchObject({ refreshToken: tokens.refreshToken });
  });

  test("the cause says as much to those who did not send it as to those who did", async () => {
    const { program } = await expired(dead[0]?.[1] as Hook);
    const causes = [await program(false), await program(false)].map((error) => {
      const { code, status, serverError, serverDescription, issuer } = (error as Error).cause as McpAuthError;
      return { code, status, serverError, serverDescription, issuer };
    });
    expect(causes[1]).toEqual(causes[0]);
  });

  test("one that was refused by mistake is used as soon as it is sent again", async () => {
    const { clock, program, remove, record } = await expired(answer(403, "<h1>Blocked</h1>"));
    await program(false);
    remove();
    clock.advance(minutes(1));
    expect(await program(false)).toBe(200);
    expect(await record()).not.toHaveProperty("refreshHistory");
  });

  test("programs that start at once send it once", async () => {
    const { program, sent } = await expired(answer(400, "Bad Request"));
    await Promise.all(Array.from({ length: 8 }, () => program(false)));
    expect(sent()).toBe(1);
  });

  test("one that was refused ahead of time is not sent ahead again, and at once when it is needed", async () => {
    const server = await startServer({ authorizationServer: { accessTokenTtlSeconds: 3600 } });
    const [store, clock] = [new MemoryStore(), manualClock()];
    const { accessToken } = await seed(server, store, { clock });
    const remove = server.authorizationServer.intercept(when(refreshes, answer(400)));
    clock.advance(minutes(40));
    for (let start = 0; start < 3; start++) {
      const { auth } = manager(server, { store, clock });
      expect(await auth.getAccessToken()).toBe(accessToken);
      await auth.dispose();
    }
    expect(server.authorizationServer.tokenRequests("refresh_token")).toHaveLength(1);
    remove();
    clock.advance(minutes(19.5));
    expect(await manager(server, { store, clock }).auth.getAccessToken()).not.toBe(accessToken);
  });
});

describe("what is remembered", () => {
  const issuer = "https://as.example";
  const now = 1_000_000;
  const refused = (count: number, ahead = false) => {
    const error = new McpAuthError("token_request_refused", { issuer });
    let refreshHistory = withRefusal(undefined, error, ahead, now);
    for (let n = 1; n < count; n++) refreshHistory = withRefusal(refreshHistory, error, ahead, now);
    return { issuer, issuedAt: 0, refreshHistory };
  };

  test.each([
    // refusals, minutes
    [1, 1],
    [2, 2],
    [3, 4],
    [6, 32],
    [7, 60],
    [99, 60],
  ])("after %d refusals the token is left alone for %d minutes", (count, pause) => {
    expect(holdingBack(refused(count), true, now + minutes(pause) - 1)?.code).toBe("token_request_refused");
    expect(holdingBack(refused(count), true, now + minutes(pause))).toBeUndefined();
  });

  test.each<[what: string, held: boolean, login: ReturnType<typeof refused>, needed: boolean, at: number]>([
    ["refused ahead, and needed now", false, refused(1, true), true, now],
    ["refused ahead, and not needed", true, refused(1, true), false, now],
    ["a clock that was put back", false, refused(1), true, now - 1],
    ["older than the token", false, { ...refused(1), issuedAt: now + 1 }, true, now],
    ["nothing", false, { ...refused(1), refreshHistory: undefined }, true, now],
  ])("%s: held back %s", (_what, held, login, needed, at) => {
    expect(holdingBack(login, needed, at) !== undefined).toBe(held);
  });

  test.each([
    ["invalid_grant", true],
    ["token_request_refused", true],
    ["invalid_client", false],
    ["discovery_failed", false],
  ] as const)("a refusal by %s: %s", (code, isKept) => {
    expect(withRefusal(undefined, new McpAuthError(code), false, now) !== undefined).toBe(isKept);
  });

  test("a refusal is an answer: failures are counted anew", () => {
    const failed = withFailure(undefined, new McpAuthError("server_error", { party: "authorization-server" }), now);
    expect(failed).toEqual({ failures: { count: 1, since: now } });
    expect(withRefusal(failed, new McpAuthError("token_request_refused"), false, now)).not.toHaveProperty("failures");
  });

  test("a clock that was put back makes no failure older than it is", () => {
    const fault = new McpAuthError("server_error", { party: "authorization-server" });
    expect(withFailure({ failures: { count: 1, since: now } }, fault, now - 5)).toEqual({ failures: { count: 2, since: now - 5 } });
  });
});
