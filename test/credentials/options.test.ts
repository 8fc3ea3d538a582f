/** Options of the credentials: what cannot be is refused when a credential is made. */
import { expect, test } from "vitest";
import { idleApiKeyOptions } from "../../src/credentials/api-key.ts";
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
import type { SessionLoginRequest } from "../../src/credentials/session-login.ts";
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

describeOptions<ApiKeyOptions>({
  name: "ApiKeyCredential",
  call: (options) => new ApiKeyCredential(options),
  needed: { serverUrl, keys: "key" },
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

describeOptions<BearerOptions>({
  name: "BearerCredential",
  call: (options) => new BearerCredential(options),
  needed: { serverUrl, token: "token" },
  bad: { ...bad, token: [1, null, [secret]], clock },
});

describeOptions<BasicOptions>({
  name: "BasicCredential",
  call: (options) => new BasicCredential(options),
  needed: { serverUrl, username: "agent", password: "password" },
  bad: { ...bad, username: [1, null], password: [1, null, [secret]] },
});

describeOptions<SessionCookieOptions>({
  name: "SessionCookieCredential",
  call: (options) => new SessionCookieCredential(options),
  needed: { serverUrl, login },
  bad: { ...bad, login: ["https://mcp.example/login", null, [login]], jar: [{}, { getCookieString() {} }], clock },
});

describeOptions<SessionLoginRequest>({
  name: "the login of SessionCookieCredential",
  call: (request) => new SessionCookieCredential({ serverUrl, login: request }),
  needed: login,
  bad: { url: ["", 1], method: ["", 1], headers: ["x: 1", { x: 1 }], body: [1, [secret], { password: 1 }] },
});

test("a password may be empty, as may the prefix of a key", () => {
  expect(() => new BasicCredential({ serverUrl, username: "agent", password: "" })).not.toThrow();
  expect(() => new ApiKeyCredential({ serverUrl, keys: "key", prefix: "" })).not.toThrow();
});
