/** Programs that share a store: whose token they use, what is told of it, and what a record that cannot be used costs. */
import { describe, expect, test } from "vitest";
import { MemoryStore } from "../../src/index.ts";
import type { MachineTokenManagerOptions } from "../../src/machine/index.ts";
import { failure } from "../discovery/support.ts";
import { minutes, shiftedClock } from "../storm/support.ts";
import {
  type Answer,
  issuer,
  lacking,
  type Route,
  resourceMetadata,
  type Scripted,
  scripted,
  scriptedProgram,
  serverUrl,
} from "./scripted.ts";

const tokenUrl = `${issuer}/token`;

test("a token that another program has got, and that is refused as well, costs one more token request, not the call", async () => {
  const servers = scripted();
  const store = new MemoryStore();
  const [one, other] = [scriptedProgram(servers, { store }), scriptedProgram(servers, { store })];
  await one.call();
  await other.call();
  servers.good.clear();
  expect((await one.call()).status).toBe(200);
  servers.good.clear();
  expect((await other.call()).status).toBe(200);
  expect(servers.tokenRequests()).toHaveLength(3);
});

test.each<[relation: string, options: Partial<MachineTokenManagerOptions>, tokens: number]>([
  ["without an `account` and with `default` are the same", { account: "default" }, 1],
  ["that name their scopes in another order are the same", { scopes: ["write", "read"] }, 1],
  ["with another `account` are two", { account: "other" }, 2],
  ["with other `tokenParameters` are two", { tokenParameters: { audience: "x" } }, 2],
  ["with another `resource` are two", { resource: "https://mcp.example/other" }, 2],
])("programs %s", async (_relation, options, tokens) => {
  const servers = scripted();
  const store = new MemoryStore();
  const common = { store, scopes: ["read", "write"] };
  await scriptedProgram(servers, common).auth.getAccessToken();
  await scriptedProgram(servers, { ...common, ...options }).auth.getAccessToken();
  expect(servers.tokenRequests()).toHaveLength(tokens);
});

test("programs of two queries of one URL have a token each, which is found again; no key shows a query", async () => {
  const servers = scripted();
  const store = new MemoryStore();
  const token = (query: string) => scriptedProgram(servers, { store, serverUrl: `${serverUrl}${query}` }).auth.getAccessToken();
  const tokens = [await token("?project=a"), await token("?project=b"), await token("")];
  expect(new Set(tokens).size).toBe(3);
  expect([await token("?project=a"), await token("?project=b"), await token("")]).toEqual(tokens);
  expect(servers.tokenRequests()).toHaveLength(3);
  expect(await store.keys("machine/")).toContain(`machine/default/ci///${serverUrl}`);
  expect((await store.keys("")).join("\n")).not.toContain("project");
});

test.each([
  ["while it is good", 8, 2],
  ["not shortly before it expires", 10.7, 3],
  ["not once it has expired", 12, 3],
])("a program that comes back after a long time uses the token of another one %s", async (_when, at, requests) => {
  const servers = scripted();
  const clock = shiftedClock();
  const store = new MemoryStore();
  const { auth, events } = scriptedProgram(servers, { clock, store });
  await auth.getAccessToken();
  clock.shift(minutes(6));
  await scriptedProgram(servers, { clock, store }).auth.getAccessToken();
  clock.shift(minutes(at - 6));
  expect(await auth.getAccessToken()).toBe(`token-${requests}-of-the-test`);
  expect(servers.tokenRequests()).toHaveLength(requests);
  expect(events.some(({ type }) => type === "refresh.shared")).toBe(requests === 2);
});

test("an authorization server that gives the refused token again: the call fails with the reason, after one request", async () => {
  const servers = scripted();
  servers.routes[tokenUrl] = () => ({ body: { access_token: "always-the-same", token_type: "Bearer", expires_in: 600 } });
  servers.good.add("always-the-same");
  const { call } = scriptedProgram(servers);
  expect((await call()).status).toBe(200);
  servers.good.clear();
  expect(await failure(call())).toMatchObject({ code: "token_refused", status: 401, serverUrl });
  expect(servers.tokenRequests()).toHaveLength(2);
});

test.each([
  ["that is none", { status: 404 }],
  ["that fails", { status: 500 }],
  ["that names another resource", { body: { resource: "https://evil.example", authorization_servers: [issuer] } }],
])("a server that wants no token, with metadata %s, gets none", async (_what, metadata) => {
  const servers = scripted();
  servers.routes[serverUrl] = () => ({ body: {} });
  servers.routes[resourceMetadata] = () => metadata;
  const { auth, call } = scriptedProgram(servers);
  expect([await auth.authorize(), (await call()).status, servers.tokenRequests().length]).toEqual(["not-required", 200, 0]);
});

test("a program that asked for no scopes asks for none again, whatever it was granted", async () => {
  const servers = scripted();
  const clock = shiftedClock();
  servers.routes[tokenUrl] = () => servers.issue({ scope: "read write" });
  const { auth } = scriptedProgram(servers, { clock });
  await auth.getAccessToken();
  clock.shift(minutes(6));
  await auth.getAccessToken();
  expect(servers.tokenRequests().map(({ form }) => form.get("scope"))).toEqual([null, null]);
});

describe("a stored token", () => {
  test.each<[what: string, damage: object]>([
    ["of a version to come", { v: 2 }],
    ["without the token", { accessToken: undefined }],
    ["that is no text", { accessToken: 1 }],
    ["without its issuer", { issuer: undefined }],
    ["without its resource", { resource: undefined }],
    ["without its scopes", { requestedScopes: undefined }],
    ["with scopes in one text", { requestedScopes: "read write" }],
    ["without its time", { issuedAt: undefined }],
    ["of another request", { request: "[]" }],
  ])("%s is not used: another one is requested", async (_what, damage) => {
    const servers = scripted();
    const store = new MemoryStore();
    await scriptedProgram(servers, { store }).call();
    const [key = ""] = await store.keys("machine/");
    await store.set(key, { v: 1, ...(await store.get(key)), ...damage });
    servers.log.length = 0;
    expect((await scriptedProgram(servers, { store }).call()).status).toBe(200);
    expect(servers.tokenRequests()).toHaveLength(1);
    expect(servers.log.filter(({ url, bearer }) => url === serverUrl && bearer === "token-1-of-the-test")).toEqual([]);
  });
});

describe("what is told of a token request", () => {
  interface Scene extends ReturnType<typeof scriptedProgram> {
    servers: Scripted;
    shift(ms: number): void;
    /** The token endpoint answers this from now on. */
    answers(answer: Answer): void;
    /** Nothing can be stored from now on. */
    fillDisk(): void;
  }
  const finished = { type: "refresh.finished", issuer, rotated: false };
  const started = (reason: string) => ({ type: "refresh.started", issuer, reason });
  const failed = (code: string, transient: boolean) => ({ type: "refresh.failed", issuer, code, transient });

  function scene(): Scene {
    const servers = scripted();
    const give = servers.routes[serverUrl] as Route;
    servers.routes[serverUrl] = (asked) =>
      asked.tool === "write" && asked.bearer === "token-1-of-the-test" ? lacking("write") : give(asked);
    const clock = shiftedClock();
    const store = new MemoryStore();
    const program = scriptedProgram(servers, { clock, store });
    const { withLock } = store;
    const fillDisk = () => {
      const set = () => Promise.reject(new Error("disk full"));
      store.withLock = (key, action, options) => withLock.call(store, key, (held) => action({ ...held, set }) as never, options) as never;
    };
    const answers = (answer: Answer) => {
      servers.routes[tokenUrl] = () => answer;
    };
    return { ...program, servers, shift: clock.shift, answers, fillDisk };
  }

  test.each<[rule: string, act: (scene: Scene) => unknown[], events: object[]]>([
    ["ahead of expiry", ({ shift, call }) => [shift(minutes(3.5)), call()], [started("ahead"), finished]],
    ["at expiry", ({ shift, call }) => [shift(minutes(6)), call()], [started("expired"), finished]],
    ["after a refusal", ({ servers, call }) => [servers.good.clear(), call()], [started("refused"), finished]],
    [
      "for more scopes",
      ({ call }) => [call("write")],
      [
        { type: "step-up.started", scopes: ["write"], attempt: 1 },
        started("ahead"),
        finished,
        { type: "step-up.finished", scopes: ["write"] },
      ],
    ],
    [
      "that is refused",
      ({ answers, shift, call }) => [answers({ status: 401, body: { error: "invalid_client" } }), shift(minutes(6)), failure(call())],
      [started("expired"), failed("invalid_client", false)],
    ],
    [
      "that may succeed later",
      ({ answers, shift, call }) => [answers({ status: 429, headers: { "retry-after": "3600" } }), shift(minutes(6)), failure(call())],
      [started("expired"), failed("rate_limited", true)],
    ],
    [
      "whose token cannot be stored",
      ({ fillDisk, shift, call }) => [fillDisk(), shift(minutes(6)), call()],
      [started("expired"), { type: "tokens.unsaved", code: "store_failed" }, finished],
    ],
  ])("%s", async (_rule, act, expected) => {
    const program = scene();
    await program.call();
    expect(program.events.filter(({ type }) => type.startsWith("refresh."))).toMatchObject([started("missing"), finished]);
    program.events.length = 0;
    await Promise.all(act(program));
    await expect.poll(() => program.events).toHaveLength(expected.length);
    expect(program.events).toMatchObject(expected);
  });

  test.each<[rule: string, options: Partial<MachineTokenManagerOptions>, told: string]>([
    ["at the origin of a token endpoint that the app names", { tokenEndpoint: tokenUrl }, issuer],
    [
      "at the issuer that the app names beside it",
      { tokenEndpoint: tokenUrl, issuer: "https://company.example" },
      "https://company.example",
    ],
    ["at an authorization server that is not known yet", {}, ""],
  ])("%s", async (_rule, options, told) => {
    const servers = scripted();
    servers.routes[tokenUrl] = () => ({ status: 401, body: { error: "invalid_client" } });
    servers.routes[resourceMetadata] = () => ({ status: 404 });
    const { auth, events } = scriptedProgram(servers, options);
    await failure(auth.getAccessToken());
    expect(events.filter(({ type }) => type === "refresh.failed")).toMatchObject([{ issuer: told, transient: false }]);
  });

  test("that another program has made instead", async () => {
    const servers = scripted();
    const store = new MemoryStore();
    const [one, other] = [scriptedProgram(servers, { store }), scriptedProgram(servers, { store })];
    await Promise.all([one.auth.getAccessToken(), other.auth.getAccessToken()]);
    expect(servers.tokenRequests()).toHaveLength(1);
    expect(other.events).toMatchObject([{ type: "refresh.shared", issuer }]);
  });
});
