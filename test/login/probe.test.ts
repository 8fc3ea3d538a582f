/** The request that finds out whether a server wants a login. */
import { HttpResponse } from "msw";
import { expect, test } from "vitest";
import { McpAuthError } from "../../src/errors.ts";
import { probe } from "../../src/login/probe.ts";
import { createServerSession } from "../../src/tokens/session.ts";
import { serverUrl, TestClock } from "../answers/support.ts";
import { world } from "../discovery/support.ts";

const net = world();

/** Asks a server that answers so to POST and to GET; returns the outcome, and what it was asked. */
async function asked(post: () => Response, get: () => Response = () => new HttpResponse(null, { status: 200 })) {
  const requests: Request[] = [];
  net.serve({
    [serverUrl]: (request) => {
      requests.push(request);
      return request.method === "POST" ? post() : get();
    },
  });
  const outcome = await probe(createServerSession({ serverUrl, clock: new TestClock() }), undefined).catch((error: unknown) => error);
  return { outcome, requests, methods: requests.map(({ method }) => method) };
}
const status =
  (code: number, headers = {}) =>
  () =>
    new HttpResponse(null, { status: code, headers });
const refused = status(401, { "www-authenticate": 'Bearer scope="a"' });
const resourceMetadata = "https://mcp.example/about";
const named = (code: number, headers = {}) =>
  status(code, { "www-authenticate": `Access resource_metadata="${resourceMetadata}"`, ...headers });

test.each([
  // answer to POST, methods, code or scope
  ["a 200: no login", status(200), ["POST"], undefined],
  ["a 400: no login; what is wrong with it is not asked here", status(400), ["POST"], undefined],
  ["a 403: no login", status(403), ["POST"], undefined],
  ["a redirect to another server: it is not followed", status(302, { location: "https://evil.example/" }), ["POST"], undefined],
  ["a 401: what it says", refused, ["POST"], { status: 401, scope: "a" }],
  ["a 403 that names the metadata of the resource: what it says", named(403), ["POST"], { status: 403, resourceMetadata }],
  ["a redirect that does", named(302, { location: "https://sso.example/" }), ["POST"], { status: 302, resourceMetadata }],
  ["a 500 that does: the server is at fault all the same", named(500), ["POST"], { code: "server_error" }],
  ["a 404: perhaps the older SSE transport, which is asked by GET", status(404), ["POST", "GET"], undefined],
  ["a 405: the same", status(405), ["POST", "GET"], undefined],
  ["a 500: the server is at fault", status(500), ["POST"], { code: "server_error", serverUrl }],
  ["a 429: it is busy", status(429), ["POST"], { code: "rate_limited", serverUrl }],
  ["no answer at all", () => HttpResponse.error() as Response, ["POST"], { code: "network_error", serverUrl }],
] as const)("%s", async (_answer, post, methods, expected) => {
  const { outcome, ...sent } = await asked(post);
  expect(sent.methods).toEqual(methods);
  if (expected === undefined) expect(outcome).toBeUndefined();
  else expect(outcome).toMatchObject(expected);
});

test.each([
  // status, target, methods there, whether it is followed
  [307, "/mcp/", true],
  [308, "http://mcp.example/mcp/", true],
  [301, "/mcp/", true],
  [301, "/login", false],
  [303, "/mcp/", false],
  [307, "https://evil.example/mcp/", false],
] as const)("a %i to %s: followed %s, as calls do", async (code, location, followed) => {
  const asked: string[] = [];
  const fetch = async (url: string | URL | Request, init?: RequestInit) => {
    asked.push(`${init?.method} ${url}`);
    return new Response(null, asked.length === 1 ? { status: code, headers: { location } } : { status: 401 });
  };
  const challenge = await probe(createServerSession({ serverUrl, fetch, clock: new TestClock() }), undefined);
  expect(challenge?.status).toBe(followed ? 401 : undefined);
  expect(asked).toEqual([`POST ${serverUrl}`, ...(followed ? [`POST ${serverUrl}/`] : [])]);
});

test("a redirect in a circle ends", async () => {
  const fetch = async () => new Response(null, { status: 307, headers: { location: "/mcp" } });
  expect(await probe(createServerSession({ serverUrl, fetch, clock: new TestClock() }), undefined)).toBeUndefined();
});

test.each([404, 405])("the older transport's 401 counts, after a %i", async (code) => {
  const { outcome, requests } = await asked(status(code), refused);
  expect(outcome).toMatchObject({ status: 401, scope: "a" });
  expect(requests.map(({ headers }) => headers.get("accept"))).toEqual(["application/json, text/event-stream", "text/event-stream"]);
});

test("it is an MCP request, without a credential", async () => {
  const [request] = (await asked(status(200))).requests;
  expect(await request?.json()).toMatchObject({
    jsonrpc: "2.0",
    method: "server/discover",
    params: { _meta: { "io.modelcontextprotocol/clientInfo": { name: "mcp-client-auth" } } },
  });
  expect(Object.fromEntries(request?.headers ?? [])).toMatchObject({
    "content-type": "application/json",
    "mcp-protocol-version": expect.stringMatching(/^\d{4}-\d\d-\d\d$/),
    "mcp-method": "server/discover",
  });
  expect(request?.headers.has("authorization")).toBe(false);
});

test("an endless stream is not read", async () => {
  const cancelled: unknown[] = [];
  const body = new ReadableStream({ cancel: (reason) => void cancelled.push(reason) });
  const fetch = async () => new Response(body);
  expect(await probe(createServerSession({ serverUrl, fetch }), undefined)).toBeUndefined();
  expect(cancelled).toHaveLength(1);
});

/** A server that never answers. */
const hanging = (_input: unknown, init?: RequestInit) =>
  new Promise<never>((_, reject) => {
    init?.signal?.addEventListener("abort", () => reject(new TypeError("fetch failed")));
  });

test("a caller who gives up gets the own reason, whatever `fetch` throws then", async () => {
  const reason = new Error("the caller's own");
  const caller = new AbortController();
  const asking = probe(createServerSession({ serverUrl, fetch: hanging, clock: new TestClock() }), caller.signal);
  caller.abort(reason);
  await expect(asking).rejects.toBe(reason);
});

test("a server that hangs is given up after ten seconds", async () => {
  const clock = new TestClock();
  const begun = clock.now();
  const asking = probe(createServerSession({ serverUrl, fetch: hanging, clock }), undefined);
  clock.reachLimit();
  await expect(asking).rejects.toMatchObject({ code: "timeout", serverUrl });
  expect(clock.now() - begun).toBe(10_000);
});

test("an error that has a name already keeps it", async () => {
  const expired = new McpAuthError("credential_expired");
  await expect(probe(createServerSession({ serverUrl, fetch: () => Promise.reject(expired) }), undefined)).rejects.toBe(expired);
});
