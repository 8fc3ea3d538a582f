import { inspect } from "node:util";
import { HttpResponse } from "msw";
import { beforeEach, describe, expect, test } from "vitest";
import type { McpAuthErrorCode } from "../../src/errors.ts";
import { exchangeToken, type TokenExchange, tokenTypes } from "../../src/grants/token-exchange.ts";
import { createHttp } from "../../src/http/http.ts";
import { type Answer, failure, world } from "../discovery/support.ts";

const endpoint = "https://as.example/token";
const { serve } = world();
let form = new URLSearchParams();

/** One exchange of a made-up token at a server that answers so. */
function exchange(answer: Answer | object, options: Partial<TokenExchange> = {}) {
  serve({
    [endpoint]: async (request) => {
      form = new URLSearchParams(await request.clone().text());
      return typeof answer === "function" ? answer(request) : HttpResponse.json(answer as Record<string, unknown>);
    },
  });
  return exchangeToken({
    server: { issuer: "https://as.example", token_endpoint: endpoint },
    client: { clientId: "service", clientSecret: "the-client-secret", tokenEndpointAuthMethod: "client_secret_basic" },
    http: createHttp(),
    subjectToken: "the-subject-token",
    subjectTokenType: tokenTypes.accessToken,
    ...options,
  });
}

beforeEach(() => {
  form = new URLSearchParams();
});

const good = { access_token: "the-new-token", issued_token_type: tokenTypes.accessToken, token_type: "Bearer", expires_in: 60 };
const without = (name: keyof typeof good) => ({ ...good, [name]: undefined });

describe("RFC 8693 §2.1 the request", () => {
  test("only what is given is sent", async () => {
    await exchange(good);
    expect(Object.fromEntries(form)).toEqual({
      grant_type: "urn:ietf:params:oauth:grant-type:token-exchange",
      subject_token: "the-subject-token",
      subject_token_type: "urn:ietf:params:oauth:token-type:access_token",
    });
  });

  test("everything", async () => {
    await exchange(good, {
      actorToken: "the-actor-token",
      actorTokenType: tokenTypes.jwt,
      requestedTokenType: tokenTypes.accessToken,
      audience: "data",
      resource: "https://data.example/mcp",
      scopes: ["a", "b"],
      parameters: { extra: "1", scope: "not this one" },
    });
    expect(Object.fromEntries(form)).toMatchObject({
      actor_token: "the-actor-token",
      actor_token_type: "urn:ietf:params:oauth:token-type:jwt",
      requested_token_type: "urn:ietf:params:oauth:token-type:access_token",
      audience: "data",
      resource: "https://data.example/mcp",
      scope: "a b",
      extra: "1",
    });
  });

  test.each([{ actorToken: "the-actor-token" }, { actorTokenType: tokenTypes.jwt }])(
    "%j alone is refused before it is sent",
    async (half) => {
      expect((await failure(exchange(good, half))).code).toBe("invalid_option");
      expect(form.size).toBe(0);
    },
  );
});

describe("RFC 8693 §2.2.1 the answer", () => {
  const read = { token: "the-new-token", issuedTokenType: tokenTypes.accessToken, tokenType: "Bearer", expiresIn: 60 };
  test.each<[string, object, Partial<TokenExchange>, object]>([
    ["as the RFC has it", good, {}, read],
    ["all members", { ...good, scope: "a", refresh_token: "r" }, {}, { ...read, scope: "a", refreshToken: "r" }],
    [
      "a token that is no access token",
      { ...good, issued_token_type: tokenTypes.idJag, token_type: "N_A" },
      {},
      { tokenType: "N_A", issuedTokenType: tokenTypes.idJag },
    ],
    ["one bound to a key", { ...good, token_type: "DPoP" }, {}, { tokenType: "DPoP" }],
    ["no kind, and none requested", without("issued_token_type"), {}, read],
    ["no token_type", without("token_type"), {}, read],
    ["no token_type, and no access token", { ...without("token_type"), issued_token_type: tokenTypes.jwt }, {}, { tokenType: "N_A" }],
    ["the kind that was requested", good, { requestedTokenType: tokenTypes.accessToken }, read],
    ["expires_in as text", { ...good, expires_in: "60" }, {}, read],
  ])("%s is accepted", async (_what, answer, options, expected) => {
    expect(await exchange(answer, options)).toMatchObject(expected);
  });

  test.each<[string, object, Partial<TokenExchange>]>([
    ["another kind than requested", { ...good, issued_token_type: tokenTypes.refreshToken }, { requestedTokenType: tokenTypes.idJag }],
    ["no kind although one was requested", without("issued_token_type"), { requestedTokenType: tokenTypes.idJag }],
    ["no token", without("access_token"), {}],
    ["a token that no header can carry", { ...good, access_token: "the-new\ntoken" }, {}],
    ["nothing", {}, {}],
  ])("%s is refused", async (_what, answer, options) => {
    const error = await failure(exchange(answer, options));
    expect(error).toMatchObject({ code: "invalid_token_response", issuer: "https://as.example" });
    expect(inspect(error, { depth: 9, showHidden: true })).not.toMatch(/the-(new|subject)/);
  });
});

describe("RFC 8693 §2.2.2 refusals", () => {
  test.each<[string, number, McpAuthErrorCode]>([
    ["invalid_grant", 400, "invalid_grant"],
    ["invalid_request", 400, "token_request_refused"],
    ["invalid_target", 400, "token_request_refused"],
    ["invalid_client", 401, "invalid_client"],
    ["temporarily_unavailable", 400, "server_error"],
  ])("%s", async (serverError, status, code) => {
    const description = "for data: the-subject-token, the-actor-token and the-client-secret of service";
    const refused = () => HttpResponse.json({ error: serverError, error_description: description }, { status });
    const options = { actorToken: "the-actor-token", actorTokenType: tokenTypes.jwt, audience: "for data" };
    const error = await failure(exchange(refused, options));
    expect(error).toMatchObject({
      code,
      serverError,
      status,
      serverDescription: "for data: [removed], [removed] and [removed] of service",
    });
    expect(inspect(error, { depth: 9, showHidden: true })).not.toContain("the-subject-token");
  });

  test("who stops waiting ends it", async () => {
    const controller = new AbortController();
    const waiting = exchange(() => new Promise<never>(() => {}), { signal: controller.signal });
    await expect.poll(() => form.size).toBeGreaterThan(0);
    controller.abort(new Error("enough"));
    await expect(waiting).rejects.toThrow("enough");
  });
});
