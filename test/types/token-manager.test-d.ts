/** `createMcpAuth` and `TokenManager`, as a program that installed the package sees them. */
import type {
  AccountStatus,
  AuthEvent,
  Credential,
  DeviceCodePrompt,
  LiveRequestInit,
  LogoutResult,
  McpAuthError,
  StoredLogin,
  StoreStatus,
  TokenManagerOptions,
} from "mcp-client-auth";
import { TokenManager } from "mcp-client-auth";
import type { MachineTokenManager } from "mcp-client-auth/machine";
import { createMcpAuth, type EnvironmentOptions, fromEnvironment, type McpAuthOptions, printDeviceCode } from "mcp-client-auth/node";
import { describe, expectTypeOf, test } from "vitest";

declare const auth: TokenManager;

describe("createMcpAuth", () => {
  test("needs the URL alone, as text or parsed, and makes a token manager", () => {
    expectTypeOf(createMcpAuth("https://mcp.example/mcp")).toEqualTypeOf<TokenManager>();
    expectTypeOf(createMcpAuth(new URL("https://mcp.example/mcp"))).toEqualTypeOf<TokenManager>();
    // @ts-expect-error no URL
    createMcpAuth();
  });

  test("from the environment: whatever it is, it has what programs need", () => {
    type Auth = Awaited<ReturnType<typeof fromEnvironment>>;
    expectTypeOf<Auth>().toEqualTypeOf<TokenManager | MachineTokenManager>();
    expectTypeOf<"serverUrl" | "fetch" | "authorize" | "getAccessToken" | "requestInit" | "lastError" | "dispose">().toExtend<keyof Auth>();
    expectTypeOf<Auth>().toExtend<Credential>();
    expectTypeOf(fromEnvironment).parameter(0).toEqualTypeOf<EnvironmentOptions | undefined>();
  });

  test("takes the token manager's options, and those of login and store on this machine", () => {
    type Login = "port" | "ports" | "callbackPath" | "redirectUri" | "bindAddress" | "page" | "openBrowser" | "print";
    type Store = "app" | "folder" | "keychain" | "keychainFailure" | "keychainTimeout";
    type Shared = Exclude<keyof TokenManagerOptions, "serverUrl" | "waitUntil" | "isEnding">;
    expectTypeOf<keyof McpAuthOptions>().toEqualTypeOf<Shared | Login | Store>();
    createMcpAuth("https://mcp.example/mcp", {
      onEvent: (event) => expectTypeOf(event).toEqualTypeOf<AuthEvent>(),
      openBrowser: async (url) => void expectTypeOf(url).toEqualTypeOf<URL>(),
      page: (outcome) => outcome.kind,
      onDeviceCode: (prompt) => {
        expectTypeOf(prompt).toEqualTypeOf<DeviceCodePrompt>();
        // @ts-expect-error the secret half of a device code is not for the app
        prompt.deviceCode;
      },
    });
    createMcpAuth("https://mcp.example/mcp", { onDeviceCode: async () => {} });
    createMcpAuth("https://mcp.example/mcp", { onDeviceCode: printDeviceCode });
    createMcpAuth("https://mcp.example/mcp", {
      // @ts-expect-error what it shows is no answer
      onDeviceCode: () => "shown",
    });
  });

  test("every option may be undefined, so that it can be passed on", () => {
    expectTypeOf<Record<keyof McpAuthOptions, undefined>>().toExtend<McpAuthOptions>();
    type Optional = Omit<TokenManagerOptions, "serverUrl">;
    expectTypeOf<Record<keyof Optional, undefined>>().toExtend<Optional>();
  });

  test("refuses what is no option, and values of another type", () => {
    // @ts-expect-error a misspelled option
    createMcpAuth("https://mcp.example/mcp", { clientname: "Acme" });
    // @ts-expect-error scopes are a list
    createMcpAuth("https://mcp.example/mcp", { scopes: "mcp:read mcp:write" });
    // @ts-expect-error times are numbers of milliseconds
    createMcpAuth("https://mcp.example/mcp", { loginPendingTimeout: "50s" });
    // @ts-expect-error the bearer is one of two tokens
    createMcpAuth("https://mcp.example/mcp", { bearer: "refresh_token" });
    // @ts-expect-error no loopback host
    createMcpAuth("https://mcp.example/mcp", { redirectHost: "example.com" });
  });
});

describe("TokenManager", () => {
  test("needs the server's URL", () => {
    new TokenManager({ serverUrl: "https://mcp.example/mcp" });
    // @ts-expect-error no URL
    new TokenManager({});
  });

  test("authorize() says in one of two words how it went", () => {
    expectTypeOf(auth.authorize()).toEqualTypeOf<Promise<"authorized" | "not-required">>();
    expectTypeOf(auth.authorize)
      .parameter(0)
      .toEqualTypeOf<{ scopes?: readonly string[] | undefined; signal?: AbortSignal | undefined } | undefined>();
  });

  test("getAccessToken() gives text: without a token it throws", () => {
    expectTypeOf(auth.getAccessToken()).toEqualTypeOf<Promise<string>>();
    expectTypeOf(auth.getAccessToken).parameter(0).toEqualTypeOf<{ signal?: AbortSignal | undefined } | undefined>();
  });

  test("setTokens() needs an access token; the rest may be undefined", () => {
    auth.setTokens({ accessToken: "…", refreshToken: undefined, expiresIn: 3600, issuer: "https://as.example", clientId: "me" });
    // @ts-expect-error no access token
    auth.setTokens({ refreshToken: "…" });
    // @ts-expect-error a lifetime is a number of seconds
    auth.setTokens({ accessToken: "…", expiresIn: "3600" });
    expectTypeOf(auth.setTokens).returns.toEqualTypeOf<Promise<void>>();
  });

  test("logout() tells what it did", () => {
    expectTypeOf(auth.logout()).toEqualTypeOf<Promise<LogoutResult>>();
    expectTypeOf<LogoutResult>().toEqualTypeOf<{
      account: string;
      wasLoggedIn: boolean;
      refreshTokenRevoked: boolean;
      accessTokenRevoked: boolean;
      error?: McpAuthError | undefined;
    }>();
  });

  test("logoutEverywhere() tells it for each account", () => {
    expectTypeOf(auth.logoutEverywhere()).toEqualTypeOf<Promise<LogoutResult[]>>();
    // @ts-expect-error accounts are not named here: another manager has another account
    auth.logout({ account: "work" });
  });

  test("accounts() lists logins, status() says more of this one; neither has a token", () => {
    expectTypeOf(auth.accounts()).toEqualTypeOf<Promise<StoredLogin[]>>();
    expectTypeOf(auth.status()).toEqualTypeOf<Promise<AccountStatus>>();
    expectTypeOf<keyof StoredLogin>().toEqualTypeOf<"account" | "isDefault" | "issuer" | "scopes" | "expiresAt" | "canRefresh">();
    expectTypeOf<keyof AccountStatus>().toEqualTypeOf<keyof StoredLogin | "isLoggedIn" | "store">();
    expectTypeOf<AccountStatus["store"]>().toEqualTypeOf<StoreStatus | undefined>();
    expectTypeOf<StoredLogin["scopes"]>().toEqualTypeOf<readonly string[] | undefined>();
  });

  test("makeDefault() takes this manager's account: no other can be named", () => {
    expectTypeOf(auth.makeDefault).parameters.toEqualTypeOf<[]>();
    expectTypeOf(auth.makeDefault()).toEqualTypeOf<Promise<void>>();
  });

  test("requestInit() is a RequestInit whose headers can only be read", () => {
    expectTypeOf(auth.requestInit()).toEqualTypeOf<LiveRequestInit>();
    expectTypeOf<LiveRequestInit>().toExtend<RequestInit>();
    expectTypeOf<LiveRequestInit["headers"]>().toEqualTypeOf<Record<string, string>>();
    // @ts-expect-error the manager writes them
    auth.requestInit().headers = {};
  });

  test("fetch is a fetch, serverUrl a URL, lastError our error", () => {
    expectTypeOf(auth.fetch).toEqualTypeOf<typeof globalThis.fetch>();
    expectTypeOf(auth.serverUrl).toEqualTypeOf<URL>();
    expectTypeOf(auth.lastError).toEqualTypeOf<McpAuthError | undefined>();
    // @ts-expect-error nobody else writes it
    auth.lastError = undefined;
  });

  test("can be disposed of by `await using`", () => {
    expectTypeOf(auth.dispose()).toEqualTypeOf<Promise<void>>();
    expectTypeOf<TokenManager>().toExtend<AsyncDisposable>();
  });
});
