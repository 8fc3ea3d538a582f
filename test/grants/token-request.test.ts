/** What a token endpoint may answer, and what becomes of it: one request, no repetition (that is the refresh's). */

import { inspect } from "node:util";
import { HttpResponse } from "msw";
import { describe, expect, test } from "vitest";
import type { ClientIdentity } from "../../src/client-auth/secret.ts";
import type { McpAuthError, McpAuthErrorCode } from "../../src/errors.ts";
import { exchangeCode } from "../../src/grants/authorization-code.ts";
import { refreshTokens } from "../../src/grants/refresh.ts";
import type { TokenResponse } from "../../src/grants/token-request.ts";
import { createHttp, type HttpOptions } from "../../src/http/http.ts";
import { type Answer, failure, never, world } from "../discovery/support.ts";

const endpoint = "https://as.example/token";
const server = { issuer: "https://as.example", token_endpoint: endpoint };
const publicClient: ClientIdentity = { clientId: "client-1", tokenEndpointAuthMethod: "none" };
const confidential: ClientIdentity = {
  clientId: "client-1",
  clientSecret: "the-client-secret",
  tokenEndpointAuthMethod: "client_secret_basic",
};
const secrets = { refreshToken: "the-old-refresh-token", code: "the-authorization-code", codeVerifier: "the-code-verifier" };
const { serve, asked } = world();

function refresh(answer: Answer, options: HttpOptions = {}, client = publicClient): Promise<TokenResponse> {
  serve({ [endpoint]: answer });
  return refreshTokens({
    server,
    client,
    http: createHttp(options),
    refreshToken: secrets.refreshToken,
    resource: "https://mcp.example/mcp",
  });
}

/** A body as it stands. */
const text =
  (
    body: string | null,
    { status = 200, type = "application/json", headers = {} }: { status?: number; type?: string; headers?: object } = {},
  ): Answer =>
  () =>
    new HttpResponse(body, { status, headers: { "content-type": type, ...headers } });
const json = (body: unknown, status = 200): Answer => text(JSON.stringify(body), { status });

/** What a good answer is made of. */
const good = { access_token: "new-access", token_type: "Bearer", expires_in: 300, refresh_token: "new-refresh", scope: "a b" };
const read: TokenResponse = { accessToken: "new-access", refreshToken: "new-refresh", expiresIn: 300, scope: "a b" };
const { expiresIn: _e, ...readWithoutLifetime } = read;
const { scope: _s, ...readWithoutScope } = read;
const { refreshToken: _r, ...readWithoutRefreshToken } = read;
const without = (name: keyof typeof good) => ({ ...good, [name]: undefined });

describe("2xx answers that are accepted", () => {
  test.each<[string, Answer, TokenResponse]>([
    ["as the RFC has it (RFC 6749 §5.1)", json(good), read],
    ["extra members", json({ ...good, id_token: "an.id.token", account: { id: 1 }, error_uri: null }), { ...read, idToken: "an.id.token" }],
    ["status 201", json(good, 201), read],
    ["status 203", json(good, 203), read],
    ["JSON as text/plain", text(JSON.stringify(good), { type: "text/plain" }), read],
    ["JSON as text/html with charset", text(JSON.stringify(good), { type: "text/html; charset=utf-8" }), read],
    ["JSON without content type", () => new Response(new TextEncoder().encode(JSON.stringify(good))), read],
    ["JSON after a byte order mark", text(`\ufeff${JSON.stringify(good)}`), read],
    ["JSON between white space", text(`\r\n ${JSON.stringify(good)} \n`), read],
    [
      "form encoding, GitHub's way",
      text("access_token=new-access&token_type=bearer&expires_in=300&refresh_token=new-refresh&scope=a+b", {
        type: "application/x-www-form-urlencoded",
      }),
      read,
    ],
    [
      "form encoding that calls itself text/plain",
      text("access_token=new%2Daccess&refresh_token=new-refresh", { type: "text/plain" }),
      { accessToken: "new-access", refreshToken: "new-refresh" },
    ],
    ["expires_in as text", json({ ...good, expires_in: "300" }), read],
    ["expires_in with a fraction", json({ ...good, expires_in: 299.5 }), { ...read, expiresIn: 299.5 }],
    ["no expires_in", json(without("expires_in")), readWithoutLifetime],
    ["expires_in null", json({ ...good, expires_in: null }), readWithoutLifetime],
    ["expires_in empty", json({ ...good, expires_in: "" }), readWithoutLifetime],
    ["expires_in negative", json({ ...good, expires_in: -1 }), readWithoutLifetime],
    ["expires_in 0: nobody issues a token that nobody can use", json({ ...good, expires_in: 0 }), readWithoutLifetime],
    ["expires_in in words", json({ ...good, expires_in: "an hour" }), readWithoutLifetime],
    ["expires_in true", json({ ...good, expires_in: true }), readWithoutLifetime],
    ["expires_in beyond all numbers", text(JSON.stringify(good).replace("300", "1e999")), readWithoutLifetime],
    ["no scope", json(without("scope")), readWithoutScope],
    ["scope null", json({ ...good, scope: null }), readWithoutScope],
    ["scope empty", json({ ...good, scope: "" }), readWithoutScope],
    ["scope as an array", json({ ...good, scope: ["a", "b"] }), read],
    ["scopes separated by commas (GitHub, Slack)", json({ ...good, scope: "a,b" }), read],
    ["scopes separated by commas and spaces", json({ ...good, scope: "a, b" }), read],
    ["a scope that has a comma, among others", json({ ...good, scope: "a,x b" }), { ...read, scope: "a,x b" }],
    ["scope as an empty array", json({ ...good, scope: [] }), readWithoutScope],
    ["no token_type", json(without("token_type")), read],
    ["token_type null", json({ ...good, token_type: null }), read],
    ["token_type in another case (RFC 6749 §5.1)", json({ ...good, token_type: "bEARER" }), read],
    ["REQ-TOK-05 no refresh_token: the old one stays", json(without("refresh_token")), readWithoutRefreshToken],
    ["refresh_token null", json({ ...good, refresh_token: null }), readWithoutRefreshToken],
    ["refresh_token empty", json({ ...good, refresh_token: "" }), readWithoutRefreshToken],
    ["tokens beside an error that is null", json({ ...good, error: null }), read],
    ["tokens beside an empty error", json({ ...good, error: "" }), read],
    ["a refresh token that is not ASCII", json({ ...good, refresh_token: "ný-token" }), { ...read, refreshToken: "ný-token" }],
  ])("%s", async (_what, answer, expected) => {
    expect(await refresh(answer)).toEqual(expected);
  });
});

describe("2xx answers without a usable access token: its refresh token survives", () => {
  const kept = { refreshToken: "new-refresh", expiresIn: 300, scope: "a b" };
  test.each<[string, unknown]>([
    ["no access_token", without("access_token")],
    ["access_token null", { ...good, access_token: null }],
    ["access_token empty", { ...good, access_token: "" }],
    ["access_token a number", { ...good, access_token: 1 }],
    ["access_token with a line break, which no header can hold", { ...good, access_token: "new\naccess" }],
    ["access_token beyond ASCII (RFC 6749 §A.12)", { ...good, access_token: "new-áccess" }],
    ["token_type of another kind", { ...good, token_type: "DPoP" }],
    ["token_type mac", { ...good, token_type: "mac" }],
    ["a refresh token beside an error", { ...without("access_token"), error: "server_error" }],
  ])("%s", async (_what, body) => {
    const { problem, ...rest } = await refresh(json(body));
    expect(rest).toEqual(kept);
    expect(problem).toMatchObject({ code: "invalid_token_response", issuer: "https://as.example", status: 200 });
    expect(inspect(problem, { depth: null })).not.toMatch(/new.(access|áccess|refresh)/);
  });
});

describe("answers that bring nothing", () => {
  const cases: [string, Answer, McpAuthErrorCode, Partial<McpAuthError>][] = [
    ["204", text(null, { status: 204 }), "invalid_token_response", { status: 204 }],
    ["200 without body", text(null), "invalid_token_response", { status: 200 }],
    ["an empty object", json({}), "invalid_token_response", {}],
    ["null", json(null), "invalid_token_response", {}],
    ["an array", json([good]), "invalid_token_response", {}],
    ["a string", json("access_token=new-access"), "invalid_token_response", {}],
    ["a number", json(7), "invalid_token_response", {}],
    ["truncated JSON", text(JSON.stringify(good).slice(0, -10)), "invalid_token_response", {}],
    ["a login page", text("<!doctype html><form action=/login>", { type: "text/html" }), "invalid_token_response", {}],
    ["two documents", text(`${JSON.stringify(good)}${JSON.stringify(good)}`), "invalid_token_response", {}],
    ["an access token that is an object", json({ access_token: { value: "new-access" } }), "invalid_token_response", {}],

    ["invalid_grant", json({ error: "invalid_grant", error_description: "gone" }, 400), "invalid_grant", { serverDescription: "gone" }],
    ["invalid_grant with status 200", json({ error: "invalid_grant" }), "invalid_grant", { status: 200 }],
    ["invalid_grant with status 401", json({ error: "invalid_grant" }, 401), "invalid_grant", { status: 401 }],
    ["invalid_grant with status 403", json({ error: "invalid_grant" }, 403), "invalid_grant", { status: 403 }],
    ["invalid_grant as text/html", text('{"error":"invalid_grant"}', { status: 400, type: "text/html" }), "invalid_grant", {}],
    [
      "invalid_grant form-encoded",
      text("error=invalid_grant&error_description=gone+away", { status: 400, type: "application/x-www-form-urlencoded" }),
      "invalid_grant",
      { serverDescription: "gone away" },
    ],
    ["form-encoded with status 200, GitHub's way", text("error=invalid_grant", { type: "text/plain" }), "invalid_grant", { status: 200 }],
    ["invalid_client", json({ error: "invalid_client" }, 400), "invalid_client", {}],
    [
      "invalid_client with a challenge (RFC 6749 §5.2)",
      text('{"error":"invalid_client"}', { status: 401, headers: { "www-authenticate": 'Basic realm="as"' } }),
      "invalid_client",
      { status: 401 },
    ],

    ["invalid_request", json({ error: "invalid_request" }, 400), "token_request_refused", { serverError: "invalid_request" }],
    ["invalid_target (RFC 8707)", json({ error: "invalid_target" }, 400), "token_request_refused", { serverError: "invalid_target" }],
    ["invalid_scope", json({ error: "invalid_scope" }, 400), "token_request_refused", { serverError: "invalid_scope" }],
    ["unauthorized_client", json({ error: "unauthorized_client" }, 400), "token_request_refused", {}],
    ["an error of the server's own, status 200", json({ error: "bad_verification_code" }), "token_request_refused", { status: 200 }],
    ["error that is no text", json({ error: { code: "invalid_grant" } }, 400), "token_request_refused", { serverError: undefined }],
    ["invalid_grant in another case", json({ error: "Invalid_Grant" }, 400), "token_request_refused", {}],
    ["400 with an empty body", text(null, { status: 400 }), "token_request_refused", { status: 400 }],
    ["400 as text/html", text("<h1>invalid_grant", { status: 400, type: "text/html" }), "token_request_refused", {}],
    ["400 with truncated JSON", text('{"error":"invalid_gr', { status: 400 }), "token_request_refused", {}],
    ["401 without body", text(null, { status: 401 }), "token_request_refused", { status: 401 }],
    ["a firewall's 403", text("<h1>Forbidden", { status: 403, type: "text/html" }), "token_request_refused", { status: 403 }],
    ["404", text("not found", { status: 404, type: "text/plain" }), "token_request_refused", { status: 404 }],
    ["405", text(null, { status: 405 }), "token_request_refused", { status: 405 }],
    ["413", text(null, { status: 413 }), "token_request_refused", { status: 413 }],
    ["tokens with status 400 are no tokens", json(good, 400), "token_request_refused", { status: 400 }],

    ["500", text("<h1>Oops", { status: 500, type: "text/html" }), "server_error", { status: 500, transient: true }],
    ["502 without body", text(null, { status: 502 }), "server_error", { transient: true }],
    [
      "503 with invalid_grant: a server that fails knows nothing",
      json({ error: "invalid_grant" }, 503),
      "server_error",
      { transient: true },
    ],
    ["503 with Retry-After", text(null, { status: 503, headers: { "retry-after": "7" } }), "server_error", { retryAfterMs: 7000 }],
    ["429", text(null, { status: 429, headers: { "retry-after": "2" } }), "rate_limited", { retryAfterMs: 2000, transient: true }],
    [
      "429 with nonsense in Retry-After",
      text(null, { status: 429, headers: { "retry-after": "soon" } }),
      "rate_limited",
      { retryAfterMs: undefined },
    ],
    ["408", text(null, { status: 408 }), "server_error", { transient: true }],
    ["425", text(null, { status: 425 }), "server_error", { transient: true }],
    ["temporarily_unavailable with status 400", json({ error: "temporarily_unavailable" }, 400), "server_error", { transient: true }],
    ["server_error with status 200", json({ error: "server_error" }), "server_error", { transient: true }],
    ["no connection", "unreachable", "network_error", { transient: true }],

    ...[301, 302, 303, 307, 308].map((status): [string, Answer, McpAuthErrorCode, object] => [
      `a redirect (${status}), within the origin as well: a request with credentials goes where the metadata says`,
      text(null, { status, headers: { location: "https://as.example/token2" } }),
      "redirect_refused",
      { status, transient: false },
    ]),
    ["a redirect to another origin", text(null, { status: 307, headers: { location: "https://evil.example/" } }), "redirect_refused", {}],
    ["304", text(null, { status: 304 }), "token_request_refused", { status: 304 }],
  ];
  test.each(cases.map(([what, answer, code, details]) => ({ what, answer, code, details })))(
    "$what: $code",
    async ({ answer, code, details }) => {
      const error = await failure(refresh(answer));
      const expected = { code, ...details };
      expect(Object.fromEntries(Object.keys(expected).map((name) => [name, Reflect.get(error, name)]))).toEqual(expected);
      expect(asked).toEqual([endpoint]);
      expect(error.hint).not.toBe("");
    },
  );

  test("Retry-After as a date", async () => {
    const date = new Date(Date.now() + 30_000).toUTCString();
    const error = await failure(refresh(text(null, { status: 503, headers: { "retry-after": date } })));
    expect(error.retryAfterMs).toBeGreaterThan(25_000);
    expect(error.retryAfterMs).toBeLessThanOrEqual(30_000);
  });
});

describe("bounds", () => {
  const huge = (status: number) => text(JSON.stringify({ ...good, filler: "x".repeat(2000) }), { status });

  test.each([200, 400, 500])("a huge body with status %i: response_too_large", async (status) => {
    expect(await failure(refresh(huge(status), { maxBytes: 1000 }))).toMatchObject({
      code: "response_too_large",
      status,
      transient: false,
    });
  });

  test("a body just within the limit is read", async () => {
    expect(await refresh(huge(200), { maxBytes: 3000 })).toEqual(read);
  });

  test("a body without end is not read to its end", async () => {
    let sent = 0;
    const endless: Answer = () =>
      new HttpResponse(
        new ReadableStream({
          pull(controller) {
            sent += 1000;
            controller.enqueue(new TextEncoder().encode("x".repeat(1000)));
          },
        }),
      );
    expect(await failure(refresh(endless, { maxBytes: 10_000 }))).toMatchObject({ code: "response_too_large" });
    expect(sent).toBeLessThan(100_000);
  });
});

describe("what a server echoes never reaches the error", () => {
  const shown = (error: McpAuthError) =>
    [error.message, String(error), error.stack, JSON.stringify(error), inspect(error, { depth: null, showHidden: true })].join("\n");

  test.each<[string, (request: string) => Record<string, unknown>]>([
    ["in the description", (body) => ({ error: "invalid_grant", error_description: `bad request: ${decodeURIComponent(body)}` })],
    ["as it was sent", (body) => ({ error: "invalid_grant", error_description: `bad request: ${body}` })],
    ["in the error itself", (body) => ({ error: decodeURIComponent(body) })],
    ["in other members", (body) => ({ error: "invalid_grant", error_uri: `https://as.example/?${body}`, trace: body })],
    ["in an answer that is no error", (body) => ({ tokens: decodeURIComponent(body) })],
  ])("%s", async (_where, echo) => {
    const answer: Answer = async (request) => HttpResponse.json(echo(await request.text()), { status: 400 });
    serve({ [endpoint]: answer });
    const client: ClientIdentity = { ...confidential, clientSecret: "the+client/secret=", tokenEndpointAuthMethod: "client_secret_post" };
    const http = createHttp();
    const values = { refreshToken: "the+refresh/token=", code: "the+code/of=login", codeVerifier: "the-verifier~of.the_login" };
    const errors = await Promise.all([
      failure(refreshTokens({ server, client, http, refreshToken: values.refreshToken })),
      failure(exchangeCode({ server, client, http, ...values, redirectUri: "http://127.0.0.1:1/callback" })),
    ]);
    for (const error of errors) {
      for (const secret of [...Object.values(values), client.clientSecret as string]) {
        expect(shown(error)).not.toContain(secret);
        expect(shown(error)).not.toContain(encodeURIComponent(secret));
      }
    }
  });

  test("the Authorization header in the description", async () => {
    const answer: Answer = (request) =>
      HttpResponse.json({ error: "invalid_client", error_description: `got ${request.headers.get("authorization")}` }, { status: 401 });
    const error = await failure(refresh(answer, {}, confidential));
    const credentials = Buffer.from("client-1:the-client-secret").toString("base64");
    const oauthCredentials = Buffer.from("client%2D1:the%2Dclient%2Dsecret").toString("base64");
    expect(error.code).toBe("invalid_client");
    expect(shown(error)).not.toContain(credentials);
    expect(shown(error)).not.toContain(oauthCredentials);
  });

  test("what helps is still told", async () => {
    const description = "redirect_uri http://127.0.0.1:1/callback is not registered, resource https://mcp.example/mcp is unknown";
    serve({ [endpoint]: json({ error: "invalid_request", error_description: description }, 400) });
    const error = await failure(
      exchangeCode({
        server,
        client: publicClient,
        http: createHttp(),
        code: secrets.code,
        codeVerifier: secrets.codeVerifier,
        redirectUri: "http://127.0.0.1:1/callback",
        resource: "https://mcp.example/mcp",
      }),
    );
    expect(error.serverDescription).toBe(description);
  });

  test("the tokens of an answer that cannot be used", async () => {
    const error = await failure(refresh(text(`${JSON.stringify(good)} trailing`)));
    expect(shown(error)).not.toMatch(/new-(access|refresh)/);
  });
});

describe("the request", () => {
  async function sent(send: (http: ReturnType<typeof createHttp>) => Promise<TokenResponse>) {
    const requests: { method: string; url: string; headers: Headers; form: Record<string, string> }[] = [];
    serve({
      [endpoint]: async (request) => {
        const form = Object.fromEntries(new URLSearchParams(await request.text()));
        requests.push({ method: request.method, url: request.url, headers: request.headers, form });
        return HttpResponse.json(good);
      },
    });
    await send(createHttp());
    const [request, ...more] = requests;
    if (!request || more.length > 0) throw new Error(`${requests.length} requests`);
    return request;
  }

  test("of a code: RFC 6749 §4.1.3, RFC 7636 §4.5, RFC 8707 §2.2; nothing secret in the URL", async () => {
    const exchange = {
      server,
      client: publicClient,
      code: secrets.code,
      codeVerifier: secrets.codeVerifier,
      redirectUri: "http://127.0.0.1:1/callback",
      resource: "https://mcp.example/mcp",
    };
    const request = await sent((http) => exchangeCode({ ...exchange, http }));
    expect(request).toMatchObject({ method: "POST", url: endpoint });
    expect(request.headers.get("content-type")).toMatch(/^application\/x-www-form-urlencoded(;|$)/);
    expect(request.headers.get("accept")).toBe("application/json");
    expect(request.headers.has("authorization")).toBe(false);
    expect(request.form).toEqual({
      grant_type: "authorization_code",
      client_id: "client-1",
      code: "the-authorization-code",
      code_verifier: "the-code-verifier",
      redirect_uri: "http://127.0.0.1:1/callback",
      resource: "https://mcp.example/mcp",
    });
  });

  test("of a refresh: RFC 6749 §6; resource and scope only where they are wanted", async () => {
    const grant = { server, client: publicClient, refreshToken: "the-old-refresh-token" };
    const basic = { grant_type: "refresh_token", client_id: "client-1", refresh_token: "the-old-refresh-token" };
    expect((await sent((http) => refreshTokens({ ...grant, http }))).form).toEqual(basic);
    const resource = "https://mcp.example/mcp";
    const { form } = await sent((http) => refreshTokens({ ...grant, http, resource, scopes: ["a", "b"] }));
    expect(form).toEqual({ ...basic, resource, scope: "a b" });
  });

  test("needs a token endpoint: discovery_failed, and nothing is sent", async () => {
    const issuer = { issuer: "https://as.example" };
    const grant = { server: issuer, client: publicClient, http: createHttp(), refreshToken: "the-old-refresh-token" };
    expect(await failure(refreshTokens(grant))).toMatchObject({ code: "discovery_failed", issuer: "https://as.example" });
    expect(asked).toEqual([]);
  });

  test("is never sent over plain http to another machine", async () => {
    const plain = { issuer: "http://as.example", token_endpoint: "http://as.example/token" };
    const grant = { server: plain, client: publicClient, http: createHttp(), refreshToken: "the-old-refresh-token" };
    expect(await failure(refreshTokens(grant))).toMatchObject({ code: "insecure_url" });
    expect(asked).toEqual([]);
  });

  test("ends with the caller's signal", async () => {
    serve({ [endpoint]: never });
    const grant = { server, client: publicClient, http: createHttp(), refreshToken: "the-old-refresh-token" };
    const reason = new Error("given up");
    await expect(refreshTokens({ ...grant, signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });
});

test.each<[issuer: string, tokenType: string, isTaken: boolean]>([
  ["https://slack.com", "user", true],
  ["https://mcp.slack.com", "Bot", true],
  ["https://slack.com", "mac", false],
  ["https://as.example", "user", false],
  ["https://as.example", "bot", false],
])("a `token_type` of its own, at %s: %s is taken for Bearer: %s", async (issuer, tokenType, isTaken) => {
  serve({ [endpoint]: json({ ...without("refresh_token"), token_type: tokenType }) });
  const outcome = refreshTokens({
    server: { ...server, issuer },
    client: publicClient,
    http: createHttp(),
    refreshToken: secrets.refreshToken,
  });
  expect(await outcome.then(({ accessToken }) => accessToken).catch(({ code }: McpAuthError) => code)).toBe(
    isTaken ? "new-access" : "invalid_token_response",
  );
});
