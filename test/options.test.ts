/** Options of the neutral entries: what cannot be is refused where it is passed, named, and not shown. */
import { expect, test } from "vitest";
import type { AuthorizationRequest } from "../src/authorization/request.ts";
import type { MachineClient } from "../src/client-auth/machine-client.ts";
import type { CodeExchange } from "../src/grants/authorization-code.ts";
import * as grants from "../src/grants/index.ts";
import * as main from "../src/index.ts";
import * as machine from "../src/machine/index.ts";
import { authProvider as authProviderV1 } from "../src/transports/sdk/v1.ts";
import { type AuthProviderOptions, authProvider as authProviderV2 } from "../src/transports/sdk/v2.ts";
import { describeOptions, endOf, refusal } from "./option-table.ts";

const serverUrl = "https://mcp.example/mcp";
const issuer = "https://as.example";
const server = { issuer, authorization_endpoint: `${issuer}/authorize`, token_endpoint: `${issuer}/token`, registration_endpoint: issuer };
const client = { clientId: "reports", tokenEndpointAuthMethod: "none" } as const;
/** Reaches no server: whoever gets this far has passed the door. */
const offline = async () => {
  throw new Error("passed the door");
};
const http = { fetch: offline, checkUrl: (url: string | URL) => new URL(url) };
const request = { server, client, http };
const user = new main.TokenManager({ serverUrl, fetch: offline });
const programOptions = { serverUrl, clientId: "reports", clientSecret: "s", fetch: offline };
const program = new machine.MachineTokenManager(programOptions);
const pending = { state: "s", codeVerifier: "v", issuer, issParameterSupported: true, redirectUri: "http://127.0.0.1/" };

const text = ["", 1, null, {}] as const;
const flag = ["true", 0, null] as const;
const callback = ["x", {}, null] as const;
const texts = ["a", [1], [""], {}] as const;
const textsByName = ["a=b", [], { a: 1 }, null] as const;
const scopes = ["read write", ["read write"], [""], ["é"], [1]] as const;
const counts = [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, "16"] as const;
const timeouts = [0, -1, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 31, "1000"] as const;
const clock = [Date, { now: Date.now }, null] as const;
const signal = [{ aborted: false }, 1, new AbortController()] as const;
const https = [fetch, { fetch }, null] as const;
const metadata = [issuer, {}, { issuer: "" }, null] as const;
const challenges = ["Bearer", new Response(null, { status: 401 })] as const;
const tokenRequest = {
  server: metadata,
  client: ["reports", {}, { clientID: "reports" }, { clientId: "reports", tokenEndpointAuthMethod: "basic" }],
  authentication: callback,
  http: https,
  clock,
  signal,
} as const;
const asked = { scopes, resource: text, parameters: textsByName } as const;
const session = {
  serverUrl: ["", 1, null, {}],
  account: text,
  store: ["file", {}, { get() {}, set() {} }],
  keepFresh: flag,
  strictIssuer: flag,
  issuerAlias: [
    "https://a",
    {},
    { expected: "a" },
    { expected: "a", found: "" },
    { expected: "a", found: "a" },
    { expected: "a", found: "b", x: 1 },
  ],
  resourceParameter: flag,
  fetch: callback,
  requestTimeout: timeouts,
  maxTokenRequests: counts,
  allowInsecure: texts,
  onEvent: callback,
  clock,
  waitUntil: callback,
  isEnding: callback,
} as const;
const machineClient = {
  clientId: text,
  clientSecret: ["", 1, {}],
  privateKey: ["", 1, [], null],
  signingAlgorithm: text,
  keyId: text,
  clientAssertionAudience: text,
  tokenEndpointAuthMethod: ["basic", 1],
} as const;

const userLogin = {
  ...session,
  loginHandler: [() => {}, {}],
  onDeviceCode: callback,
  interactive: flag,
  loginTimeout: timeouts,
  loginPendingTimeout: timeouts,
  clientName: text,
  clientMetadata: ["{}", [], null],
  clientId: text,
  clientSecret: text,
  privateKey: machineClient.privateKey,
  keyId: text,
  tokenEndpointAuthMethod: ["private_key_jwt", "basic", 1],
  clientMetadataUrl: text,
  redirectUris: texts,
  scopes,
  issuer: text,
  authorizationEndpoint: text,
  tokenEndpoint: text,
  metadataUrl: text,
  assumePkce: texts,
  chooseAuthorizationServer: callback,
  speculate: flag,
  authorizationParameters: textsByName,
  redirectHost: ["::1", 1],
  refreshScope: flag,
  bearer: ["cookie", 1],
} as const;

describeOptions<main.TokenManagerOptions>({
  name: "TokenManager",
  call: (options) => new main.TokenManager(options),
  needed: { serverUrl },
  bad: userLogin,
});
const { account, ...userLogins } = userLogin;
describeOptions<main.TokenManagersOptions>({
  name: "TokenManagers",
  call: (options) => new main.TokenManagers(options),
  needed: { serverUrl },
  bad: userLogins,
});
test.each([...account, "a/b", undefined])("`forAccount(%j)` is refused", async (wrong) => {
  const error = await endOf(() => new main.TokenManagers({ serverUrl, fetch: offline }).forAccount(wrong as never));
  expect(error).toMatchObject({ code: "invalid_option", message: expect.stringContaining("`account`") });
});
describeOptions<main.AuditTrailOptions>({
  name: "auditTrail",
  call: (options) => main.auditTrail(options),
  needed: { write: () => {} },
  bad: { account: text, write: callback, clock },
});
describeOptions<NonNullable<Parameters<main.TokenManager["authorize"]>[0]>>({
  name: "TokenManager.authorize",
  call: (options) => user.authorize(options),
  needed: {},
  bad: { scopes, signal },
});
describeOptions<{ signal?: AbortSignal | undefined }>({
  name: "TokenManager.getAccessToken",
  call: (options) => user.getAccessToken(options),
  needed: {},
  bad: { signal },
});
describeOptions<main.GivenTokens>({
  name: "TokenManager.setTokens",
  call: (options) => user.setTokens(options),
  needed: { accessToken: "a" },
  bad: {
    accessToken: text,
    refreshToken: text,
    idToken: text,
    expiresIn: [-1, Number.NaN, "3600"],
    scopes,
    issuer: text,
    clientId: text,
    clientSecret: text,
    resource: text,
  },
});
describeOptions<machine.MachineTokenManagerOptions>({
  name: "MachineTokenManager",
  call: (options) => new machine.MachineTokenManager(options),
  needed: { serverUrl },
  bad: {
    ...session,
    ...machineClient,
    clientSecret: [1, {}],
    issuer: text,
    tokenEndpoint: text,
    resource: text,
    scopes,
    tokenParameters: textsByName,
    assertion: ["eyJ9.e30.c", {}],
  },
});
describeOptions<{ signal?: AbortSignal | undefined }>({
  name: "MachineTokenManager.authorize",
  call: (options) => program.authorize(options),
  needed: {},
  bad: { signal },
});
describeOptions<{ signal?: AbortSignal | undefined }>({
  name: "MachineTokenManager.getAccessToken",
  call: (options) => program.getAccessToken(options),
  needed: {},
  bad: { signal },
});
describeOptions<machine.EnterpriseManagedOptions>({
  name: "enterpriseManaged",
  call: (options) => machine.enterpriseManaged(options),
  needed: { clientId: "reports", subjectToken: "t" },
  bad: {
    ...machineClient,
    issuer: text,
    tokenEndpoint: text,
    subjectToken: [1, {}],
    subjectTokenType: ["access_token", 1],
    onRefreshToken: callback,
    scopes,
    parameters: textsByName,
    identity: text,
  },
});
describeOptions<main.HttpOptions>({
  name: "createHttp",
  call: (options) => main.createHttp(options),
  needed: {},
  bad: { fetch: callback, allowInsecure: texts, requestTimeout: timeouts, maxBytes: [0, 1.5, "1 MB", Number.NaN], clock },
});
describeOptions<main.AuthFetchOptions>({
  name: "authFetch",
  call: (options) => main.authFetch(program, serverUrl, options),
  needed: {},
  bad: { fetch: callback },
});
describeOptions<main.DiscoverProtectedResourceOptions>({
  name: "discoverProtectedResource",
  call: (options) => main.discoverProtectedResource(serverUrl, options),
  needed: {},
  beside: { http },
  bad: { http: https, clock, challenge: challenges, onEvent: callback, signal },
});
describeOptions<main.DiscoverAuthorizationServerOptions>({
  name: "discoverAuthorizationServer",
  call: (options) => main.discoverAuthorizationServer(issuer, options),
  needed: {},
  beside: { http },
  bad: { http: https, clock, onEvent: callback, strictIssuer: flag, signal },
});
describeOptions<main.RegisterClientOptions>({
  name: "registerClient",
  call: (options) => main.registerClient(options),
  needed: { server, redirectUris: ["http://127.0.0.1/"] },
  beside: { http },
  bad: {
    server: metadata,
    redirectUris: texts,
    grantTypes: texts,
    clientName: text,
    clientMetadata: ["{}", [], null],
    scopes,
    http: https,
    clock,
    onEvent: callback,
    signal,
  },
});
describeOptions<AuthorizationRequest>({
  name: "buildAuthorizationUrl",
  call: (options) => main.buildAuthorizationUrl(options),
  needed: { server, clientId: "c", redirectUri: "http://127.0.0.1/", state: "s", codeChallenge: "c" },
  bad: { server: metadata, clientId: text, redirectUri: text, state: text, codeChallenge: text, ...asked },
});
describeOptions<CodeExchange>({
  name: "exchangeCode",
  call: (options) => main.exchangeCode(options),
  needed: { ...request, code: "c", codeVerifier: "v", redirectUri: "http://127.0.0.1/" },
  bad: { ...tokenRequest, code: text, codeVerifier: text, redirectUri: text, resource: text },
});
describeOptions<grants.ClientCredentialsGrant>({
  name: "requestClientToken",
  call: (options) => grants.requestClientToken(options),
  needed: request,
  bad: { ...tokenRequest, ...asked },
});
describeOptions<grants.JwtBearerGrant>({
  name: "exchangeAssertion",
  call: (options) => grants.exchangeAssertion(options),
  needed: { ...request, assertion: "a" },
  bad: { ...tokenRequest, ...asked, assertion: text },
});
describeOptions<grants.RefreshGrant>({
  name: "refreshTokens",
  call: (options) => grants.refreshTokens(options),
  needed: { ...request, refreshToken: "r" },
  bad: { ...tokenRequest, refreshToken: text, resource: text, scopes },
});
describeOptions<grants.DeviceCodeRequest>({
  name: "requestDeviceCode",
  call: (options) => grants.requestDeviceCode(options),
  needed: request,
  bad: { ...tokenRequest, ...asked },
});
describeOptions<grants.DeviceCodePoll>({
  name: "pollDeviceCode",
  call: (options) => grants.pollDeviceCode(options),
  needed: { ...request, code: { deviceCode: "d", userCode: "u", verificationUri: issuer, expiresAt: 0, intervalMs: 1 } },
  bad: { ...tokenRequest, code: ["d", {}, { deviceCode: "d", expiresAt: "soon", intervalMs: 1 }], resource: text },
});
describeOptions<grants.TokenExchange>({
  name: "exchangeToken",
  call: (options) => grants.exchangeToken(options),
  needed: { ...request, subjectToken: "t", subjectTokenType: grants.tokenTypes.accessToken },
  bad: {
    ...tokenRequest,
    ...asked,
    subjectToken: text,
    subjectTokenType: text,
    actorToken: text,
    actorTokenType: text,
    requestedTokenType: text,
    audience: text,
  },
});
describeOptions<grants.TokenRequestOptions>({
  name: "revokeToken",
  call: (options) => grants.revokeToken("t", "access_token", options),
  needed: request,
  bad: tokenRequest,
});
describeOptions<MachineClient>({
  name: "machineAuthentication",
  call: (options) => grants.machineAuthentication(options, server),
  needed: {},
  bad: machineClient,
});
describeOptions<MachineClient>({
  name: "selectEndpoints",
  call: (options) => grants.selectEndpoints(options, server),
  needed: {},
  bad: machineClient,
});
describeOptions<AuthProviderOptions>({
  name: "authProvider of sdk-v1",
  call: (options) => authProviderV1(program, options),
  needed: {},
  bad: { clock },
});
describeOptions<AuthProviderOptions>({
  name: "authProvider of sdk-v2",
  call: (options) => authProviderV2(program, options),
  needed: {},
  bad: { clock },
});

test.each(["clientMetadata", "clientMetadataUrl"])("`%s` has no effect beside `clientId`", (name) => {
  const value = name === "clientMetadata" ? {} : "https://app.example/client.json";
  expect(() => new main.TokenManager({ serverUrl, clientId: "c", [name]: value })).toThrow(
    expect.objectContaining(refusal(`\`${name}\` has no effect beside \`clientId\``)),
  );
});

test.each<[rule: string, call: () => unknown, code: string, detail: string]>([
  ["authFetch needs a credential", () => main.authFetch({} as never, serverUrl), "invalid_option", "`credential` must be"],
  ["authFetch needs a server", () => main.authFetch(program, undefined as never), "invalid_option", "`serverUrl` is missing"],
  ["authFetch takes a URL", () => main.authFetch(program, "mcp.example"), "invalid_url", "https://"],
  ["a protected server", () => main.discoverProtectedResource(undefined as never), "invalid_option", "`serverUrl` is missing"],
  ["an issuer is a text", () => main.discoverAuthorizationServer(new URL(issuer) as never), "invalid_option", "`issuer` must be"],
  ["a token to revoke", () => grants.revokeToken("", "access_token", request), "invalid_option", "`token` must be"],
  ["its kind", () => grants.revokeToken("t", "id_token" as never, request), "invalid_option", "`hint` must be"],
  ["metadata to authenticate at", () => grants.machineAuthentication({}, {} as never), "invalid_option", "`server` must be"],
  ["a clock for assertions", () => grants.machineAuthentication({}, server, Date as never), "invalid_option", "`clock` must be"],
  ["metadata to choose endpoints from", () => grants.selectEndpoints({}, {} as never), "invalid_option", "`server` must be"],
  ["v1 needs a manager", () => authProviderV1({} as never), "invalid_option", "`auth` must be"],
  ["v2 needs a manager", () => authProviderV2(undefined as never), "invalid_option", "`auth` is missing"],
  ["a header is a text", () => main.parseChallenges(new Headers() as never), "invalid_option", "`header` must be"],
  ["a challenge is a response's", () => main.readChallenge({ status: 401 } as never), "invalid_option", "`response` must be"],
  ["which is there", () => main.readChallenge(undefined as never), "invalid_option", "`response` is missing"],
  ["metadata to look for PKCE in", () => main.requirePkce({} as never), "invalid_option", "`server` must be"],
  ["a verifier", () => main.generateCodeChallenge(""), "invalid_option", "`codeVerifier` must be"],
  [
    "a response is a query",
    () => main.checkAuthorizationResponse({ code: "c" } as never, pending),
    "invalid_option",
    "`parameters` must be",
  ],
  [
    "no response is ours without a state",
    () => main.checkAuthorizationResponse(new URLSearchParams({ code: "c", iss: issuer }), { ...pending, state: undefined as never }),
    "invalid_option",
    "`state` is missing",
  ],
  [
    "nor with an empty one",
    () => main.checkAuthorizationResponse(new URLSearchParams({ code: "c", state: "", iss: issuer }), { ...pending, state: "" }),
    "invalid_option",
    "`state` must be",
  ],
])("%s", async (_rule, call, code, detail) => {
  expect(await endOf(call)).toMatchObject({ code, message: expect.stringContaining(detail) });
});
