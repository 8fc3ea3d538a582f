/** What each entry point exports, and that none of it is `any`; `no-any.test.ts` looks into the types. */
import type * as core from "mcp-client-auth";
import type * as credentials from "mcp-client-auth/credentials";
import type * as grants from "mcp-client-auth/grants";
import type * as hosted from "mcp-client-auth/hosted";
import type * as machine from "mcp-client-auth/machine";
import type * as node from "mcp-client-auth/node";
import type * as redis from "mcp-client-auth/redis";
import type * as sdkV1 from "mcp-client-auth/sdk-v1";
import type * as sdkV2 from "mcp-client-auth/sdk-v2";
import type * as webSocket from "mcp-client-auth/websocket";
import { describe, expectTypeOf, test } from "vitest";

type IsAny<T> = 0 extends 1 & T ? true : false;

/** Names of a module whose type is `any`, or that take or give `any`. */
type Leaks<Module> = {
  [Name in keyof Module]: IsAny<Module[Name]> extends true
    ? Name
    : Module[Name] extends (...parameters: infer Parameters) => infer Result
      ? true extends IsAny<Awaited<Result>> | { [Index in keyof Parameters]: IsAny<Parameters[Index]> }[number]
        ? Name
        : never
      : never;
}[keyof Module];

describe("no `any` reaches a user", () => {
  test("the check sees one", () => {
    type Module = {
      value: unknown;
      leak: typeof JSON.parse;
      later: () => Promise<typeof leak>;
      takes: (text: string, it: typeof leak) => void;
    };
    // biome-ignore lint/suspicious/noExplicitAny: what is looked for
    const leak = undefined as any;
    expectTypeOf<Leaks<Module>>().toEqualTypeOf<"leak" | "later" | "takes">();
  });

  test("from an entry point", () => {
    expectTypeOf<Leaks<typeof core>>().toBeNever();
    expectTypeOf<Leaks<typeof node>>().toBeNever();
    expectTypeOf<Leaks<typeof sdkV1>>().toBeNever();
    expectTypeOf<Leaks<typeof sdkV2>>().toBeNever();
    expectTypeOf<Leaks<typeof machine>>().toBeNever();
    expectTypeOf<Leaks<typeof hosted>>().toBeNever();
    expectTypeOf<Leaks<typeof grants>>().toBeNever();
    expectTypeOf<Leaks<typeof credentials>>().toBeNever();
    expectTypeOf<Leaks<typeof webSocket>>().toBeNever();
    expectTypeOf<Leaks<typeof redis>>().toBeNever();
  });
});

/** Types are in `docs/api.txt`, which CI compares. */
describe("what there is at runtime: adding or removing a name shows here", () => {
  test("the neutral entry", () => {
    expectTypeOf<keyof typeof core>().toEqualTypeOf<
      | "TokenManager"
      | "TokenManagers"
      | "MemoryStore"
      | "auditTrail"
      | "McpAuthError"
      | "LoginRequiredError"
      | "InsufficientScopeError"
      | "authFetch"
      | "createHttp"
      | "systemClock"
      | "parseChallenges"
      | "readChallenge"
      | "discoverProtectedResource"
      | "discoverAuthorizationServer"
      | "requirePkce"
      | "registerClient"
      | "generateCodeVerifier"
      | "generateCodeChallenge"
      | "generateState"
      | "buildAuthorizationUrl"
      | "checkAuthorizationResponse"
      | "exchangeCode"
    >();
  });

  test("Node", () => {
    expectTypeOf<keyof typeof node>().toEqualTypeOf<
      | "createMcpAuth"
      | "createMcpAuths"
      | "fromEnvironment"
      | "loopbackLogin"
      | "pasteLogin"
      | "openBrowser"
      | "printDeviceCode"
      | "sqliteStore"
      | "keychainStore"
      | "importFromMcpRemote"
      | "mutualTls"
      | "stdioServer"
    >();
  });

  test("programs", () => {
    expectTypeOf<keyof typeof machine>().toEqualTypeOf<
      | "MachineTokenManager"
      | "enterpriseManaged"
      | "gitHubActions"
      | "gitLab"
      | "kubernetes"
      | "assertionFile"
      | "assertionCommand"
      | "extensions"
    >();
    expectTypeOf<keyof typeof grants>().toEqualTypeOf<
      | "requestClientToken"
      | "requestDeviceCode"
      | "pollDeviceCode"
      | "refreshTokens"
      | "revokeToken"
      | "exchangeAssertion"
      | "exchangeToken"
      | "tokenTypes"
      | "machineAuthentication"
      | "selectEndpoints"
    >();
  });

  test("web applications", () => {
    expectTypeOf<keyof typeof hosted>().toEqualTypeOf<
      | "HostedLogin"
      | "hostedHandlers"
      | "nodeHandler"
      | "nodeRequestOf"
      | "clientMetadataDocument"
      | "clientMetadataHandler"
      | "checkClientMetadataDocument"
      | "publicKeySet"
    >();
  });

  test("the others", () => {
    expectTypeOf<keyof typeof sdkV1>().toEqualTypeOf<"authProvider">();
    expectTypeOf<keyof typeof sdkV2>().toEqualTypeOf<"authProvider">();
    expectTypeOf<keyof typeof webSocket>().toEqualTypeOf<"WebSocketTransport">();
    expectTypeOf<keyof typeof redis>().toEqualTypeOf<"redisStore" | "generateStoreKey">();
    expectTypeOf<keyof typeof credentials>().toEqualTypeOf<
      "ApiKeyCredential" | "BasicCredential" | "BearerCredential" | "SessionCookieCredential"
    >();
  });

  test("one home a function", () => {
    type Both<A, B> = Extract<keyof A, keyof B>;
    expectTypeOf<Both<typeof core, typeof grants & typeof node & typeof machine & typeof hosted & typeof credentials>>().toBeNever();
    expectTypeOf<Both<typeof grants, typeof node & typeof machine & typeof credentials>>().toBeNever();
  });

  test("what both managers have is called the same", () => {
    type Shared = "serverUrl" | "fetch" | "lastError" | "authorize" | "getAccessToken" | "requestInit" | "dispose";
    expectTypeOf<Shared>().toExtend<keyof core.TokenManager & keyof machine.MachineTokenManager>();
    expectTypeOf<keyof machine.MachineTokenManager>().toEqualTypeOf<
      Shared | "headers" | "onChallenge" | "onForeignResponse" | "onResponse" | typeof Symbol.asyncDispose
    >();
    expectTypeOf<Exclude<keyof core.TokenManager, keyof machine.MachineTokenManager>>().toEqualTypeOf<
      "loginPendingTimeout" | "setTokens" | "logout" | "logoutEverywhere" | "status" | "accounts" | "makeDefault"
    >();
  });
});

describe("the steps, for those who build their own flow", () => {
  test("what one gives, the next takes", async () => {
    const { generateCodeChallenge, generateCodeVerifier, generateState, buildAuthorizationUrl, exchangeCode, registerClient, createHttp } =
      {} as typeof core;
    const { discoverProtectedResource, discoverAuthorizationServer } = {} as typeof core;
    const resource = await discoverProtectedResource("https://mcp.example/mcp");
    const server = await discoverAuthorizationServer(resource?.authorizationServers[0] ?? "https://as.example");
    const redirectUri = "http://127.0.0.1:3000/callback";
    const client = await registerClient({ server, redirectUris: [redirectUri] });
    const codeVerifier = generateCodeVerifier();
    const url = buildAuthorizationUrl({
      server,
      clientId: client.clientId,
      redirectUri,
      state: generateState(),
      codeChallenge: await generateCodeChallenge(codeVerifier),
      resource: resource?.resource,
    });
    const answer = await exchangeCode({ server, client, http: createHttp(), code: "…", codeVerifier, redirectUri });

    expectTypeOf(url).toEqualTypeOf<URL>();
    expectTypeOf(codeVerifier).toEqualTypeOf<string>();
    expectTypeOf(answer).toEqualTypeOf<core.TokenResponse>();
    // An answer may lack the access token: whoever uses it must look.
    expectTypeOf(answer.accessToken).toEqualTypeOf<string | undefined>();
  });
});
