/** Options of the neutral entries: what cannot be is refused where it is passed, named, and not shown. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { AuthorizationRequest } from "../src/authorization/request.ts";
import type { MachineClient } from "../src/client-auth/machine-client.ts";
import { McpAuthError } from "../src/errors.ts";
import type { CodeExchange } from "../src/grants/authorization-code.ts";
import * as grants from "../src/grants/index.ts";
import * as main from "../src/index.ts";
import * as machine from "../src/machine/index.ts";
import { authProvider as authProviderV1 } from "../src/transports/sdk/v1.ts";
import { type AuthProviderOptions, authProvider as authProviderV2 } from "../src/transports/sdk/v2.ts";

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

type Needed<Options> = { [Name in keyof Options as object extends Pick<Options, Name> ? never : Name]: unknown };
type Bad = readonly [unknown, ...unknown[]];

/** An entry, the options that it needs, and for every option values that it refuses: one that is forgotten does not compile. */
interface Door<Options> {
  call: (options: Options) => unknown;
  needed: Needed<Options>;
  bad: { readonly [Name in keyof Options]-?: Bad };
}
interface AnyDoor {
  name: string;
  call: (options: never) => unknown;
  needed: Readonly<Record<string, unknown>>;
  bad: Readonly<Record<string, Bad>>;
}
const doors: AnyDoor[] = [];
function door<Options>(name: string, { call, needed, bad }: Door<Options>): void {
  doors.push({ name, call: call as AnyDoor["call"], needed: needed as AnyDoor["needed"], bad: bad as AnyDoor["bad"] });
}

const text = ["", 1, null, {}] as const;
const flag = ["true", 0, null] as const;
const callback = ["x", {}, null] as const;
const texts = ["a", [1], [""], {}] as const;
const textsByName = ["a=b", [], { a: 1 }, null] as const;
const scopes = ["read write", ["read write"], [""], ["é"], [1]] as const;
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
  resourceParameter: flag,
  fetch: callback,
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

door<main.TokenManagerOptions>("TokenManager", {
  call: (options) => new main.TokenManager(options),
  needed: { serverUrl },
  bad: {
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
    tokenEndpointAuthMethod: ["private_key_jwt", "basic", 1],
    clientMetadataUrl: text,
    redirectUris: texts,
    scopes,
    issuer: text,
    chooseAuthorizationServer: callback,
    speculate: flag,
    authorizationParameters: textsByName,
    redirectHost: ["::1", 1],
    refreshScope: flag,
    bearer: ["cookie", 1],
  },
});
door<NonNullable<Parameters<main.TokenManager["authorize"]>[0]>>("TokenManager.authorize", {
  call: (options) => user.authorize(options),
  needed: {},
  bad: { scopes, signal },
});
door<{ signal?: AbortSignal | undefined }>("TokenManager.getAccessToken", {
  call: (options) => user.getAccessToken(options),
  needed: {},
  bad: { signal },
});
door<main.GivenTokens>("TokenManager.setTokens", {
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
door<machine.MachineTokenManagerOptions>("MachineTokenManager", {
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
door<{ signal?: AbortSignal | undefined }>("MachineTokenManager.authorize", {
  call: (options) => program.authorize(options),
  needed: {},
  bad: { signal },
});
door<{ signal?: AbortSignal | undefined }>("MachineTokenManager.getAccessToken", {
  call: (options) => program.getAccessToken(options),
  needed: {},
  bad: { signal },
});
door<machine.EnterpriseManagedOptions>("enterpriseManaged", {
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
door<main.HttpOptions>("createHttp", {
  call: (options) => main.createHttp(options),
  needed: {},
  bad: { fetch: callback, allowInsecure: texts, requestTimeout: timeouts, maxBytes: [0, 1.5, "1 MB", Number.NaN], clock },
});
door<main.AuthFetchOptions>("authFetch", {
  call: (options) => main.authFetch(program, serverUrl, options),
  needed: {},
  bad: { fetch: callback },
});
door<main.DiscoverProtectedResourceOptions>("discoverProtectedResource", {
  call: (options) => main.discoverProtectedResource(serverUrl, options),
  needed: {},
  bad: { http: https, clock, challenge: challenges, signal },
});
door<main.DiscoverAuthorizationServerOptions>("discoverAuthorizationServer", {
  call: (options) => main.discoverAuthorizationServer(issuer, options),
  needed: {},
  bad: { http: https, clock, onEvent: callback, strictIssuer: flag, signal },
});
door<main.RegisterClientOptions>("registerClient", {
  call: (options) => main.registerClient(options),
  needed: { server, redirectUris: ["http://127.0.0.1/"] },
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
door<AuthorizationRequest>("buildAuthorizationUrl", {
  call: (options) => main.buildAuthorizationUrl(options),
  needed: { server, clientId: "c", redirectUri: "http://127.0.0.1/", state: "s", codeChallenge: "c" },
  bad: { server: metadata, clientId: text, redirectUri: text, state: text, codeChallenge: text, ...asked },
});
door<CodeExchange>("exchangeCode", {
  call: (options) => main.exchangeCode(options),
  needed: { ...request, code: "c", codeVerifier: "v", redirectUri: "http://127.0.0.1/" },
  bad: { ...tokenRequest, code: text, codeVerifier: text, redirectUri: text, resource: text },
});
door<grants.ClientCredentialsGrant>("requestClientToken", {
  call: (options) => grants.requestClientToken(options),
  needed: request,
  bad: { ...tokenRequest, ...asked },
});
door<grants.JwtBearerGrant>("exchangeAssertion", {
  call: (options) => grants.exchangeAssertion(options),
  needed: { ...request, assertion: "a" },
  bad: { ...tokenRequest, ...asked, assertion: text },
});
door<grants.RefreshGrant>("refreshTokens", {
  call: (options) => grants.refreshTokens(options),
  needed: { ...request, refreshToken: "r" },
  bad: { ...tokenRequest, refreshToken: text, resource: text, scopes },
});
door<grants.DeviceCodeRequest>("requestDeviceCode", {
  call: (options) => grants.requestDeviceCode(options),
  needed: request,
  bad: { ...tokenRequest, ...asked },
});
door<grants.DeviceCodePoll>("pollDeviceCode", {
  call: (options) => grants.pollDeviceCode(options),
  needed: { ...request, code: { deviceCode: "d", userCode: "u", verificationUri: issuer, expiresAt: 0, intervalMs: 1 } },
  bad: { ...tokenRequest, code: ["d", {}, { deviceCode: "d", expiresAt: "soon", intervalMs: 1 }], resource: text },
});
door<grants.TokenExchange>("exchangeToken", {
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
door<grants.TokenRequestOptions>("revokeToken", {
  call: (options) => grants.revokeToken("t", "access_token", options),
  needed: request,
  bad: tokenRequest,
});
door<MachineClient>("machineAuthentication", {
  call: (options) => grants.machineAuthentication(options, server),
  needed: {},
  bad: machineClient,
});
door<MachineClient>("selectEndpoints", {
  call: (options) => grants.selectEndpoints(options, server),
  needed: {},
  bad: machineClient,
});
door<AuthProviderOptions>("authProvider of sdk-v1", {
  call: (options) => authProviderV1(program, options),
  needed: {},
  bad: { clock },
});
door<AuthProviderOptions>("authProvider of sdk-v2", {
  call: (options) => authProviderV2(program, options),
  needed: {},
  bad: { clock },
});

/** What a call ends with, thrown or rejected; `undefined` when it succeeds. */
async function endOf(call: () => unknown): Promise<unknown> {
  try {
    await call();
  } catch (error) {
    return error;
  }
  return undefined;
}
/** Passes options on, beside those that are needed, and without reaching a server. */
const pass = ({ call, needed, bad }: AnyDoor, options: object) =>
  endOf(() => call({ ...(bad.http && { http }), ...needed, ...options } as never));
const shown = (value: unknown) => (typeof value === "function" ? "a function" : (JSON.stringify(value) ?? String(value)).slice(0, 60));
const refusal = (detail: string) => ({ code: "invalid_option", message: expect.stringContaining(detail) });

describe.each(doors)("$name", (entry) => {
  const { bad, call, needed } = entry;
  const values = Object.entries(bad).flatMap(([name, them]) => them.map((value) => [name, shown(value), value] as const));

  test.each(values)("`%s`: %s", async (name, _shown, value) => {
    expect(await pass(entry, { [name]: value })).toMatchObject(refusal(`\`${name}\` must be `));
  });

  test.each(Object.keys(bad))("`%s` in capitals is not an option, and it is named", async (name) => {
    const wrong = name.toUpperCase();
    expect(await pass(entry, { [wrong]: "x" })).toMatchObject(refusal(`\`${wrong}\` is not an option; \`${name}\` is one`));
  });

  test.each(Object.keys(needed))("without `%s`", async (name) => {
    expect(await pass(entry, { [name]: undefined })).toMatchObject(refusal(`\`${name}\` is missing`));
  });

  test("`undefined` counts as absent", async () => {
    const absent = Object.keys(bad).filter((name) => !(name in needed) && name !== "http");
    const error = await pass(entry, Object.fromEntries(absent.map((name) => [name, undefined])));
    expect(String(error)).not.toMatch(/must be|is not an option/);
  });

  test.each([["text"], [null], [1], [[]]])("%j instead of options", async (options) => {
    expect(await endOf(() => call(options as never))).toMatchObject(refusal("the options must be an object"));
  });
});

test("no message holds a value, wherever it was put", async () => {
  const values = [(text: string) => ({ [text]: text }), (text: string) => [[text]], (text: string) => () => text];
  const place = fc
    .constantFrom(...doors)
    .chain((entry) => fc.tuple(fc.constant(entry), fc.constantFrom(...Object.keys(entry.bad), "secret")));
  await fc.assert(
    fc.asyncProperty(place, fc.constantFrom(...values), fc.uuid(), async ([entry, name], wrap, text) => {
      const error = await pass(entry, { [name]: wrap(text) });
      const said = error instanceof McpAuthError ? `${error.stack} ${JSON.stringify(error)} ${JSON.stringify(error.cause)}` : "";
      expect(said).not.toContain(text);
    }),
    { numRuns: 500 },
  );
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
