/** Device codes (RFC 8628): what a server answers, what that means, and how fast it is asked. */
import { HttpResponse } from "msw";
import { describe, expect, test } from "vitest";
import type { ClientIdentity } from "../../src/client-auth/secret.ts";
import type { Clock } from "../../src/clock.ts";
import type { McpAuthErrorCode } from "../../src/errors.ts";
import { type DeviceCode, pollDeviceCode, requestDeviceCode } from "../../src/grants/device-code.ts";
import { createHttp, type HttpOptions } from "../../src/http/http.ts";
import { type Answer, failure, never, world } from "../discovery/support.ts";

const deviceEndpoint = "https://as.example/device/auth";
const tokenEndpoint = "https://as.example/token";
const server = { issuer: "https://as.example", token_endpoint: tokenEndpoint, device_authorization_endpoint: deviceEndpoint };
const client: ClientIdentity = { clientId: "client-1", tokenEndpointAuthMethod: "none" };
const start = Date.parse("2026-11-20T12:00:00Z");
const { serve } = world();

/** Time that passes by sleeping alone. */
function sleepingClock(): Clock & { slept: number[] } {
  const slept: number[] = [];
  let now = start;
  return {
    slept,
    now: () => now,
    sleep: async (ms, { signal } = {}) => {
      signal?.throwIfAborted();
      slept.push(ms / 1000);
      now += ms;
    },
  };
}

const json =
  (body: unknown, status = 200, headers: Record<string, string> = {}): Answer =>
  () =>
    HttpResponse.json(body as object, { status, headers });
const refusal = (error: string, status = 400) => json({ error, error_description: "as it says" }, status);

describe("the answer of the device authorization endpoint", () => {
  const good = {
    device_code: "the-device-code",
    user_code: "WDJB-MJHT",
    verification_uri: "https://as.example/device",
    verification_uri_complete: "https://as.example/device?user_code=WDJB-MJHT",
    expires_in: 1800,
    interval: 5,
  };
  const read: DeviceCode = {
    deviceCode: "the-device-code",
    userCode: "WDJB-MJHT",
    verificationUri: "https://as.example/device",
    verificationUriComplete: "https://as.example/device?user_code=WDJB-MJHT",
    expiresAt: start + 1_800_000,
    intervalMs: 5000,
  };
  const ask = (answer: Answer, options: HttpOptions = {}) => {
    serve({ [deviceEndpoint]: answer });
    return requestDeviceCode({
      server,
      client,
      http: createHttp(options),
      clock: sleepingClock(),
      scopes: ["a", "b"],
      resource: "https://mcp.example/mcp",
    });
  };

  test.each<[string, Record<string, unknown>, Partial<DeviceCode>]>([
    ["as the RFC has it (§3.2)", {}, {}],
    ["no interval: 5 s", { interval: undefined }, { intervalMs: 5000 }],
    ["an interval as text", { interval: "7" }, { intervalMs: 7000 }],
    ["an interval of 0 means no hurry, not no pause", { interval: 0 }, { intervalMs: 5000 }],
    ["a tiny interval", { interval: 0.01 }, { intervalMs: 1000 }],
    ["no lifetime: 10 minutes", { expires_in: undefined }, { expiresAt: start + 600_000 }],
    ["a lifetime of a year: an hour", { expires_in: 31_536_000 }, { expiresAt: start + 3_600_000 }],
    ["no complete address", { verification_uri_complete: undefined }, { verificationUriComplete: undefined }],
    [
      "a complete address that no browser should see",
      { verification_uri_complete: "javascript:alert(1)" },
      { verificationUriComplete: undefined },
    ],
    ["a code, whatever else is said", { error: "none" }, {}],
    ["the name of a draft", { verification_uri: undefined, verification_url: "https://as.example/device" }, {}],
  ])("accepted: %s", async (_case, change, expected) => {
    expect(await ask(json({ ...good, ...change }))).toEqual({ ...read, ...expected });
  });

  test.each<[string, Answer, McpAuthErrorCode]>([
    ["no device code", json({ ...good, device_code: undefined }), "invalid_token_response"],
    ["no user code", json({ ...good, user_code: "" }), "invalid_token_response"],
    ["a user code that moves a terminal's cursor", json({ ...good, user_code: "\u001b[2JAAAA" }), "invalid_token_response"],
    ["a user code that is read backwards", json({ ...good, user_code: "AB\u202eCD" }), "invalid_token_response"],
    ["an endless user code", json({ ...good, user_code: "A".repeat(65) }), "invalid_token_response"],
    ["no address", json({ ...good, verification_uri: undefined }), "invalid_token_response"],
    ["REQ-SEC-02: an address with another scheme", json({ ...good, verification_uri: "file:///etc/passwd" }), "invalid_url"],
    ["REQ-SEC-02: plain http", json({ ...good, verification_uri: "http://as.example/device" }), "insecure_url"],
    ["HTML", () => HttpResponse.html("<h1>Hello</h1>"), "invalid_token_response"],
    ["the client is unknown", refusal("invalid_client", 401), "invalid_client"],
    ["the client may not", refusal("unauthorized_client"), "token_request_refused"],
    ["an error with status 200", json({ error: "invalid_scope" }), "token_request_refused"],
    ["503", 503, "server_error"],
    ["429", 429, "rate_limited"],
    ["no connection", "unreachable", "network_error"],
  ])("refused: %s", async (_case, answer, code) => {
    const error = await failure(ask(answer));
    expect(error.code).toBe(code);
    expect(error.message).not.toMatch(/the-device-code|WDJB/);
  });

  test("a server that never answers", async () => {
    expect((await failure(ask(never, { requestTimeout: 20 }))).code).toBe("timeout");
  });

  test("a server without the endpoint", async () => {
    const { device_authorization_endpoint: _, ...without } = server;
    expect((await failure(requestDeviceCode({ server: without, client, http: createHttp() }))).code).toBe("grant_unsupported");
  });

  test("the request: client, scope, resource, and what the app adds", async () => {
    const sent = Promise.withResolvers<URLSearchParams>();
    serve({
      [deviceEndpoint]: async (request) => {
        sent.resolve(new URLSearchParams(await request.text()));
        return HttpResponse.json(good);
      },
    });
    const parameters = { audience: "api", scope: "the app's does not count" };
    await requestDeviceCode({ server, client, http: createHttp(), scopes: ["a", "b"], resource: "https://mcp.example/mcp", parameters });
    expect(Object.fromEntries(await sent.promise)).toEqual({
      client_id: "client-1",
      scope: "a b",
      resource: "https://mcp.example/mcp",
      audience: "api",
    });
  });
});

describe("polling", () => {
  const code: DeviceCode = {
    deviceCode: "the-device-code",
    userCode: "WDJB-MJHT",
    verificationUri: "https://as.example/device",
    expiresAt: start + 600_000,
    intervalMs: 5000,
  };
  const tokens = json({ access_token: "access", token_type: "Bearer", expires_in: 300, refresh_token: "refresh" });
  const pending = refusal("authorization_pending");
  const slower = refusal("slow_down");

  function poll(answers: Answer[], change: Partial<DeviceCode> = {}, options: HttpOptions = {}, signal?: AbortSignal) {
    const clock = sleepingClock();
    serve({ [tokenEndpoint]: answers });
    return { clock, outcome: pollDeviceCode({ server, client, http: createHttp(options), clock, code: { ...code, ...change }, signal }) };
  }

  test.each<[rule: string, answers: Answer[], pauses: number[]]>([
    ["the first request comes after one interval", [tokens], [5]],
    ["`authorization_pending` goes on at the interval", [pending, pending, tokens], [5, 5, 5]],
    ["`slow_down` adds 5 s for good, each time", [slower, pending, slower, pending, tokens], [5, 10, 10, 15, 15]],
    ["`slow_down` with status 429 as well", [refusal("slow_down", 429), tokens], [5, 10]],
    ["no connection: twice as long each time, then as before (§3.5)", ["unreachable", "unreachable", pending, tokens], [5, 10, 20, 5]],
    ["a server that fails", [503, pending, tokens], [5, 10, 5]],
    [
      "backing off ends at a minute",
      ["unreachable", "unreachable", "unreachable", "unreachable", "unreachable", tokens],
      [5, 10, 20, 40, 60, 60],
    ],
    ["`Retry-After` counts", [json({}, 429, { "retry-after": "42" }), pending, tokens], [5, 42, 5]],
    ["`Retry-After` makes nothing faster", [json({}, 503, { "retry-after": "1" }), tokens], [5, 10]],
  ])("%s", async (_rule, answers, pauses) => {
    const { clock, outcome } = poll(answers);
    expect(await outcome).toMatchObject({ accessToken: "access", refreshToken: "refresh", expiresIn: 300 });
    expect(clock.slept).toEqual(pauses);
  });

  test.each<[rule: string, answer: Answer, code: McpAuthErrorCode]>([
    ["the user says no", refusal("access_denied"), "authorization_denied"],
    ["the code has expired there", refusal("expired_token"), "login_timeout"],
    ["the code was used already", refusal("invalid_grant"), "invalid_grant"],
    ["the client is unknown", refusal("invalid_client", 401), "invalid_client"],
    ["anything else", refusal("invalid_target"), "token_request_refused"],
    ["HTML", () => HttpResponse.html("<h1>Hello</h1>"), "invalid_token_response"],
  ])("ends: %s", async (_rule, answer, expected) => {
    const error = await failure(poll([pending, answer]).outcome);
    expect([error.code, error.issuer]).toEqual([expected, server.issuer]);
  });

  test("no answer says the device code, whatever the server repeats", async () => {
    const echo = json({ error: "invalid_request", error_description: "the-device-code is wrong" }, 400);
    const error = await failure(poll([echo]).outcome);
    expect(error.message).toContain("[removed] is wrong");
  });

  test.each<[seconds: number, pauses: number[]]>([
    [12, [5, 5, 2]],
    [10, [5, 5]],
    [-3, [0]],
  ])("the code expires here, %s s from now: not asked again, and no later than it expires", async (seconds, pauses) => {
    const { clock, outcome } = poll([pending, pending, tokens], { expiresAt: start + seconds * 1000 });
    expect((await failure(outcome)).code).toBe("login_timeout");
    expect(clock.slept).toEqual(pauses);
  });

  test("a server that slows down for ever ends with the code", async () => {
    expect((await failure(poll([slower]).outcome)).code).toBe("login_timeout");
  });

  test("a token endpoint that hangs is given up, and asked again", async () => {
    const { clock, outcome } = poll([never, tokens], {}, { requestTimeout: 20 });
    expect(await outcome).toMatchObject({ accessToken: "access" });
    expect(clock.slept).toEqual([5, 10]);
  });

  test("aborted between two requests: at once, with the reason", async () => {
    const controller = new AbortController();
    const answer = () => {
      controller.abort("enough");
      return HttpResponse.json({ error: "authorization_pending" }, { status: 400 });
    };
    await expect(poll([answer], {}, {}, controller.signal).outcome).rejects.toBe("enough");
  });

  test("aborted while a request is under way: its tokens are not thrown away", async () => {
    const controller = new AbortController();
    const answer = () => {
      controller.abort("enough");
      return HttpResponse.json({ access_token: "access", token_type: "Bearer", refresh_token: "refresh" });
    };
    expect(await poll([answer], {}, {}, controller.signal).outcome).toMatchObject({ refreshToken: "refresh" });
  });

  test("aborted while the server does not answer: when its time is over", async () => {
    const controller = new AbortController();
    const answer = () => {
      controller.abort("enough");
      return new Promise<Response>(() => {});
    };
    await expect(poll([answer], {}, { requestTimeout: 20 }, controller.signal).outcome).rejects.toBe("enough");
  });
});
