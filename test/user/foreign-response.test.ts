/** Redirects to login pages, and pages in place of answers: what a user or a program gets of them. */
import { describe, expect, test } from "vitest";
import { MemoryStore } from "../../src/index.ts";
import { answer, type Hook, when } from "../fixture/index.ts";
import * as machine from "../machine/support.ts";
import {
  callTool,
  connect,
  manager,
  manualClock,
  minutes,
  post,
  seed,
  startServer,
  tally,
  toolRequest,
  userAtHand,
} from "../storm/support.ts";

const html = { "content-type": "text/html; charset=utf-8" };
const redirect = (status: number, location: string, headers = {}) => answer(status, "", { location, ...headers });
const elsewhere = redirect(302, "https://sso.example/login?next=secret");
const page = answer(200, "<h1>Log in</h1>", html);

/** A login in the store whose access token the server does not want any more. */
async function stale(refusal: Hook, { isLasting = false, withoutToken = refusal } = {}) {
  const server = await startServer({ authorizationServer: { accessTokenTtlSeconds: 3600 } });
  const { authorizationServer: as, mcpServer: mcp } = server;
  const [store, clock, handler] = [new MemoryStore(), manualClock(), userAtHand()];
  const tokens = await seed(server, store, { clock });
  mcp.intercept(when(({ path }) => path === "/login", answer(404, { error: "not_found" })));
  mcp.intercept((request, response) => {
    const { authorization } = request.headers;
    if (request.path !== "/mcp") return false;
    if (!authorization) return withoutToken(request, response);
    return isLasting || authorization === `Bearer ${tokens.accessToken}` ? refusal(request, response) : false;
  });
  const made = manager(server, { store, clock, loginHandler: handler });
  return { server, as, mcp, store, clock, handler, tokens, refreshes: () => as.tokenRequests("refresh_token").length, ...made };
}

const pages: [what: string, refusal: Hook][] = [
  ["a redirect to another host", elsewhere],
  ["… with 307", redirect(307, "https://sso.example/login")],
  ["a redirect to another page of the server", redirect(302, "/login")],
  ["… with 307", redirect(307, "/login")],
  ["an HTML page", page],
];

describe("for an old token", () => {
  test.each(pages)("%s: one refresh, and the calls go through", async (_what, refusal) => {
    const { auth, refreshes, handler } = await stale(refusal);
    expect(await tally(Array.from({ length: 20 }, () => post(auth)))).toEqual({ 200: 20 });
    expect([refreshes(), handler.opened, auth.lastError]).toEqual([1, 0, undefined]);
  });

  test.each(pages)("%s, to the SDK, which follows redirects by itself: the same", async (_what, refusal) => {
    const { auth, refreshes, handler } = await stale(refusal);
    const client = await connect(auth.serverUrl, auth.fetch);
    expect(await callTool(client, "add", { a: 1, b: 2 })).toBeTruthy();
    expect([refreshes(), handler.opened]).toEqual([1, 0]);
  });

  test("where the refresh is refused as well, a login, if the server has one", async () => {
    const { as, auth, handler } = await stale(elsewhere);
    as.endLogins();
    expect([await post(auth), handler.opened]).toEqual([200, 1]);
  });

  test("where the refresh fails: the response, and the fault", async () => {
    const { as, auth, handler } = await stale(elsewhere);
    as.intercept(when(({ path }) => path === "/token", answer(503)));
    const response = await auth.fetch(auth.serverUrl, toolRequest("add", { a: 1, b: 2 }));
    expect([response.status, auth.lastError?.code, handler.opened]).toEqual([302, "server_error", 0]);
  });
});

describe("for whatever token", () => {
  test.each<[what: string, refusal: Hook, status: number, detail: string]>([
    ["a redirect", elsewhere, 302, "it redirects to https://sso.example"],
    ["a page", page, 200, "an HTML page of http://127.0.0.1"],
    ["another place", redirect(307, "/login"), 404, "what it redirects to at http://127.0.0.1"],
  ])("%s: one refresh in all, the response is the caller's, and `lastError` says what it is", async (_what, refusal, status, detail) => {
    const { auth, refreshes, handler, clock } = await stale(refusal, { isLasting: true });
    for (let call = 0; call < 3; call++) expect(await post(auth)).toBe(status);
    expect([refreshes(), handler.opened]).toEqual([1, 0]);
    expect(auth.lastError).toMatchObject({ code: "not_an_mcp_response", message: expect.stringContaining(detail) });
    expect(auth.lastError?.message).not.toContain("secret");
    clock.advance(minutes(2));
    expect([await post(auth), refreshes()]).toEqual([status, 2]);
  });
});

describe("without a token", () => {
  const anonymous = (withoutToken: Hook) => stale(answer(500), { withoutToken });

  test.each(pages)("%s: a login, where the server's metadata say that it has one", async (_what, refusal) => {
    const { server, clock, handler } = await anonymous(refusal);
    const { auth } = manager(server, { clock, loginHandler: handler });
    expect([await post(auth), handler.opened]).toEqual([200, 1]);
  });

  test.each<[what: string, status: number]>([
    ["a redirect", 302],
    ["a 403", 403],
  ])("%s whose challenge names the metadata: a login, wherever they are", async (_what, status) => {
    const { server, mcp, clock, handler } = await anonymous((request, response) => named(request, response));
    mcp.resourceMetadata = "other";
    const url = `${new URL(server.url).origin}/metadata/of-the-resource`;
    const named = answer(status, "", { location: "https://sso.example/", "www-authenticate": `Access resource_metadata="${url}"` });
    const { auth } = manager(server, { clock, loginHandler: handler });
    expect([await post(auth), handler.opened]).toEqual([200, 1]);
    const other = manager(server, { clock, loginHandler: handler });
    expect([await other.auth.authorize(), handler.opened]).toEqual(["authorized", 2]);
  });

  test("a server without metadata: the response is the caller's", async () => {
    const { server, mcp, clock, handler } = await anonymous(elsewhere);
    mcp.resourceMetadata = "none";
    const { auth } = manager(server, { clock, loginHandler: handler });
    expect([await post(auth), handler.opened, auth.lastError?.code]).toEqual([302, 0, "not_an_mcp_response"]);
  });
});

test("a 403 that names the metadata to a token that the server knows: it is no refusal", async () => {
  const { auth, refreshes, handler } = await stale(
    answer(403, "", { "www-authenticate": 'Bearer resource_metadata="https://x.example/"' }),
  );
  expect([await post(auth), refreshes(), handler.opened]).toEqual([403, 0, 0]);
});

test.each<[what: string, init: RequestInit]>([
  ["a GET", {}],
  ["a form", { method: "POST", body: new URLSearchParams({ a: "b" }) }],
])("%s to something else of the server may get a page", async (_what, init) => {
  const { auth, refreshes } = await stale(page, { isLasting: true });
  const response = await auth.fetch(auth.serverUrl, init);
  expect([response.status, await response.text(), refreshes(), auth.lastError]).toEqual([200, "<h1>Log in</h1>", 0, undefined]);
});

describe("a server that has moved, and says so by a redirect", () => {
  test.each([307, 308])("with %i: nothing is refreshed, whatever its token's age", async (status) => {
    const { server, store, clock, refreshes, mcp } = await stale(answer(500));
    mcp.reset();
    const to = await startServer();
    to.mcpServer.auth = false;
    const { auth } = manager(server, {
      store,
      clock,
      fetch: async (input, init) => {
        const url = new URL(input instanceof Request ? input.url : input);
        if (url.pathname === "/mcp") return new Response(null, { status, headers: { location: "/v2/mcp" } });
        return globalThis.fetch(url.pathname === "/v2/mcp" ? to.url : url, init);
      },
    });
    expect([await post(auth), refreshes(), auth.lastError]).toEqual([200, 0, undefined]);
    const client = await connect(auth.serverUrl, auth.fetch);
    expect([await callTool(client, "add", { a: 1, b: 2 }), refreshes()]).toEqual([expect.anything(), 0]);
  });
});

describe("a program", () => {
  test.each(pages)("%s, for an old token: one token request, and the calls go through", async (_what, refusal) => {
    const server = await machine.startServer({ authorizationServer: { accessTokenTtlSeconds: 3600 } });
    const { authorizationServer: as, mcpServer: mcp } = server;
    const clock = manualClock();
    const { auth, call } = machine.program(server, { clock });
    expect((await call()).status).toBe(200);
    const old = `Bearer ${await auth.getAccessToken()}`;
    mcp.intercept(when(({ headers, path }) => path === "/mcp" && headers.authorization === old, refusal));
    clock.advance(minutes(2));
    expect(await tally(Array.from({ length: 20 }, async () => (await call()).status))).toEqual({ 200: 20 });
    expect(as.tokenRequests()).toHaveLength(2);
  });

  test("a page for whatever token: the page, and the reason", async () => {
    const server = await machine.startServer();
    const { auth, call } = machine.program(server, { clock: manualClock() });
    server.mcpServer.intercept(when(({ path }) => path === "/mcp", page));
    expect((await call()).status).toBe(200);
    expect([auth.lastError?.code, server.authorizationServer.tokenRequests().length]).toEqual(["not_an_mcp_response", 1]);
  });
});
