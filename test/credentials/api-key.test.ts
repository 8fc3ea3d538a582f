/** API keys: in a header of any name, several during a rotation, in the URL only when insisted on. */
import { describe, expect, test } from "vitest";
import { ApiKeyCredential, type ApiKeyOptions } from "../../src/credentials/index.ts";
import { McpAuthError } from "../../src/index.ts";
import { apiKeys } from "../fixture/index.ts";
import { plainServer, status } from "../transports/support.ts";
import { expectHidden, failureOf, httpKinds, listening, post, protectedBy, sseKinds, stillClock, whoami } from "./support.ts";

const serverUrl = "https://mcp.example/mcp";
const build = (options: Partial<ApiKeyOptions>) => new ApiKeyCredential({ serverUrl, keys: "key", ...options });

describe("real clients at a server with keys", () => {
  test.each(httpKinds)("%s", async (_name, kind) => {
    const server = await protectedBy(apiKeys({ keys: { current: "key-1" } }));
    expect(await whoami(kind, new ApiKeyCredential({ serverUrl: server.url, keys: "key-1" }))).toBe("current");
  });

  test.each(sseKinds)("%s: over SSE, with falling over; without a good key it ends, and the reason is kept", async (_name, kind) => {
    const server = await protectedBy(apiKeys({ keys: { current: "key-2" } }));
    expect(await whoami(kind, new ApiKeyCredential({ serverUrl: server.sseUrl, keys: ["key-1", "key-2"] }))).toBe("current");
    const bad = new ApiKeyCredential({ serverUrl: server.sseUrl, keys: "key-1" });
    server.requests.length = 0;
    await failureOf(whoami(kind, bad));
    expect(bad.lastError).toMatchObject({ code: "credential_refused", status: 401 });
    expect(server.requests).toHaveLength(1);
  });

  test("in a header of another name, behind a prefix", async () => {
    const { received, url } = await plainServer(status(200));
    await post(new ApiKeyCredential({ serverUrl: url, keys: "key", header: "Authorization", prefix: "ApiKey " }));
    await post(new ApiKeyCredential({ serverUrl: url, keys: "key", header: "X-Acme-Key" }));
    expect(received.map(({ headers }) => [headers.authorization, headers["x-acme-key"]])).toEqual([
      ["ApiKey key", undefined],
      [undefined, "key"],
    ]);
  });

  test("REQ-TOK-02: no other origin gets the key", async () => {
    const { received, url } = await plainServer(status(200));
    await build({}).fetch(url);
    expect(received[0]?.headers["x-api-key"]).toBeUndefined();
  });
});

describe("rotation", () => {
  test.each(httpKinds)("%s: a revoked key is followed by the next, which stays the first", async (_name, kind) => {
    const protection = apiKeys({ keys: { new: "key-2" } });
    const server = await protectedBy(protection);
    const { events, onEvent } = listening();
    const auth = new ApiKeyCredential({ serverUrl: server.url, keys: ["key-1", "key-2"], onEvent });
    expect(await whoami(kind, auth)).toBe("new");
    expect(await whoami(kind, auth)).toBe("new");
    expect(protection.refused).toBe(1);
    expect(events).toEqual([{ type: "credential.refused", left: 1, serverUrl: server.url }]);
    expect(auth.requestInit().headers).toEqual({ "x-api-key": "key-2" });
  });

  test("a key that is revoked between two calls costs no failed call, in either direction", async () => {
    const protection = apiKeys({ keys: { a: "key-a", b: "key-b" } });
    const server = await protectedBy(protection);
    const auth = new ApiKeyCredential({ serverUrl: server.url, keys: ["key-a", "key-b"] });
    const statuses = [(await post(auth)).status];
    protection.revoke("a");
    statuses.push((await post(auth)).status);
    protection.activate("a", "key-a");
    protection.revoke("b");
    statuses.push((await post(auth)).status);
    expect(statuses).toEqual([200, 200, 200]);
    expect(protection.refused).toBe(2);
  });

  test("50 refusals at once move on once; all calls succeed", async () => {
    const protection = apiKeys({ keys: { b: "key-b" } });
    const server = await protectedBy(protection);
    const { events, onEvent } = listening();
    const auth = new ApiKeyCredential({ serverUrl: server.url, keys: ["key-a", "key-b", "key-c"], onEvent });
    const answers = await Promise.all(Array.from({ length: 50 }, () => post(auth)));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    expect(events).toHaveLength(1);
    expect(protection.refused).toBe(50);
  });

  test("a late refusal of a key that is not current any more is repeated with the current one", async () => {
    const held: (() => void)[] = [];
    const { url, received } = await plainServer((request, response) => {
      if (request.headers["x-api-key"] === "good") return void response.end();
      const answer = () => void response.writeHead(401).end();
      if (request.path === "/late") held.push(answer);
      else answer();
    });
    const { events, onEvent } = listening();
    const auth = new ApiKeyCredential({ serverUrl: url, keys: ["bad", "good", "other"], onEvent });
    const late = auth.fetch(new URL("/late", url));
    await expect.poll(() => held.length).toBe(1);
    expect((await auth.fetch(url)).status).toBe(200);
    held[0]?.();
    expect((await late).status).toBe(200);
    expect(received.map(({ headers }) => headers["x-api-key"])).toEqual(["bad", "bad", "good", "good"]);
    expect(events).toHaveLength(1);
  });

  test("when all are refused the caller gets the server's answer, each was tried once, and the reason is kept", async () => {
    const { url, received } = await plainServer(status(401, "no such key", { "www-authenticate": "ApiKey" }));
    const auth = new ApiKeyCredential({ serverUrl: url, keys: ["a", "b", "c", "d"] });
    for (const first of ["a", "d"]) {
      received.length = 0;
      const answer = await post(auth);
      expect([answer.status, await answer.text()]).toEqual([401, "no such key"]);
      expect(received.map(({ headers }) => headers["x-api-key"]).toSorted()).toEqual(["a", "b", "c", "d"]);
      expect(received[0]?.headers["x-api-key"]).toBe(first);
    }
    expect(auth.lastError).toMatchObject({ code: "credential_refused", status: 401, serverUrl: url });
  });

  test("success clears the reason", async () => {
    const protection = apiKeys({ keys: {} });
    const server = await protectedBy(protection);
    const auth = new ApiKeyCredential({ serverUrl: server.url, keys: "key" });
    await post(auth);
    expect(auth.lastError?.code).toBe("credential_refused");
    protection.activate("it", "key");
    await post(auth);
    expect(auth.lastError).toBeUndefined();
  });

  test.each([
    // failOverOn403, status of the end, requests
    [true, 200, 2],
    [false, 403, 1],
  ])("a 403 refuses the key if the app says so (%s)", async (failOverOn403, end, requests) => {
    const server = await protectedBy(apiKeys({ keys: { b: "key-b" }, status: 403 }));
    const auth = new ApiKeyCredential({ serverUrl: server.url, keys: ["key-a", "key-b"], failOverOn403 });
    expect((await post(auth)).status).toBe(end);
    expect(server.requests).toHaveLength(requests);
  });

  test("403 for lack of scopes is the server's answer: another key is no answer to it", async () => {
    const { url, received } = await plainServer(status(403, "", { "www-authenticate": 'Bearer error="insufficient_scope", scope="a"' }));
    const auth = new ApiKeyCredential({ serverUrl: url, keys: ["a", "b"] });
    expect((await post(auth)).status).toBe(403);
    expect(received).toHaveLength(1);
    expect(auth.lastError).toMatchObject({ code: "insufficient_scope", requiredScopes: ["a"] });
  });

  test("429 with Retry-After is the caller's answer: no other key is tried", async () => {
    const clock = stillClock();
    const protection = apiKeys({ keys: { b: "key-b" }, lockAfter: 1, retryAfterSeconds: 7, now: clock.now });
    const server = await protectedBy(protection);
    const auth = new ApiKeyCredential({ serverUrl: server.url, keys: ["key-a", "key-b"] });
    const answer = await post(auth);
    expect([answer.status, answer.headers.get("retry-after")]).toEqual([429, "7"]);
    expect(protection.refused).toBe(1);
    clock.advance(7000);
    expect((await post(auth)).status).toBe(200);
  });
});

describe("keys from a function", () => {
  test("it is asked once by many, and again when all were refused", async () => {
    const protection = apiKeys({ keys: { first: "key-1" } });
    const server = await protectedBy(protection);
    const current = ["key-1"];
    let asked = 0;
    const { events, onEvent } = listening();
    const auth = new ApiKeyCredential({
      serverUrl: server.url,
      onEvent,
      keys: async () => {
        asked++;
        return [...current];
      },
    });
    await Promise.all(Array.from({ length: 20 }, () => post(auth)));
    expect(asked).toBe(1);
    current[0] = "key-2";
    protection.activate("second", "key-2");
    protection.revoke("first");
    const answers = await Promise.all(Array.from({ length: 20 }, () => post(auth)));
    expect(answers.every(({ ok }) => ok)).toBe(true);
    expect(asked).toBe(2);
    expect(events).toMatchObject([{ type: "credential.renewed", kind: "key" }]);
  });

  test("the same again: the server's answer; it is not asked for ever", async () => {
    const { url, received } = await plainServer(status(401));
    let asked = 0;
    const auth = new ApiKeyCredential({ serverUrl: url, keys: () => `key-${++asked && 1}` });
    expect((await post(auth)).status).toBe(401);
    expect([received.length, asked]).toEqual([1, 2]);
  });

  test("one that fails ends the call with our error, which has its own as cause; a stream gets the server's answer", async () => {
    const { url } = await plainServer(status(401));
    const cause = new Error("vault is sealed");
    const auth = new ApiKeyCredential({ serverUrl: url, keys: () => Promise.reject(cause) });
    expect(await failureOf(post(auth))).toMatchObject({ code: "credential_unavailable", serverUrl: url, cause });
    expect(auth.lastError?.code).toBe("credential_unavailable");
    expect((await auth.fetch(url, { headers: { accept: "text/event-stream" } })).status).toBe(401);
  });

  test("what it gives is checked", async () => {
    const auth = build({ keys: () => "key\n" });
    const error = await failureOf(post(auth));
    expect(error).toMatchObject({ code: "invalid_option", hint: expect.stringContaining("Trim") });
    expect((await failureOf(async () => auth.requestInit())) as McpAuthError).toMatchObject({ code: "invalid_option" });
  });
});

describe("bad input", () => {
  test.each([
    "Host",
    "Cookie",
    "Content-Type",
    "content-length",
    "Transfer-Encoding",
    "Connection",
    "Accept",
    "Mcp-Session-Id",
    "MCP-Protocol-Version",
    "Last-Event-ID",
    "Sec-Fetch-Mode",
    "Proxy-Authorization",
    "x y",
    "x:",
    "x\r\ny",
    "",
  ])("a header of the name %j is refused", async (header) => {
    expect(await failureOf(() => build({ header }))).toMatchObject({ code: "invalid_option" });
  });

  test.each(["", " ", "hush-key\n", " hush-key", "hush\r\nX-Evil: 1", "hush\0key", "húsh-key", "hush\u{1f511}", "hush\u2028"])(
    "the key %j is refused, and not repeated in the message",
    async (keys) => {
      const error = (await failureOf(() => build({ keys }))) as McpAuthError;
      expect(error.code).toBe("invalid_option");
      if (keys.trim()) expectHidden([keys, keys.trim()], error);
      if (keys) expect(await failureOf(() => build({ keys: ["good", keys] }))).toMatchObject({ code: "invalid_option" });
    },
  );

  test("of several keys those that are not there are left out; with none left it is an error", async () => {
    const { received, url } = await plainServer(status(200));
    await post(new ApiKeyCredential({ serverUrl: url, keys: [undefined, "key", ""] }));
    expect(received[0]?.headers["x-api-key"]).toBe("key");
    expect(await failureOf(() => build({ keys: [undefined, ""] }))).toMatchObject({ code: "invalid_option" });
  });

  test("programs in JavaScript: no key at all", async () => {
    const nothing = undefined as unknown as string;
    expect(await failureOf(() => build({ keys: nothing }))).toMatchObject({ code: "invalid_option" });
    expect(await failureOf(post(build({ keys: () => nothing })))).toMatchObject({ code: "invalid_option" });
  });

  test.each([[[]], [["1", "2", "3", "4", "5"]]])("%j are too few or too many", async (keys) => {
    expect(await failureOf(() => build({ keys }))).toMatchObject({ code: "invalid_option" });
  });

  test.each([{ prefix: "a\nb" }, { serverUrl: "http://mcp.example/mcp" }, { serverUrl: "nonsense" }])("%j is refused", async (options) => {
    expect(await failureOf(() => build(options))).toBeInstanceOf(McpAuthError);
  });
});

describe("a key in the URL", () => {
  const query = (parameter: string, exposeKeyInUrls: unknown = true) => ({ parameter, exposeKeyInUrls }) as ApiKeyOptions["query"];

  test("is refused with the reason unless the app insists", async () => {
    const error = (await failureOf(() => build({ query: query("api_key", false) }))) as McpAuthError;
    expect(error.code).toBe("invalid_option");
    expect(String(error)).toMatch(/logs.*proxies.*referrer.*exposeKeyInUrls/);
    expect(await failureOf(() => build({ query: query("") }))).toMatchObject({ code: "invalid_option" });
  });

  test.each(httpKinds)("%s: works with falling over", async (_name, kind) => {
    const server = await protectedBy(apiKeys({ keys: { it: "k&y=2" }, parameter: "api_key" }));
    const auth = new ApiKeyCredential({ serverUrl: server.url, keys: ["old", "k&y=2"], query: query("api_key") });
    expect(await whoami(kind, auth)).toBe("it");
    expect(server.requests.every(({ headers }) => headers["x-api-key"] === undefined)).toBe(true);
  });

  test("as a Request, too; other origins get none; neither answers nor errors nor events show it", async () => {
    const key = "very-secret-key";
    const { url, received } = await plainServer(status(401, "no"));
    const other = await plainServer(status(200));
    const { events, onEvent } = listening();
    const auth = new ApiKeyCredential({ serverUrl: `${url}?tenant=1`, keys: key, query: query("api_key"), onEvent });
    const answers = [
      await post(auth),
      await auth.fetch(new Request(auth.serverUrl, { method: "POST", body: "x" })),
      await auth.fetch(other.url, { headers: { "x-api-key": "theirs" } }),
    ];
    expect(received.map(({ path, body }) => [path, body === "x"])).toEqual([
      [`/mcp?tenant=1&api_key=${key}`, false],
      [`/mcp?tenant=1&api_key=${key}`, true],
    ]);
    expect(other.received[0]).toMatchObject({ path: "/mcp", headers: { "x-api-key": "theirs" } });
    expect(answers.map((answer) => answer.url)).toEqual([url, url, other.url]);
    expect(events).toHaveLength(2);
    expectHidden([key], auth, auth.lastError, events, answers);
    const unreachable = new ApiKeyCredential({ serverUrl: "http://127.0.0.1:1/mcp", keys: key, query: query("api_key") });
    expectHidden([key], await failureOf(post(unreachable)));
    // As Deno says it.
    const fetch = (input: string | URL | Request) => Promise.reject(new TypeError(`error sending request for url (${input})`));
    const quoting = new ApiKeyCredential({ serverUrl: url, keys: key, query: query("api_key"), fetch });
    const error = await failureOf(post(quoting));
    expect(error).toMatchObject({ code: "network_error", serverUrl: url });
    expectHidden([key], error);
    expect(await failureOf(post(quoting, { signal: AbortSignal.abort("no more") }))).toBe("no more");
  });
});

test("nothing that can be seen of a credential holds a key", async () => {
  const { url } = await plainServer(status(401));
  const { events, onEvent } = listening();
  const auth = new ApiKeyCredential({ serverUrl: url, keys: ["secret-1", "secret-2"], onEvent });
  await post(auth);
  expectHidden(["secret-1", "secret-2"], auth, auth.lastError, events);
});
