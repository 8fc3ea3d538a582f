/** A service that acts on behalf of its caller: an MCP server calls another one with a token that says for whom. */

import { inspect } from "node:util";
import { describe, expect, onTestFinished, test } from "vitest";
import { discoverAuthorizationServer } from "../../src/discovery/server-metadata.ts";
import { exchangeToken, tokenTypes } from "../../src/grants/token-exchange.ts";
import { createHttp } from "../../src/http/http.ts";
import { failure } from "../discovery/support.ts";
import { caller, logInByHand, type McpServer, startMcpServer } from "../fixture/index.ts";
import { connect, startServer } from "../storm/support.ts";

const client = { clientId: "reports", clientSecret: "the-secret-of-reports", tokenEndpointAuthMethod: "client_secret_basic" } as const;
const http = createHttp();

/** Two MCP servers of one authorization server; the first may exchange tokens. */
async function world() {
  const { authorizationServer: as, mcpServer: reports } = await startServer({ authorizationServer: { trust: {} } });
  const data = await startMcpServer({ authorizationServers: [as] });
  onTestFinished(() => data.close());
  await as.addClient({
    client_id: client.clientId,
    client_secret: client.clientSecret,
    grant_types: ["urn:ietf:params:oauth:grant-type:token-exchange"],
  });
  const server = await discoverAuthorizationServer(as.issuer, { http });
  const exchange = (subjectToken: string, options: object = {}) =>
    exchangeToken({
      ...{ server, client, http, subjectToken },
      subjectTokenType: tokenTypes.accessToken,
      resource: data.resource,
      ...options,
    });
  return { as, reports, data, exchange };
}

const withToken =
  (token: string): typeof fetch =>
  (url, init) =>
    fetch(url, { ...init, headers: { ...Object.fromEntries(new Headers(init?.headers)), authorization: `Bearer ${token}` } });

async function callTool(mcp: McpServer, token: string, name: string) {
  const connected = await connect(mcp.url, withToken(token));
  const { content } = await connected.callTool({ name });
  return JSON.parse((content as [{ text: string }])[0].text);
}

describe("RFC 8693 §1.1 delegation", () => {
  test("the second server knows who asks, and through whom; the caller's own token never gets there", async () => {
    const { as, reports, data, exchange } = await world();
    // What the first server's tool does with its caller's token.
    const seen: { token?: string; claims?: Record<string, unknown> } = {};
    reports.tools.list.summary = {
      description: "Asks the other server in the caller's name",
      scope: "mcp:read",
      inputSchema: { type: "object", properties: {} },
      run: async () => {
        const subject = String(reports.requests.findLast(({ tool }) => tool === "summary")?.headers.authorization).slice("Bearer ".length);
        const { token } = await exchange(subject);
        seen.token = subject;
        return callTool(data, token, "who");
      },
    };
    data.tools.list.who = {
      description: "Everything in the token",
      scope: "mcp:read",
      inputSchema: { type: "object", properties: {} },
      run: async () => caller.getStore()?.claims,
    };
    const { accessToken } = await logInByHand(as, { resource: reports.resource, scope: "mcp:read mcp:write" });
    expect(await callTool(reports, accessToken, "summary")).toMatchObject({
      ...{ sub: "alice", aud: data.resource, act: { sub: "reports" }, scope: "mcp:read mcp:write" },
    });
    expect(seen.token).toBe(accessToken);
    expect(data.requests.some(({ headers }) => headers.authorization?.includes(accessToken))).toBe(false);
  });

  test("fewer scopes than the caller has", async () => {
    const { as, reports, exchange } = await world();
    const { accessToken } = await logInByHand(as, { resource: reports.resource, scope: "mcp:read mcp:write" });
    expect(await exchange(accessToken, { scopes: ["mcp:read"] })).toMatchObject({ tokenType: "Bearer", scope: "mcp:read", expiresIn: 300 });
  });

  test("an actor of its own, and one before it", async () => {
    const { as, reports, data, exchange } = await world();
    const { accessToken } = await logInByHand(as, { resource: reports.resource, scope: "mcp:read" });
    const first = await exchange(accessToken);
    const actorToken = await as.mint({ aud: as.issuer, sub: "night-shift" });
    const second = await exchange(first.token, { actorToken, actorTokenType: tokenTypes.accessToken });
    data.tools.list.who = { ...data.tools.list.whoami, run: async () => caller.getStore()?.claims } as (typeof data.tools.list)[string];
    expect(await callTool(data, second.token, "who")).toMatchObject({ act: { sub: "night-shift", act: { sub: "reports" } } });
  });

  test.each<[string, (token: string) => string, object, object]>([
    [
      "more scopes than the caller has",
      (token) => token,
      { scopes: ["mcp:read", "mcp:write"] },
      { code: "token_request_refused", serverError: "invalid_scope" },
    ],
    ["a token that somebody has changed", (token) => `${token.slice(0, -8)}AAAAAAAA`, {}, { code: "invalid_grant" }],
    ["a token of another kind", (token) => token, { subjectTokenType: tokenTypes.saml2 }, { code: "token_request_refused" }],
    ["a wrong secret", (token) => token, { client: { ...client, clientSecret: "another-secret" } }, { code: "invalid_client" }],
  ])("%s", async (_what, change, options, expected) => {
    const { as, reports, exchange } = await world();
    const { accessToken } = await logInByHand(as, { resource: reports.resource, scope: "mcp:read" });
    const error = await failure(exchange(change(accessToken), options));
    expect(error).toMatchObject({ issuer: as.issuer, ...expected });
    const shown = inspect(error, { depth: 9, showHidden: true });
    for (const secret of [accessToken, change(accessToken), client.clientSecret, "another-secret"]) expect(shown).not.toContain(secret);
  });

  test("an expired token", async () => {
    const { as, reports, exchange } = await world();
    const token = await as.mint({ aud: reports.resource, expiresIn: -10 });
    expect(await failure(exchange(token))).toMatchObject({ code: "invalid_grant", hint: "Log in again." });
  });
});
