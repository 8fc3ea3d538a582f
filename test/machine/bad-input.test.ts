/** What can be wrong with a program's credentials, clock and authorization server: each has its code, its hint, and no secret in it. */
import { createServer } from "node:http";
import { describe, expect, onTestFinished, test } from "vitest";
import type { McpAuthErrorCode, McpAuthErrorDetails } from "../../src/index.ts";
import type { MachineTokenManagerOptions } from "../../src/machine/index.ts";
import { MachineTokenManager } from "../../src/machine/index.ts";
import { expectSecretsAbsent, keyForms } from "../client-auth/support.ts";
import { answer, hang, type ProtectedServer, startWorkloadIssuer, tokenRequest, when } from "../fixture/index.ts";
import { failure, manualClock, minutes, shiftedClock } from "../storm/support.ts";
import { clientId, clientSecret, program, startServer } from "./support.ts";

const html = `<!doctype html><title>Proxy</title><p>${clientSecret}`;
const asHtml = { "content-type": "text/html" };
const basic = btoa(`${encodeURIComponent(clientId)}:${encodeURIComponent(clientSecret)}`);

type Expected = Partial<Omit<McpAuthErrorDetails, "cause">>;

/** The program's error; the last call of it sees the same, and nobody a secret. */
async function refusal({ auth, call, events }: ReturnType<typeof program>, ...secrets: string[]) {
  const error = await failure(call());
  expect(auth.lastError).toBe(error);
  // What to do about it is part of what is printed.
  expect(error.message).not.toContain(error.hint);
  expect(String(error)).toContain(error.hint);
  expectSecretsAbsent([error, events, auth], clientSecret, basic, ...secrets);
  return error;
}

describe("answers of the token endpoint", () => {
  test.each<[string, number, unknown, Record<string, string>, McpAuthErrorCode, number, Expected]>([
    ["HTML as success", 200, html, asHtml, "invalid_token_response", 1, {}],
    ["HTML as refusal", 400, html, asHtml, "token_request_refused", 1, { status: 400 }],
    ["HTML of a firewall", 403, html, asHtml, "token_request_refused", 1, { status: 403 }],
    ["HTML of a gateway", 502, html, asHtml, "server_error", 3, { status: 502 }],
    ["nothing", 200, "", {}, "invalid_token_response", 1, {}],
    ["nothing, as refusal", 400, "", {}, "token_request_refused", 1, { status: 400 }],
    ["no JSON", 200, "{access_token:", { "content-type": "application/json" }, "invalid_token_response", 1, {}],
    ["a JSON array", 200, [{ access_token: "abc" }], {}, "invalid_token_response", 1, {}],
    ["JSON without a token", 200, { token_type: "Bearer" }, {}, "invalid_token_response", 1, {}],
    [
      "a refresh token alone",
      ...([200, { refresh_token: "unasked-for", token_type: "Bearer" }, {}, "invalid_token_response", 1, { status: 200 }] as const),
    ],
    ["a token that no header can carry", 200, { access_token: "a\nb", token_type: "Bearer" }, {}, "invalid_token_response", 1, {}],
    ["a token of another type", 200, { access_token: "abc", token_type: "mac" }, {}, "invalid_token_response", 1, {}],
    ["more than anybody needs", 200, `{"access_token":"${"x".repeat(1024 * 1024)}"}`, {}, "response_too_large", 1, {}],
    ["slow down", 429, "", { "retry-after": "7" }, "rate_limited", 3, { status: 429, retryAfterMs: 7000 }],
    ["wait longer than anybody does", 429, "", { "retry-after": "3600" }, "rate_limited", 1, { retryAfterMs: 3_600_000 }],
    ["scopes that the client may not have", 400, { error: "invalid_scope" }, {}, "insufficient_scope", 1, { status: 400 }],
    ["a redirect", 307, "", { location: "/elsewhere" }, "redirect_refused", 1, { status: 307 }],
    [
      "the secret, in an error",
      ...([401, { error: "invalid_client", error_description: `no ${clientSecret}` }, {}, "invalid_client", 1, { status: 401 }] as const),
    ],
    [
      "an error with status 200",
      ...([200, { error: "unauthorized_client" }, {}, "token_request_refused", 1, { serverError: "unauthorized_client" }] as const),
    ],
  ])("%s: %i", async (_what, status, body, headers, code, requests, expected) => {
    const server = await startServer();
    server.authorizationServer.intercept(when(tokenRequest(), answer(status, body, headers)));
    const error = await refusal(program(server, { clock: manualClock() }));
    expect(error).toMatchObject({ code, ...expected });
    expect(server.authorizationServer.tokenRequests()).toHaveLength(requests);
    // Where it happened is part of the message, directly or by the address.
    expect(error.message).toContain(server.authorizationServer.issuer);
  });

  test("a redirect to another server: it gets nothing", async () => {
    const server = await startServer();
    let visits = 0;
    const other = createServer((_request, response) => {
      visits++;
      response.end();
    }).listen(0, "127.0.0.1");
    await new Promise((resolve) => other.once("listening", resolve));
    onTestFinished(() => void other.close());
    const { port } = other.address() as { port: number };
    server.authorizationServer.intercept(when(tokenRequest(), answer(308, "", { location: `http://127.0.0.1:${port}/token` })));
    expect(await refusal(program(server))).toMatchObject({ code: "redirect_refused" });
    expect(visits).toBe(0);
  });

  test("none: the time is bounded, also for those who call meanwhile", async () => {
    const server = await startServer();
    server.authorizationServer.intercept(when(tokenRequest(), hang));
    const clock = manualClock();
    const { call } = program(server, { clock });
    const startedAt = clock.now();
    let ended = 0;
    const calls = [1, 2, 3].map(async () => {
      const error = await failure(call());
      ended++;
      return error;
    });
    await expect.poll(() => server.authorizationServer.tokenRequests().length).toBe(1);
    await expect
      .poll(
        () => {
          if (ended < 3) clock.advance(1000);
          return ended;
        },
        { interval: 5 },
      )
      .toBe(3);
    expect(clock.now() - startedAt).toBeLessThanOrEqual(40_000);
    for (const error of await Promise.all(calls)) expect(error).toMatchObject({ code: "timeout", transient: true });
    expect(server.authorizationServer.tokenRequests().length).toBeLessThanOrEqual(3);
  });
});

test("an assertion that does not come: the app is named, not the server, which was not asked", async () => {
  const workloads = await startWorkloadIssuer();
  onTestFinished(() => workloads.close());
  const server = await startServer({ authorizationServer: { trust: { workloads: [workloads] } } });
  const clock = manualClock();
  let asked = 0;
  const assertion = () => {
    asked++;
    return new Promise<string>(() => {});
  };
  const { call } = program(server, { clock, assertion, clientSecret: undefined });
  let isOver = false;
  const refused = failure(call()).finally(() => {
    isOver = true;
  });
  await expect.poll(() => asked).toBe(1);
  await expect
    .poll(
      () => {
        clock.advance(1000);
        return isOver;
      },
      { interval: 5 },
    )
    .toBe(true);
  expect(await refused).toMatchObject({ code: "timeout", party: "app", message: expect.stringContaining("`assertion`") });
  expect(server.authorizationServer.tokenRequests()).toEqual([]);
});

const key = await keyForms("RS256");
const otherKey = await keyForms("RS256");

async function knowKey({ authorizationServer }: ProtectedServer): Promise<void> {
  await authorizationServer.addClient({
    ...{ client_id: clientId, grant_types: ["client_credentials"], token_endpoint_auth_method: "private_key_jwt" },
    jwks: { keys: [key.publicJwk] },
  });
}

describe("credentials", () => {
  const byKey = { clientSecret: undefined, privateKey: key.forms.PEM } as const;
  test.each<[string, Partial<MachineTokenManagerOptions>, boolean, McpAuthErrorCode, string]>([
    ["a wrong secret", { clientSecret: "the wrong secret" }, false, "invalid_client", "Check client ID and secret or key"],
    ["a client that nobody knows", { clientId: "stranger" }, false, "invalid_client", "Check client ID"],
    ["a wrong key", { ...byKey, privateKey: otherKey.forms.PEM }, true, "invalid_client", "Check client ID and secret or key"],
    ["a secret where the server wants a key", {}, true, "invalid_client", "Check client ID and secret or key"],
    [
      "no secret: the variable was not set",
      { clientSecret: undefined },
      false,
      "invalid_option",
      "`clientSecret` or `privateKey` is missing",
    ],
    ["a secret with the line break of its file", { clientSecret: `${clientSecret}\n` }, false, "invalid_option", "line break"],
    ["the same from a function", { clientSecret: () => `${clientSecret}\n` }, false, "invalid_option", "line break"],
    ["a key that is none", { ...byKey, privateKey: "the key's own text" }, true, "invalid_option", "`privateKey` is neither a PEM"],
  ])("%s", async (_what, options, isByKey, code, text) => {
    const server = await startServer();
    if (isByKey) await knowKey(server);
    const error = await refusal(program(server, options), "the wrong secret", String(byKey.privateKey), String(otherKey.forms.PEM));
    expect(error.code).toBe(code);
    expect(String(error)).toContain(text);
  });

  test("an assertion as text, in a program in JavaScript", () => {
    const options = { serverUrl: "https://mcp.example/mcp", assertion: "eyJ9.super-secret.c" as never };
    expect(() => new MachineTokenManager(options)).toThrow(
      expect.objectContaining({ code: "invalid_option", message: expect.not.stringContaining("super-secret") }),
    );
  });

  test("an assertion that has expired", async () => {
    const workloads = await startWorkloadIssuer();
    onTestFinished(() => workloads.close());
    const server = await startServer({ authorizationServer: { trust: { workloads: [workloads] } } });
    const jwt = await workloads.sign({ aud: server.authorizationServer.issuer, expiresIn: -120 });
    const error = await refusal(program(server, { clientId: undefined, clientSecret: undefined, assertion: () => jwt }), jwt);
    expect(error).toMatchObject({
      code: "invalid_assertion",
      message: expect.stringMatching(/expired at 20\d\d-/),
      hint: expect.stringContaining("expiry"),
    });
    expect(server.authorizationServer.tokenRequests()).toHaveLength(1);
  });
});

describe("a clock that is wrong", () => {
  const byKey = { clientSecret: undefined, privateKey: key.forms.PEM } as const;

  test("10 minutes behind: what it signs has expired, and that is not taken for a wrong key", async () => {
    const server = await startServer();
    await knowKey(server);
    const clock = shiftedClock();
    clock.shift(minutes(-10));
    const error = await refusal(program(server, { ...byKey, clock }), String(byKey.privateKey));
    expect(error).toMatchObject({ code: "clock_skewed", message: expect.stringContaining("10.0 minutes behind"), hint: "Set the clock." });
  });

  test("10 minutes ahead, at a server that refuses what comes from the future", async () => {
    const server = await startServer();
    await knowKey(server);
    const clock = shiftedClock();
    clock.shift(minutes(10));
    // The provider has no such check; others have.
    server.authorizationServer.intercept(when(tokenRequest(), answer(401, { error: "invalid_client" })));
    const error = await refusal(program(server, { ...byKey, clock }), String(byKey.privateKey));
    expect(error).toMatchObject({ code: "clock_skewed", message: expect.stringContaining("10.0 minutes ahead") });
  });

  test("does not matter to a secret", async () => {
    const clock = shiftedClock();
    clock.shift(minutes(-10));
    const { call } = program(await startServer(), { clock });
    expect((await call()).status).toBe(200);
  });
});

describe("`grant_types_supported`", () => {
  test.each([
    ["without the grant", ["authorization_code"], "grant_unsupported"],
    ["empty", [], "grant_unsupported"],
    ["with it", ["client_credentials"], undefined],
    ["absent", undefined, undefined],
  ])("%s", async (_what, grants, code) => {
    const server = await startServer({ authorizationServer: { metadataPatch: { grant_types_supported: grants } } });
    const machine = program(server);
    if (code === undefined) {
      expect((await machine.call()).status).toBe(200);
      return;
    }
    expect(await refusal(machine)).toMatchObject({ code, message: expect.stringContaining("client_credentials") });
    expect(server.authorizationServer.tokenRequests()).toHaveLength(0);
  });
});
