/** Servers that want the ID token, or the access token, and do not say which: one is tried, then the other, and never elsewhere. */
import { HttpResponse } from "msw";
import { describe, expect, test } from "vitest";
import { MemoryStore } from "../../src/index.ts";
import type { TokenManagerOptions } from "../../src/user/options.ts";
import { manager, stubUser, TestClock } from "../answers/support.ts";
import { world } from "../discovery/support.ts";

const net = world();
const cognito = "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_abc";
const agentCore = "https://gw.gateway.bedrock-agentcore.us-east-1.amazonaws.com/mcp";
const elsewhere = "https://mcp.example/mcp";

/** A login with both kinds of tokens, at a server that takes only what `takes` says. */
function servers(takes: (bearer: string) => boolean, { serverUrl = agentCore, issuer = cognito, hasIdToken = true } = {}) {
  const sent: string[] = [];
  let issued = 0;
  const { origin, pathname } = new URL(serverUrl);
  net.serve({
    [serverUrl]: (request) => {
      const bearer = request.headers.get("authorization")?.replace("Bearer ", "") ?? "none";
      sent.push(bearer);
      return takes(bearer) ? HttpResponse.json({}) : new HttpResponse(null, { status: 401, headers: { "www-authenticate": "Bearer" } });
    },
    [`${origin}/.well-known/oauth-protected-resource${pathname}`]: { resource: serverUrl, authorization_servers: [issuer] },
    [`${issuer}/.well-known/openid-configuration`]: {
      issuer,
      authorization_endpoint: `${issuer}/authorize`,
      token_endpoint: `${issuer}/token`,
      code_challenge_methods_supported: ["S256"],
    },
    [`${issuer}/token`]: () => {
      issued++;
      const tokens = { access_token: `access-${issued}`, refresh_token: `refresh-${issued}`, token_type: "Bearer", expires_in: 3600 };
      return HttpResponse.json({ ...tokens, ...(hasIdToken && { id_token: `id-${issued}` }) });
    },
  });
  const [store, clock, user] = [new MemoryStore(), new TestClock(), stubUser()];
  const start = (options: Partial<TokenManagerOptions> = {}) => {
    const { auth } = manager({ serverUrl, store, clock, loginHandler: user, clientId: "c", issuer, ...options });
    const call = async () => (await auth.fetch(serverUrl, { method: "POST", body: "{}" })).status;
    return { auth, call };
  };
  const record = async () => (await store.get(`tokens/default/${serverUrl}`)) as Record<string, unknown> | undefined;
  return { sent, start, clock, user, record };
}

const isAccess = (bearer: string) => bearer.startsWith("access");
const isId = (bearer: string) => bearer.startsWith("id");

describe("Amazon Cognito before Bedrock AgentCore", () => {
  test("a server that takes the ID token: the other one is never sent", async () => {
    const { sent, start, clock } = servers(isId);
    const { call } = start();
    expect(await call()).toBe(200);
    clock.time += 3_700_000;
    expect([await call(), sent]).toEqual([200, ["none", "id-1", "id-2"]]);
  });

  test("a server that takes the access token: tried once, remembered after a refresh, in other processes, and with the next login", async () => {
    const { sent, start, clock, user, record } = servers(isAccess);
    const { call, auth } = start();
    expect([await call(), await call(), sent.splice(0)]).toEqual([200, 200, ["none", "id-1", "access-1", "access-1"]]);
    await expect.poll(record).toMatchObject({ bearer: "access_token" });
    clock.time += 3_700_000;
    expect([await call(), await start().call(), sent.splice(0)]).toEqual([200, 200, ["access-2", "access-2"]]);
    await auth.authorize({ scopes: ["more"] });
    expect([await call(), sent.splice(0), user.asked.length]).toEqual([200, ["access-3"], 2]);
  });

  test("50 calls at once after the login: all go through, with one window", async () => {
    const { sent, start, user } = servers(isAccess);
    const { call, auth } = start();
    await auth.authorize();
    expect(new Set(await Promise.all(Array.from({ length: 50 }, call)))).toEqual(new Set([200]));
    expect([user.asked.length, sent.filter(isId).length <= 50, sent.filter(isAccess).length]).toEqual([1, true, 50]);
  });

  test("a server that takes neither: each is tried, then its answer is the caller's; nothing is remembered", async () => {
    const { sent, start, user, record } = servers(() => false);
    const { call, auth } = start();
    expect([await call(), auth.lastError?.code, user.asked.length]).toEqual([401, "token_refused", 1]);
    expect([...new Set(sent)]).toEqual(["none", "id-1", "access-1"]);
    expect(await record()).not.toHaveProperty("bearer");
  });

  test("no ID token in the answer: the access token", async () => {
    const { sent, start } = servers(isAccess, { hasIdToken: false });
    expect([await start().call(), sent]).toEqual([200, ["none", "access-1"]]);
  });

  test.each([
    ["access_token", isId, "id-1"],
    ["id_token", isAccess, "access-1"],
  ] as const)("the app's `bearer: %s` is final", async (bearer, takes, other) => {
    const { sent, start } = servers(takes);
    expect(await start({ bearer }).call()).toBe(401);
    expect(sent).not.toContain(other);
  });
});

test.each([
  ["another server with logins of Cognito", { serverUrl: elsewhere }],
  ["AgentCore with logins of others", { issuer: "https://as.example" }],
])("%s: the ID token is shown to nobody", async (_what, places) => {
  const { sent, start } = servers(isId, places);
  expect(await start().call()).toBe(401);
  expect(sent.filter(isId)).toEqual([]);
});
