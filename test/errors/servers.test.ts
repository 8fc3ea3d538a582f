/** Every code that a server can cause: what its user reads, message and hint as a whole. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { HttpResponse } from "msw";
import { expect, onTestFinished, test } from "vitest";
import { type McpAuthError, systemClock, type TokenManagerOptions } from "../../src/index.ts";
import { MachineTokenManager } from "../../src/machine/index.ts";
import { asMetadata, first, issuer, json, manager, protectedWorld, serverUrl, stubUser, text, tokenEndpoint } from "../answers/support.ts";
import { type Answer, failure, never, world } from "../discovery/support.ts";

const net = world();
const metadata = `${issuer}/.well-known/oauth-authorization-server`;
const resource = "https://mcp.example/.well-known/oauth-protected-resource/mcp";
const registration = `${issuer}/register`;
const withBasic = { ...asMetadata, token_endpoint_auth_methods_supported: ["client_secret_basic"] };
const at = `(server ${serverUrl}, authorization server ${issuer})`;

/** Refuses whoever has no token, and whoever has one as said. */
const refusing =
  (status: number, value: string, without = "Bearer"): Answer =>
  ({ headers }) => {
    const hasToken = headers.has("authorization");
    return new HttpResponse(null, { status: hasToken ? status : 401, headers: { "www-authenticate": hasToken ? value : without } });
  };
const challenging = (value: string) => refusing(401, value, value);
const redirecting =
  (location: string): Answer =>
  () =>
    new HttpResponse(null, { status: 307, headers: { location } });

/** A user who comes back with these parameters. */
function answering(parameters: Record<string, string>): TokenManagerOptions["loginHandler"] {
  const redirectUri = "http://127.0.0.1:4711/callback";
  return {
    start: async () => ({
      redirectUri,
      redirectUris: [redirectUri],
      authorize: (url, receive) => receive(new URLSearchParams({ state: url.searchParams.get("state") ?? "", ...parameters })),
      close: async () => {},
    }),
  };
}

/** What the user does, and reads. */
const ways = {
  /** `authorize()` fails. */
  login: async ({ options }: Mistake) => failure(manager({ loginHandler: stubUser(), speculate: false, ...options }).auth.authorize()),
  /** A call after a good login fails, or ends with the server's answer and an error in `lastError`. */
  call: async ({ serve = {} }: Mistake) => {
    protectedWorld(net);
    const { auth, store, clock } = manager({ loginHandler: stubUser() });
    await auth.authorize();
    net.serve(serve);
    const later = manager({ store, clock, interactive: false });
    const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/list" });
    const error = await later.auth.fetch(serverUrl, { method: "POST", body }).catch((thrown: unknown) => thrown);
    return (error instanceof Response ? later.auth.lastError : error) as McpAuthError;
  },
  /** The first call logs in. */
  first: async () => {
    const { auth } = manager({ loginHandler: stubUser() });
    await auth.fetch(serverUrl, { method: "POST", body: "{}" });
    return auth.lastError as McpAuthError;
  },
  /** The token expires where no user can be asked. */
  expiry: async ({ tokens = [] }: Mistake) => {
    const { answerTokens } = protectedWorld(net);
    const { auth, store, clock } = manager({ loginHandler: stubUser() });
    await auth.authorize();
    answerTokens(...tokens);
    clock.time += 2_000_000;
    return failure(manager({ store, clock, interactive: false }).auth.getAccessToken());
  },
  /** A program asks for a token. */
  program: async ({ options }: Mistake) => {
    const program = new MachineTokenManager({ serverUrl, clientId: "job", clientSecret: "a-long-secret", ...(options as object) });
    onTestFinished(() => program.dispose());
    return failure(program.getAccessToken());
  },
} as const;

interface Mistake {
  what: string;
  way?: keyof typeof ways;
  serve?: Record<string, Answer>;
  /** What the token endpoint answers. */
  tokens?: Answer[];
  options?: Partial<TokenManagerOptions>;
}

type Read = [code: string, party: string, message: string, hint: string];

const rows: [row: Mistake, read: Read][] = [
  // the way to the server
  [
    { what: "the authorization server cannot be reached", serve: { [metadata]: "unreachable" } },
    [
      "network_error",
      "network",
      `The server cannot be reached: https://as.example/.well-known/oauth-authorization-server; https://as.example/.well-known/openid-configuration (404) ${at}.`,
      "Check the network, the address, the proxy and the certificates.",
    ],
  ],
  [
    { what: "it does not answer in time", serve: { [metadata]: never }, options: { requestTimeout: 30, clock: systemClock } },
    [
      "timeout",
      "network",
      `There was no response in time: https://as.example/.well-known/oauth-authorization-server, 30 ms; https://as.example/.well-known/openid-configuration (404) ${at}.`,
      "Try again later.",
    ],
  ],
  [
    { what: "it fails", serve: { [metadata]: 503 } },
    [
      "server_error",
      "authorization-server",
      `The server failed: https://as.example/.well-known/oauth-authorization-server (503); https://as.example/.well-known/openid-configuration (404) ${at.slice(0, -1)}, status 503).`,
      "Try again later.",
    ],
  ],
  [
    {
      what: "it asks for fewer requests",
      serve: { [registration]: () => new HttpResponse(null, { status: 429, headers: { "retry-after": "7" } }) },
    },
    ["rate_limited", "authorization-server", `The server asks for fewer requests ${at.slice(0, -1)}, status 429).`, "Try again later."],
  ],
  [
    { what: "a document without end", serve: { [metadata]: text(`{"filler":"${"x".repeat(1_100_000)}"}`) } },
    [
      "discovery_failed",
      "authorization-server",
      `No usable metadata of an authorization server was found: https://as.example/.well-known/oauth-authorization-server, more than 1048576 bytes (200); https://as.example/.well-known/openid-configuration (404) ${at}.`,
      "Tell the operator of the server.",
    ],
  ],
  [
    { what: "an endpoint redirects elsewhere", tokens: [redirecting("https://elsewhere.example/token")] },
    [
      "redirect_refused",
      "authorization-server",
      "The server redirects to another place: https://as.example/token to https://elsewhere.example/token (server https://mcp.example/mcp, status 307).",
      "If the URL is yours, use the final one; else tell the operator of the server.",
    ],
  ],
  // discovery
  [
    { what: "no metadata of the authorization server", serve: { [metadata]: 404 } },
    [
      "discovery_failed",
      "authorization-server",
      `No usable metadata of an authorization server was found: https://as.example/.well-known/oauth-authorization-server (404); https://as.example/.well-known/openid-configuration (404) ${at}.`,
      "Tell the operator of the server.",
    ],
  ],
  [
    { what: "its metadata need a login", serve: { [metadata]: 401 } },
    [
      "discovery_failed",
      "authorization-server",
      `No usable metadata of an authorization server was found: https://as.example/.well-known/oauth-authorization-server (401); https://as.example/.well-known/openid-configuration (404) ${at}.`,
      "Tell the operator of the server.",
    ],
  ],
  [
    { what: "metadata without a token endpoint", serve: { [metadata]: { ...asMetadata, token_endpoint: "" } } },
    [
      "discovery_failed",
      "authorization-server",
      `No usable metadata of an authorization server was found: https://as.example/.well-known/oauth-authorization-server: \`token_endpoint\` is not usable ${at}.`,
      "Tell the operator of the server.",
    ],
  ],
  [
    { what: "metadata without an authorization endpoint", serve: { [metadata]: { ...asMetadata, authorization_endpoint: undefined } } },
    [
      "discovery_failed",
      "authorization-server",
      `No usable metadata of an authorization server was found: https://as.example/.well-known/oauth-authorization-server: no \`authorization_endpoint\` ${at}.`,
      "Tell the operator of the server.",
    ],
  ],
  [
    { what: "metadata that do not list S256", serve: { [metadata]: { ...asMetadata, code_challenge_methods_supported: undefined } } },
    [
      "pkce_unsupported",
      "authorization-server",
      `The authorization server does not list PKCE with S256: https://as.example/.well-known/oauth-authorization-server: no S256 ${at}.`,
      `Ask its operator; if it supports S256 without listing it, name its issuer in \`assumePkce\`.`,
    ],
  ],
  [
    { what: "metadata of another issuer", serve: { [metadata]: { ...asMetadata, issuer: "https://other.example" } } },
    [
      "issuer_mismatch",
      "authorization-server",
      `The response comes from another authorization server: https://as.example/.well-known/oauth-authorization-server is about "https://other.example", not "https://as.example" ${at}.`,
      "Do not log in there.",
    ],
  ],
  [
    { what: "a relative URL in the challenge", serve: { [serverUrl]: challenging('Bearer resource_metadata="/meta"'), [resource]: 404 } },
    [
      "invalid_resource_metadata",
      "server",
      "The protected resource metadata is not valid: its challenge names /meta, which is relative (server https://mcp.example/mcp).",
      `Tell the operator of the server, about \`resource_metadata\` in its challenge: it must be an absolute URL.`,
    ],
  ],
  [
    {
      what: "a plain http URL in the challenge",
      serve: { [serverUrl]: challenging('Bearer resource_metadata="http://mcp.example/meta"'), [resource]: 404 },
    },
    [
      "invalid_resource_metadata",
      "server",
      "The protected resource metadata is not valid: its challenge names http://mcp.example/meta, plain http (server https://mcp.example/mcp).",
      `Tell the operator of the server, about \`resource_metadata\` in its challenge: it must be an https URL. For development, name its host in \`allowInsecure\`.`,
    ],
  ],
  [
    { what: "a dead URL in the challenge", serve: { [serverUrl]: challenging(`Bearer resource_metadata="${resource}"`), [resource]: 404 } },
    [
      "invalid_resource_metadata",
      "server",
      "The protected resource metadata is not valid: its challenge names https://mcp.example/.well-known/oauth-protected-resource/mcp (server https://mcp.example/mcp, status 404).",
      `Tell the operator of the server, about \`resource_metadata\` in its challenge: there must be a valid document.`,
    ],
  ],
  [
    {
      what: "metadata of another resource",
      serve: { [resource]: { resource: "https://other.example/mcp", authorization_servers: [issuer] } },
    },
    [
      "resource_mismatch",
      "server",
      'The protected resource metadata belongs to another server: https://mcp.example/.well-known/oauth-protected-resource/mcp is about "https://other.example/mcp" (server https://mcp.example/mcp).',
      "Check the server's URL; if it is right, do not log in.",
    ],
  ],
  [
    {
      what: "an authorization server of plain http",
      serve: { [resource]: { resource: serverUrl, authorization_servers: ["http://as.example"] } },
    },
    [
      "insecure_url",
      "server",
      "A URL uses plain http to another machine: http://as.example/ (server https://mcp.example/mcp, authorization server http://as.example).",
      `Tell the operator of the server: it must name its authorization server by an https URL. For development, name the host in \`allowInsecure\`.`,
    ],
  ],
  [
    {
      what: "an authorization server that is no URL",
      serve: { [resource]: { resource: serverUrl, authorization_servers: ["as.example"] } },
    },
    [
      "invalid_url",
      "server",
      "A URL is not valid: it must begin with https:// (server https://mcp.example/mcp, authorization server as.example).",
      `Tell the operator of the server: it must name its authorization server by an https URL. For development, name the host in \`allowInsecure\`.`,
    ],
  ],
  [
    { what: "nothing is published, and nobody registered", serve: { [resource]: 404 } },
    [
      "discovery_failed",
      "server",
      "No usable metadata of an authorization server was found: the server publishes none, and https://mcp.example/register, the default, registers no clients (server https://mcp.example/mcp, status 404).",
      `If the server takes API keys or tokens of another kind, use a credential for these. If its logins are elsewhere, pass \`issuer\`.`,
    ],
  ],
  // registration
  [
    { what: "redirect URIs are refused", serve: { [registration]: json({ error: "invalid_redirect_uri" }, 400) } },
    [
      "registration_refused",
      "authorization-server",
      `The authorization server did not register this client: the redirect URIs were http://127.0.0.1:4711/callback ${at.slice(0, -1)}, status 400, error invalid_redirect_uri).`,
      `Set \`redirectHost\` or \`redirectUris\` to what the server accepts. Or: register a client there by hand and pass its \`clientId\`.`,
    ],
  ],
  [
    {
      what: "scopes are refused",
      serve: { [registration]: json({ error: "invalid_client_metadata", error_description: "unknown scope" }, 400) },
    },
    [
      "registration_refused",
      "authorization-server",
      `The authorization server did not register this client: the scopes were a ${at.slice(0, -1)}, status 400, error invalid_client_metadata, "unknown scope").`,
      `Set \`scopes\` to those that the server knows. Or: register a client there by hand and pass its \`clientId\`.`,
    ],
  ],
  [
    { what: "registration is not open", serve: { [registration]: json({ error: "invalid_token" }, 401) } },
    [
      "registration_refused",
      "authorization-server",
      `The authorization server did not register this client ${at.slice(0, -1)}, status 401, error invalid_token).`,
      `Registration is not open to everybody there: register a client there by hand and pass its \`clientId\`.`,
    ],
  ],
  [
    { what: "no registration", serve: { [metadata]: { ...asMetadata, registration_endpoint: undefined } } },
    [
      "registration_unsupported",
      "authorization-server",
      `The authorization server offers no client registration ${at}.`,
      `Register a client there by hand and pass its \`clientId\`.`,
    ],
  ],
  [
    { what: "the client belongs to another authorization server", options: { clientId: "client", issuer: "https://former.example" } },
    [
      "client_issuer_mismatch",
      "server",
      `The client belongs to another authorization server: client belongs to https://former.example ${at}.`,
      `Register a client there by hand and pass its \`clientId\`.`,
    ],
  ],
  [
    {
      what: "the client is not accepted",
      tokens: [json({ error: "invalid_client" }, 401)],
      options: { clientId: "client", clientSecret: "a-long-secret" },
    },
    [
      "invalid_client",
      "authorization-server",
      `The authorization server does not accept this client ${at.slice(0, -1)}, status 401, error invalid_client).`,
      "Check client ID and secret or key, or register again.",
    ],
  ],
  // login
  [
    { what: "the user says no", options: { loginHandler: stubUser("deny") } },
    ["authorization_denied", "user", `The login was denied ${at.slice(0, -1)}, error access_denied).`, "Log in again and allow access."],
  ],
  [
    { what: "the login is refused", options: { loginHandler: answering({ error: "server_error", error_description: "No such tenant" }) } },
    [
      "authorization_error",
      "authorization-server",
      `The authorization server refused the login ${at.slice(0, -1)}, error server_error, "No such tenant").`,
      "Ask an administrator to allow this client.",
    ],
  ],
  [
    { what: "a scope is refused", options: { loginHandler: answering({ error: "invalid_scope" }) } },
    [
      "authorization_error",
      "authorization-server",
      `The authorization server refused the login ${at.slice(0, -1)}, error invalid_scope).`,
      `Name the scopes that are missing in \`scopes\`. Where one that was asked for is refused, name all others in \`authorizationParameters: { scope }\`.`,
    ],
  ],
  [
    { what: "the resource is refused", options: { loginHandler: answering({ error: "invalid_target" }) } },
    [
      "authorization_error",
      "authorization-server",
      `The authorization server refused the login ${at.slice(0, -1)}, error invalid_target).`,
      `Where the server does not take the \`resource\` parameter, set \`resourceParameter: false\`; tokens are not bound to this server then. Else ask its operator to allow this resource.`,
    ],
  ],
  [
    {
      what: "an answer of another issuer",
      options: { loginHandler: answering({ code: "the-authorization-code", iss: "https://other.example" }) },
    },
    [
      "issuer_mismatch",
      "authorization-server",
      `The response comes from another authorization server: \`iss\` is "https://other.example" ${at}.`,
      `Do not log in there. If it is the right server, its operator must send the \`issuer\` of its metadata; \`issuerAlias\` accepts one other name.`,
    ],
  ],
  [
    { what: "an answer with neither code nor error", options: { loginHandler: answering({}) } },
    [
      "invalid_authorization_response",
      "authorization-server",
      `The authorization response is not valid: it has neither \`code\` nor \`error\` ${at}.`,
      "Log in again.",
    ],
  ],
  // tokens
  [
    { what: "the code is not accepted", tokens: [json({ error: "invalid_grant" }, 400)] },
    [
      "invalid_grant",
      "authorization-server",
      `The authorization server no longer accepts this login ${at.slice(0, -1)}, status 400, error invalid_grant).`,
      "Log in again.",
    ],
  ],
  [
    { what: "the code is refused otherwise", tokens: [json({ error: "invalid_request", error_description: "no" }, 400)] },
    [
      "token_request_refused",
      "authorization-server",
      `The authorization server refused the token request ${at.slice(0, -1)}, status 400, error invalid_request, "no").`,
      "Log in again; for a program, check what it asks for.",
    ],
  ],
  [
    { what: "the resource is refused with the code", tokens: [json({ error: "invalid_target" }, 400)] },
    [
      "token_request_refused",
      "authorization-server",
      `The authorization server refused the token request ${at.slice(0, -1)}, status 400, error invalid_target).`,
      `Where the server does not take the \`resource\` parameter, set \`resourceParameter: false\`; tokens are not bound to this server then. Else ask its operator to allow this resource.`,
    ],
  ],
  [
    { what: "no access token", tokens: [json({ token_type: "Bearer" })] },
    [
      "invalid_token_response",
      "authorization-server",
      `The token response cannot be used: \`access_token\` is missing or not usable ${at.slice(0, -1)}, status 200).`,
      "Tell the operator of the server.",
    ],
  ],
  [
    { what: "a token of another type", tokens: [json({ ...first, token_type: "mac" })] },
    [
      "invalid_token_response",
      "authorization-server",
      `The token response cannot be used: \`token_type\` is not Bearer ${at.slice(0, -1)}, status 200).`,
      "Tell the operator of the server.",
    ],
  ],
  [
    { what: "the server refuses a new token", way: "first", serve: { [serverUrl]: refusing(401, 'Bearer error="invalid_token"') } },
    [
      "token_refused",
      "server",
      `The server refuses a token that was just issued ${at.slice(0, -1)}, status 401).`,
      "Tell the operator of the server.",
    ],
  ],
  [
    { what: "it wants more scopes", way: "call", serve: { [serverUrl]: refusing(403, 'Bearer error="insufficient_scope", scope="b"') } },
    ["insufficient_scope", "server", `The operation needs more scopes: b ${at}.`, "Log in again and allow them."],
  ],
  [
    {
      what: "it wants a stronger login",
      way: "call",
      serve: { [serverUrl]: refusing(401, 'Bearer error="insufficient_user_authentication", acr_values="mfa"') },
    },
    [
      "authentication_insufficient",
      "server",
      `The server wants a newer or stronger login: authentication context mfa ${at.slice(0, -1)}, status 401).`,
      "Log in again, as a user.",
    ],
  ],
  [
    { what: "a login page", way: "call", serve: { [serverUrl]: text("<html>", { type: "text/html" }) } },
    [
      "not_an_mcp_response",
      "server",
      "What answers is no MCP server: an HTML page of https://mcp.example (server https://mcp.example/mcp, status 200).",
      "Check the server's URL; if it is right, a proxy before it wants a login of its own.",
    ],
  ],
  [
    { what: "an answer without end", tokens: [text(`{"filler":"${"x".repeat(1_100_000)}"}`)] },
    [
      "response_too_large",
      "authorization-server",
      `The response is too large: ${tokenEndpoint}, more than 1048576 bytes (server ${serverUrl}, status 200).`,
      "Tell the operator of the server.",
    ],
  ],
  [
    { what: "the login is over", way: "expiry", tokens: [json({ error: "invalid_grant" }, 400)] },
    [
      "login_required",
      "user",
      `A login is needed: nobody can be asked here: neither terminal nor display, or \`CI\` or \`interactive: false\` (server https://mcp.example/mcp).`,
      "Log in once where this user has a browser or a terminal; a program without a user needs credentials of its own.",
    ],
  ],
  [
    { what: "the refresh is refused otherwise", way: "expiry", tokens: [json({ error: "bad_refresh_token" }, 400)] },
    [
      "login_required",
      "user",
      `A login is needed: nobody can be asked here: neither terminal nor display, or \`CI\` or \`interactive: false\` ${at}.`,
      "Log in once where this user has a browser or a terminal; a program without a user needs credentials of its own.",
    ],
  ],
  [
    { what: "every refresh fails", way: "expiry", tokens: [text("<html>", { status: 500, type: "text/html" })] },
    [
      "server_error",
      "authorization-server",
      `The server failed ${at.slice(0, -1)}, status 500).`,
      `Try again later; if it lasts, log in again: call \`authorize()\` where there is a user.`,
    ],
  ],
  // programs
  [
    {
      what: "a program's secret is wrong",
      way: "program",
      serve: { [metadata]: withBasic },
      tokens: [json({ error: "invalid_client" }, 401)],
    },
    [
      "invalid_client",
      "authorization-server",
      `The authorization server does not accept this client ${at.slice(0, -1)}, status 401, error invalid_client).`,
      "Check client ID and secret or key, or register again.",
    ],
  ],
  [
    {
      what: "no client credentials there",
      way: "program",
      serve: { [metadata]: withBasic },
      tokens: [json({ error: "unsupported_grant_type" }, 400)],
    },
    [
      "token_request_refused",
      "authorization-server",
      `The authorization server refused the token request ${at.slice(0, -1)}, status 400, error unsupported_grant_type).`,
      "Log in again; for a program, check what it asks for.",
    ],
  ],
  [
    { what: "no such grant there", way: "program", serve: { [metadata]: { ...withBasic, grant_types_supported: ["authorization_code"] } } },
    [
      "grant_unsupported",
      "authorization-server",
      `The authorization server does not offer this grant: client_credentials ${at}.`,
      "Ask its operator for it, or use another.",
    ],
  ],
  [
    { what: "a program is not needed", way: "program", serve: { [serverUrl]: json({ jsonrpc: "2.0" }), [resource]: 404 } },
    ["token_not_required", "server", "The server wants no token (server https://mcp.example/mcp).", "Send requests without one."],
  ],
];

test.each(rows)("$what", async (row, read) => {
  const { way = "login", serve, tokens } = row;
  const servers = protectedWorld(net);
  if (tokens && way !== "expiry") servers.answerTokens(...tokens);
  if (serve && way !== "call") net.serve(serve);
  const { code, party, message, hint } = await ways[way](row);
  expect([code, party, message, hint]).toEqual(read);
});

/** Of apps, users and machines; or told in a table of their own. */
const others = [
  "invalid_option",
  "body_not_replayable",
  "disposed",
  "unsupported_runtime",
  "login_pending",
  "login_timeout",
  "redirect_port_in_use",
  "browser_failed",
  "state_mismatch",
  "invalid_assertion",
  "assertion_unavailable",
  "credential_unavailable",
  "clock_skewed",
  "credential_expired",
  "credential_refused",
  "invalid_environment",
  "lock_timeout",
  "lock_lost",
  "store_failed",
  "store_denied",
  "store_unusable",
  "lock_unsupported",
  "store_damaged",
  "keychain_unavailable",
  "keychain_locked",
  "keychain_refused",
  "keychain_timeout",
  "invalid_record",
];

test("every code is here, or is no server's", async () => {
  const source = readFileSync(join(import.meta.dirname, "../../src/errors.ts"), "utf8");
  const codes = [...source.matchAll(/^ {2}([a-z_]+): \[/gm)].map(([, code]) => code);
  expect([...new Set(rows.map(([, [code]]) => code)), ...others].sort()).toEqual(codes.sort());
});
