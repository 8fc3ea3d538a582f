/** A stronger or newer authentication in the middle of the traffic (RFC 9470): a login, not a refresh; once, for all. */
import { Client as ClientV2, StreamableHTTPClientTransport as TransportV2 } from "@modelcontextprotocol/client";
import { Client as ClientV1 } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport as TransportV1 } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js";
import { describe, expect, onTestFinished, test } from "vitest";
import { type Clock, type DeviceCodePrompt, systemClock, type TokenManagerOptions } from "../../src/index.ts";
import { authProvider as authProviderV1 } from "../../src/transports/sdk/v1.ts";
import { authProvider } from "../../src/transports/sdk/v2.ts";
import { answer, enterDeviceCode, gate, type ProtectedServerOptions, secondFactorAcr, toolCall, when } from "../fixture/index.ts";
import { callTool, connect, failure, manager, minutes, post, seeded, startServer, tally, toolRequest, userAtHand } from "./support.ts";

const strong = { acr: secondFactorAcr };

/** A login without second factor, at a server whose tool `count` wants one. */
async function weakLogin(options?: ProtectedServerOptions, more: Partial<TokenManagerOptions> = {}) {
  const parts = await seeded(options);
  parts.mcp.toolAuthentication = { count: strong };
  const handler = userAtHand();
  return { ...parts, handler, ...manager(parts.server, { store: parts.store, clock: parts.clock, loginHandler: handler, ...more }) };
}

const asked = ({ requests }: { requests: { path: string; query: URLSearchParams }[] }) =>
  requests.filter(({ path }) => path === "/authorize").map(({ query }) => Object.fromEntries(query));

const insufficient = (more: string) =>
  answer(
    401,
    { error: "insufficient_user_authentication" },
    { "www-authenticate": `Bearer error="insufficient_user_authentication"${more}` },
  );

const count = { id: "x" };

/** Polls at once. */
const hasty: Clock["sleep"] = (ms, options) => systemClock.sleep(options?.background ? ms : 5, options);

describe("a tool that wants a second factor", () => {
  test("SDK v1: call, challenge, login with the code, the tool's result; the weak login was not refreshed", async () => {
    const { auth, as, mcp, server, handler, events } = await weakLogin();
    const client = await connect(server.url, auth.fetch);
    expect(await callTool(client, "add", { a: 1, b: 2 })).toBe(3);
    expect(handler.opened).toBe(0);
    expect(await callTool(client, "count", count)).toBe(1);
    expect(handler.opened).toBe(1);
    expect(asked(as)).toEqual([expect.objectContaining({ acr_values: secondFactorAcr, resource: mcp.resource })]);
    expect(as.tokenRequests("refresh_token")).toHaveLength(0);
    expect(events).toContainEqual({
      type: "step-up.started",
      scopes: [],
      acrValues: secondFactorAcr,
      attempt: 1,
      serverUrl: server.url,
    });
    // From now on it is there, refreshed tokens included.
    mcp.revokeAll();
    expect(await callTool(client, "count", count)).toBe(2);
    expect([handler.opened, as.tokenRequests("refresh_token").length]).toEqual([1, 1]);
  });

  test.each(["fetch", "authProvider"])("SDK v2 with `%s`", async (way) => {
    const { auth, server, handler } = await weakLogin();
    const client = new ClientV2({ name: "test", version: "1" });
    onTestFinished(() => client.close());
    await client.connect(
      new TransportV2(new URL(server.url), way === "fetch" ? { fetch: auth.fetch } : { authProvider: authProvider(auth) }),
    );
    const result = await client.callTool({ name: "count", arguments: count });
    expect(result.content).toEqual([{ type: "text", text: "1" }]);
    expect(handler.opened).toBe(1);
  });

  test("SDK v1 with `authProvider`, which is not told why: an error, and nobody is asked in vain", async () => {
    const { auth, as, server, handler } = await weakLogin();
    const client = new ClientV1({ name: "test", version: "1" });
    onTestFinished(() => client.close());
    await client.connect(new TransportV1(new URL(server.url), { authProvider: authProviderV1(auth) }) as Transport);
    await expect(callTool(client, "count", count)).rejects.toThrow("401");
    expect([handler.opened, as.liveLogins]).toEqual([0, 1]);
    expect(await callTool(client, "add", { a: 1, b: 2 })).toBe(3);
  });

  test("through the pages that a browser would show", async () => {
    const { auth, as, handler } = await weakLogin();
    as.interaction = "pages";
    const pages: string[] = [];
    handler.start = async () => {
      const redirectUri = "http://127.0.0.1:1/callback";
      return {
        redirectUri,
        redirectUris: [redirectUri],
        close: async () => {},
        async authorize(url, receive) {
          const fetch: typeof globalThis.fetch = async (input, init) => {
            const target = new URL(input instanceof Request ? input.url : input);
            if (target.port !== "1") return globalThis.fetch(input, init);
            await receive(target.searchParams);
            return new Response("done");
          };
          pages.push(await enterDeviceCode(url.href, undefined, { fields: { totp: as.secondFactor }, fetch }));
        },
      };
    };
    expect(await post(auth, "count", count)).toBe(200);
    expect(pages).toEqual(["done"]);
  });

  test("by device code", async () => {
    const clock = { ...systemClock, sleep: hasty };
    const onDeviceCode = ({ verificationUriComplete = "" }: DeviceCodePrompt) => void enterDeviceCode(verificationUriComplete, undefined);
    const { auth, as, handler } = await weakLogin({ authorizationServer: { deviceFlow: true } }, { onDeviceCode, clock });
    expect(await post(auth, "count", count)).toBe(200);
    expect(handler.opened).toBe(0);
    const [sent] = as.requests.filter(({ path }) => path === "/device/auth");
    expect(sent?.form.get("acr_values")).toBe(secondFactorAcr);
  });

  test("a wrong code: the error, and the same for a while without asking again; what needs none goes on", async () => {
    const { auth, as, handler, clock, mcp } = await weakLogin();
    as.typeSecondFactor = () => "000000";
    expect((await failure(post(auth, "count", count))).code).toBe("authorization_denied");
    expect(await tally([post(auth, "count", count), post(auth, "count", count)])).toEqual({ authorization_denied: 2 });
    expect(await post(auth)).toBe(200);
    expect([handler.opened, as.liveLogins]).toEqual([1, 1]);
    as.typeSecondFactor = (code) => code;
    clock.shift(minutes(11));
    expect(await post(auth, "count", count)).toBe(200);
    expect([handler.opened, mcp.tools.counts.get("x")]).toEqual([2, 1]);
  });

  test("many calls over two managers on one store: one login", async () => {
    const { auth, server, store, clock, handler, mcp } = await weakLogin();
    const other = manager(server, { store, clock, loginHandler: handler });
    await Promise.all([post(auth), post(other.auth)]);
    const calls = [auth, other.auth].flatMap((each, m) => Array.from({ length: 20 }, (_, n) => post(each, "count", { id: `${m}${n}` })));
    expect(await tally(calls)).toEqual({ 200: 40 });
    expect(handler.opened).toBe(1);
    expect([...mcp.tools.counts.values()]).toEqual(Array(40).fill(1));
  });

  test("a refresh in another process is no stronger login: the user is asked all the same, once", async () => {
    const { auth, server, store, clock, handler, mcp, as } = await weakLogin();
    await post(auth);
    const other = manager(server, { store, clock });
    mcp.revokeAll();
    expect(await post(other.auth)).toBe(200);
    expect(as.tokenRequests("refresh_token")).toHaveLength(1);
    mcp.intercept(when(toolCall("count"), insufficient(`, acr_values="${secondFactorAcr}"`), 1));
    expect(await post(auth, "count", count)).toBe(200);
    expect(handler.opened).toBe(1);
  });

  test("a refresh in another process while the login waits for its turn is none either", async () => {
    const { auth, server, store, clock, handler, mcp, types } = await weakLogin();
    await post(auth);
    const turn = Promise.withResolvers<void>();
    const others = store.withLock(`login/default/${server.url}`, () => turn.promise);
    const call = post(auth, "count", count);
    await expect.poll(types).toContain("step-up.started");
    mcp.revokeAll();
    expect(await post(manager(server, { store, clock }).auth)).toBe(200);
    turn.resolve();
    await others;
    expect(await call).toBe(200);
    expect([handler.opened, types().filter((type) => type === "step-up.started").length]).toEqual([1, 1]);
  });

  test("a late refusal of the weak token is repeated with the strong one, without a user", async () => {
    const { auth, mcp, handler } = await weakLogin();
    const late = gate(({ tool, body }) => tool === "count" && body.includes("late"), "after");
    mcp.intercept(late.hook);
    const held = post(auth, "count", { id: "late" });
    await late.reached(1);
    expect(await post(auth, "count", { id: "early" })).toBe(200);
    late.open();
    expect(await held).toBe(200);
    expect(handler.opened).toBe(1);
  });
});

describe("a tool that wants a recent login", () => {
  test("`max_age` asks for it again; the new one counts", async () => {
    const { auth, as, mcp, handler } = await weakLogin();
    mcp.toolAuthentication = { add: { maxAge: 300 } };
    as.loginAgeSeconds = 3600;
    expect(await auth.authorize()).toBe("authorized");
    mcp.intercept(when(toolCall("add"), insufficient(', max_age="300"'), 1));
    expect(await post(auth)).toBe(200);
    expect(handler.opened).toBe(1);
    expect(asked(as)).toEqual([expect.objectContaining({ max_age: "300" })]);
  });

  test("logins that age are asked for as often as that happens: each was good for a while", async () => {
    const { auth, mcp, handler, clock } = await weakLogin();
    for (const opened of [1, 2, 3, 4]) {
      mcp.intercept(when(toolCall("add"), insufficient(', max_age="120"'), 1));
      expect(await post(auth)).toBe(200);
      expect(handler.opened).toBe(opened);
      clock.shift(minutes(2.5));
    }
  });

  test("a server that pays no heed to `max_age`: two logins, and no more because they age", async () => {
    const { auth, mcp, handler, clock } = await weakLogin();
    mcp.intercept(when(toolCall("add"), insufficient(', max_age="120"')));
    for (let calls = 0; calls < 3; calls++) {
      expect(await post(auth)).toBe(401);
      clock.shift(minutes(2.5));
    }
    expect(handler.opened).toBe(2);
  });

  test("`max_age=0`: two logins, and no more because a moment has passed", async () => {
    const { auth, mcp, handler, clock } = await weakLogin();
    mcp.intercept(when(toolCall("add"), insufficient(', max_age="0"')));
    for (let calls = 0; calls < 3; calls++) {
      expect(await post(auth)).toBe(401);
      clock.shift(1000);
    }
    expect(handler.opened).toBe(2);
  });

  test("the login that the server remembers is too old: a cold start ends in two logins, not in a loop", async () => {
    const server = await startServer();
    const { authorizationServer: as, mcpServer: mcp } = server;
    as.loginAgeSeconds = 3600;
    mcp.toolAuthentication = { add: { maxAge: 300 } };
    const handler = userAtHand();
    const { auth } = manager(server, { loginHandler: handler });
    expect(await post(auth)).toBe(200);
    expect(handler.opened).toBe(2);
    expect(asked(as).map(({ max_age }) => max_age)).toEqual([undefined, "300"]);
  });
});

describe("parameters", () => {
  test("the challenge's win over the app's, the others stay; its scope counts", async () => {
    const { auth, as, mcp } = await weakLogin(undefined, {
      authorizationParameters: { acr_values: "app", max_age: "9", ui_locales: "de" },
    });
    mcp.intercept(when(toolCall("add"), insufficient(`, acr_values="${secondFactorAcr}", scope="mcp:write"`), 1));
    expect(await post(auth)).toBe(200);
    const [request] = asked(as);
    expect(request).toMatchObject({ acr_values: secondFactorAcr, max_age: "9", ui_locales: "de" });
    expect(request?.scope?.split(" ")).toEqual(expect.arrayContaining(["mcp:read", "mcp:write"]));
  });

  test("a `max_age` that is no number is not sent", async () => {
    const { auth, as, mcp } = await weakLogin();
    mcp.intercept(when(toolCall("add"), insufficient(', max_age="soon"'), 1));
    expect(await post(auth)).toBe(200);
    expect(asked(as).map((query) => Object.hasOwn(query, "max_age"))).toEqual([false]);
  });
});

describe("an end to asking", () => {
  test("REQ-STEP-03: a server that is never content is asked three times in all, then its 401 is the answer", async () => {
    const { auth, mcp, handler } = await weakLogin();
    mcp.intercept(when(toolCall("add"), insufficient(', acr_values="gold", max_age="60"')));
    const response = await auth.fetch(auth.serverUrl, toolRequest("add", { a: 1, b: 2 }));
    expect([response.status, await response.json()]).toEqual([401, { error: "insufficient_user_authentication" }]);
    expect([mcp.calls("add").length, handler.opened]).toEqual([3, 2]);
    expect(auth.lastError).toMatchObject({ code: "authentication_insufficient", status: 401 });
    expect(auth.lastError?.message).toContain("gold");
    expect(auth.lastError?.message).toContain("60 s");
    expect(await post(auth)).toBe(401);
    expect(handler.opened).toBe(2);
  });

  test.each<[who: string, options: Partial<TokenManagerOptions>]>([
    ["no login handler", { loginHandler: undefined }],
    ["`interactive: false`", { interactive: false }],
  ])("without a user (%s) it is an error at once that says what is wanted; nothing is refreshed or deleted", async (_who, options) => {
    const { auth, as, handler } = await weakLogin(undefined, options);
    const error = await failure(post(auth, "count", count));
    expect([error.code, error.message]).toEqual(["authentication_insufficient", expect.stringContaining(secondFactorAcr)]);
    expect([handler.opened, as.tokenRequests().length, as.liveLogins]).toEqual([0, 0, 1]);
    expect(await post(auth)).toBe(200);
  });

  test("without a user, but another process has asked one: its login is used", async () => {
    const { auth, server, store, clock, handler, as } = await weakLogin();
    const other = manager(server, { store, clock, interactive: false });
    expect(await post(other.auth)).toBe(200);
    expect(await post(auth, "count", count)).toBe(200);
    expect(await post(other.auth, "count", count)).toBe(200);
    expect([handler.opened, as.tokenRequests("refresh_token").length]).toEqual([1, 0]);
  });

  test("a stream that reconnects asks nobody: it gets the server's 401", async () => {
    const { auth, mcp, handler } = await weakLogin();
    mcp.intercept(when(({ method }) => method === "GET", insufficient(', max_age="60"')));
    const stream = await auth.fetch(auth.serverUrl, { headers: { accept: "text/event-stream" } });
    expect([stream.status, handler.opened, auth.lastError?.code]).toEqual([401, 0, "authentication_insufficient"]);
    await stream.body?.cancel();
  });
});
