/** Options of the credentials: what cannot be is refused when a credential is made. */
import { describe, expect, test } from "vitest";
import { apiKeyRules, idleApiKeyOptions } from "../../src/credentials/api-key.ts";
import { basicRules } from "../../src/credentials/basic.ts";
import { bearerRules } from "../../src/credentials/bearer.ts";
import {
  ApiKeyCredential,
  type ApiKeyOptions,
  BasicCredential,
  type BasicOptions,
  BearerCredential,
  type BearerOptions,
  SessionCookieCredential,
  type SessionCookieOptions,
} from "../../src/credentials/index.ts";
import { sessionCookieRules } from "../../src/credentials/session-cookie.ts";
import { type SessionLoginRequest, sessionLoginRequestRules } from "../../src/credentials/session-login.ts";
import { describeOptions, secret } from "../option-table.ts";

const serverUrl = "https://mcp.example/mcp";
const login = { url: "https://mcp.example/login" };

const bad = {
  serverUrl: ["", 1, {}],
  fetch: ["x", {}],
  allowInsecure: ["mcp.example", [1], [""]],
  onEvent: [{}, secret],
} as const;
const clock = [{}, Date, { now: Date.now }] as const;

describeOptions<Partial<ApiKeyOptions>>({
  name: "ApiKeyCredential",
  call: (options) => new ApiKeyCredential({ serverUrl, keys: "key", ...options }),
  rules: apiKeyRules(),
  bad: {
    ...bad,
    keys: [1, null, {}, [secret, 1], [[secret]]],
    header: ["", 1],
    prefix: [1, {}],
    failOverOn403: ["true", 1],
    query: [secret, true],
  },
  idle: [idleApiKeyOptions, { header: "X-Key", query: { parameter: "key", exposeKeyInUrls: true } }],
});

describeOptions<Partial<BearerOptions>>({
  name: "BearerCredential",
  call: (options) => new BearerCredential({ serverUrl, token: "token", ...options }),
  rules: bearerRules(),
  bad: { ...bad, token: [1, null, [secret]], clock },
});

describeOptions<Partial<BasicOptions>>({
  name: "BasicCredential",
  call: (options) => new BasicCredential({ serverUrl, username: "agent", password: "password", ...options }),
  rules: basicRules(),
  bad: { ...bad, username: [1, null], password: [1, null, [secret]] },
});

describeOptions<Partial<SessionCookieOptions>>({
  name: "SessionCookieCredential",
  call: (options) => new SessionCookieCredential({ serverUrl, login, ...options }),
  rules: sessionCookieRules(),
  bad: { ...bad, login: ["https://mcp.example/login", null, [login]], jar: [{}, { getCookieString() {} }], clock },
});

describeOptions<Partial<SessionLoginRequest>>({
  name: "the login of SessionCookieCredential",
  call: (request) => new SessionCookieCredential({ serverUrl, login: { ...login, ...request } }),
  rules: sessionLoginRequestRules(),
  bad: { url: ["", 1], method: ["", 1], headers: ["x: 1", { x: 1 }], body: [1, [secret], { password: 1 }] },
});

describe("what must be there", () => {
  test.each<[name: string, create: (options: never) => unknown, options: object]>([
    ["serverUrl", (options) => new ApiKeyCredential(options), { keys: secret }],
    ["keys", (options) => new ApiKeyCredential(options), { serverUrl }],
    ["token", (options) => new BearerCredential(options), { serverUrl, token: undefined }],
    ["username", (options) => new BasicCredential(options), { serverUrl, password: secret }],
    ["password", (options) => new BasicCredential(options), { serverUrl, username: "agent" }],
    ["login", (options) => new SessionCookieCredential(options), { serverUrl }],
    ["url", (options) => new SessionCookieCredential(options), { serverUrl, login: { body: secret } }],
  ])("without `%s`", (name, create, options) => {
    const missing = { code: "invalid_option", message: expect.stringContaining(`\`${name}\` is missing`) };
    expect(() => create(options as never)).toThrow(expect.objectContaining(missing));
  });

  test("a password may be empty, as may the prefix of a key", () => {
    expect(() => new BasicCredential({ serverUrl, username: "agent", password: "" })).not.toThrow();
    expect(() => new ApiKeyCredential({ serverUrl, keys: "key", prefix: "" })).not.toThrow();
  });
});
