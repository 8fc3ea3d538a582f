/** What the official SDKs take, against their own types. */
import type { AuthProvider, Transport as TransportV2 } from "@modelcontextprotocol/client";
import {
  type FetchLike as FetchLikeV2,
  SSEClientTransport as SseV2,
  StreamableHTTPClientTransport as StreamableHttpV2,
} from "@modelcontextprotocol/client";
import type { OAuthClientProvider } from "@modelcontextprotocol/sdk/client/auth.js";
import { SSEClientTransport as SseV1 } from "@modelcontextprotocol/sdk/client/sse.js";
import { StreamableHTTPClientTransport as StreamableHttpV1 } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import type { FetchLike as FetchLikeV1, Transport as TransportV1 } from "@modelcontextprotocol/sdk/shared/transport.js";
import type { Credential, TokenManager } from "mcp-client-auth";
import { ApiKeyCredential, BearerCredential, type CookieJar, type SessionCookieOptions } from "mcp-client-auth/credentials";
import { authProvider as authProviderV1, type TokenSource } from "mcp-client-auth/sdk-v1";
import { authProvider as authProviderV2 } from "mcp-client-auth/sdk-v2";
import { WebSocketTransport } from "mcp-client-auth/websocket";
import type { CookieJar as ToughCookieJar } from "tough-cookie";
import { describe, expectTypeOf, test } from "vitest";

declare const auth: TokenManager;

describe("auth.fetch", () => {
  test("is what both SDKs call a fetch", () => {
    expectTypeOf(auth.fetch).toExtend<FetchLikeV1>();
    expectTypeOf(auth.fetch).toExtend<FetchLikeV2>();
  });

  test("is taken by every HTTP transport", () => {
    new StreamableHttpV1(auth.serverUrl, { fetch: auth.fetch });
    new SseV1(auth.serverUrl, { fetch: auth.fetch });
    new StreamableHttpV2(auth.serverUrl, { fetch: auth.fetch });
    new SseV2(auth.serverUrl, { fetch: auth.fetch });
    // @ts-expect-error that these constructors check their options at all
    new StreamableHttpV1(auth.serverUrl, { fetch: auth });
  });
});

test("auth.requestInit() is taken by every HTTP transport", () => {
  new StreamableHttpV1(auth.serverUrl, { requestInit: auth.requestInit() });
  new SseV1(auth.serverUrl, { requestInit: auth.requestInit() });
  new StreamableHttpV2(auth.serverUrl, { requestInit: auth.requestInit() });
  new SseV2(auth.serverUrl, { requestInit: auth.requestInit() });
  // @ts-expect-error the SDKs take an object, no function
  new StreamableHttpV1(auth.serverUrl, { requestInit: () => auth.requestInit() });
});

describe("authProvider", () => {
  test("of ./sdk-v1 is v1's OAuthClientProvider", () => {
    expectTypeOf(authProviderV1(auth)).toEqualTypeOf<OAuthClientProvider>();
    new StreamableHttpV1(auth.serverUrl, { authProvider: authProviderV1(auth) });
    new SseV1(auth.serverUrl, { authProvider: authProviderV1(auth) });
  });

  test("of ./sdk-v2 is v2's AuthProvider", () => {
    expectTypeOf(authProviderV2(auth)).toEqualTypeOf<AuthProvider>();
    new StreamableHttpV2(auth.serverUrl, { authProvider: authProviderV2(auth) });
    new SseV2(auth.serverUrl, { authProvider: authProviderV2(auth) });
  });

  test("takes anything that can say its token, not any credential", () => {
    expectTypeOf<TokenManager>().toExtend<TokenSource>();
    expectTypeOf(authProviderV2).parameter(0).toEqualTypeOf<TokenSource>();
    // @ts-expect-error a credential without a token to hand out
    authProviderV1({} as Credential);
  });
});

describe("credentials that are not OAuth", () => {
  const serverUrl = "https://mcp.example/mcp";

  test("one with a token fits `authProvider`, others do not", () => {
    expectTypeOf<BearerCredential>().toExtend<TokenSource>();
    expectTypeOf<ApiKeyCredential>().not.toExtend<TokenSource>();
    authProviderV1(new BearerCredential({ serverUrl, token: async () => "token" }));
  });

  test("each is a credential, and its `fetch` and `requestInit()` are what transports take", () => {
    const key = new ApiKeyCredential({ serverUrl, keys: ["a", "b"] });
    expectTypeOf(key).toExtend<Credential>();
    new StreamableHttpV1(key.serverUrl, { fetch: key.fetch, requestInit: key.requestInit() });
    new StreamableHttpV2(key.serverUrl, { fetch: key.fetch, requestInit: key.requestInit() });
  });

  test("a key in the URL must be insisted on", () => {
    // @ts-expect-error it is not
    new ApiKeyCredential({ serverUrl, keys: "a", query: { parameter: "key" } });
  });

  test("a login returns an answer or nothing; tough-cookie is a jar", () => {
    expectTypeOf<ToughCookieJar>().toExtend<CookieJar>();
    const login = async (fetch: (url: string) => Promise<Response>) => void (await fetch(serverUrl));
    expectTypeOf(login).toExtend<SessionCookieOptions["login"]>();
  });
});

test("the WebSocket transport is one to both SDKs", () => {
  const transport = new WebSocketTransport("wss://mcp.example/ws", { credential: auth });
  expectTypeOf(transport).toExtend<TransportV1>();
  expectTypeOf(transport).toExtend<TransportV2>();
});
