/** The official SDKs' clients and transports in one form, and a user's login for them. */
import {
  type AuthProvider,
  Client as ClientV2,
  StreamableHTTPClientTransport as HttpV2,
  SSEClientTransport as SseV2,
} from "@modelcontextprotocol/client";
import type { OAuthClientProvider } from "@modelcontextprotocol/sdk/client/auth.js";
import { Client as ClientV1 } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport as SseV1 } from "@modelcontextprotocol/sdk/client/sse.js";
import { StreamableHTTPClientTransport as HttpV1 } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import type { Transport as TransportV1 } from "@modelcontextprotocol/sdk/shared/transport.js";
import { onTestFinished, vi } from "vitest";
import type { TokenManager } from "../../src/index.ts";
import { createMcpAuth, type McpAuthOptions } from "../../src/node/index.ts";
import { authProvider as providerV1 } from "../../src/transports/sdk/v1.ts";
import { authProvider as providerV2 } from "../../src/transports/sdk/v2.ts";
import { type McpServer, type ProtectedServer, type ProtectedServerOptions, person, startProtectedServer } from "../fixture/index.ts";

/** What both SDKs' transports take. */
export interface TransportOptions {
  fetch?: typeof globalThis.fetch;
  requestInit?: RequestInit;
  authProvider?: unknown;
}

/** A client before `connect`, so that a refused connect can be looked at. */
export interface Sdk {
  transport: TransportV1 | SseV2 | HttpV2;
  connect(): Promise<void>;
  /** Calls a tool. @returns what it answered */
  call(tool: string, input?: object): Promise<unknown>;
  close(): Promise<void>;
}

/** How a program can use a server through the official SDKs. */
export interface Kind {
  sse: boolean;
  sdk: "v1" | "v2";
  create(url: URL, options: TransportOptions): Sdk;
}

const info = { name: "interop", version: "1" };

function v1(Transport: typeof HttpV1 | typeof SseV1): Kind {
  return {
    sdk: "v1",
    sse: Transport === SseV1,
    create(url, { authProvider, ...options }) {
      const client = new ClientV1(info);
      const provider = authProvider as OAuthClientProvider | undefined;
      // The SDK's own classes do not agree with its interfaces under exactOptionalPropertyTypes.
      const transport = new Transport(url, { ...options, ...(provider && { authProvider: provider }) }) as TransportV1;
      const call = (name: string, input = {}) => client.callTool({ name, arguments: { ...input } });
      return sdk(transport, () => client.connect(transport), call, client);
    },
  };
}

function v2(Transport: typeof HttpV2 | typeof SseV2, mode: "legacy" | "auto" | { pin: string }): Kind {
  return {
    sdk: "v2",
    sse: Transport === SseV2,
    create(url, { authProvider, ...options }) {
      const client = new ClientV2(info, { versionNegotiation: { mode } });
      const provider = authProvider as AuthProvider | undefined;
      const transport = new Transport(url, { ...options, ...(provider && { authProvider: provider }) });
      const call = (name: string, input = {}) => client.callTool({ name, arguments: { ...input } });
      return sdk(transport, () => client.connect(transport), call, client);
    },
  };
}

function sdk(
  transport: Sdk["transport"],
  connect: () => Promise<void>,
  call: (tool: string, input?: object) => Promise<unknown>,
  client: { close(): Promise<void> },
): Sdk {
  onTestFinished(() => transport.close());
  return {
    transport,
    connect,
    async call(tool, input) {
      const { content } = (await call(tool, input)) as { content: { text: string }[] };
      return JSON.parse(content[0]?.text ?? "null") as unknown;
    },
    close: () => client.close(),
  };
}

export const kinds = {
  "v1 Streamable HTTP": v1(HttpV1),
  "v1 SSE": v1(SseV1),
  "v2 Streamable HTTP, 2025-11-25": v2(HttpV2, "legacy"),
  "v2 Streamable HTTP, probe": v2(HttpV2, "auto"),
  "v2 Streamable HTTP, pinned": v2(HttpV2, { pin: "2026-07-28" }),
  "v2 SSE": v2(SseV2, "legacy"),
} satisfies Record<string, Kind>;

export const allKinds = Object.entries<Kind>(kinds);
export const httpKinds = allKinds.filter(([, { sse }]) => !sse);
export const sseKinds = allKinds.filter(([, { sse }]) => sse);

/** The `authProvider` for this SDK. */
export const providerFor = (kind: Kind, auth: TokenManager): unknown => (kind.sdk === "v1" ? providerV1(auth) : providerV2(auth));

/** `readyState` of the SSE transport's stream. */
export const streamState = ({ transport }: Sdk) => (transport as unknown as { _eventSource?: EventSource })._eventSource?.readyState;

/** A protected server for the running test. Its tokens are for the whole origin: SSE lives beside `/mcp`. */
export async function startServer(options?: ProtectedServerOptions): Promise<ProtectedServer> {
  const server = await startProtectedServer(options);
  onTestFinished(() => server.close());
  server.mcpServer.resource = server.mcpServer.origin;
  return server;
}

export const urlFor = (kind: Kind, mcp: McpServer): URL => new URL(kind.sse ? mcp.sseUrl : mcp.url);

/** A manager whose user is counted. */
export function managerFor(kind: Kind, { mcpServer, authorizationServer }: ProtectedServer, options: McpAuthOptions = {}) {
  const behaviour = { logins: 0, deny: false };
  const auth = createMcpAuth(urlFor(kind, mcpServer), {
    interactive: true,
    print: () => {},
    openBrowser: async (url) => {
      behaviour.logins++;
      void person(url, behaviour.deny ? { deny: authorizationServer } : {});
    },
    ...options,
  });
  onTestFinished(() => auth.dispose());
  return { auth, behaviour };
}

/** Puts the clocks of client and servers forward. Timers go on as they are. */
export function later(seconds: number): void {
  const now = Date.now() + seconds * 1000;
  vi.useFakeTimers({ toFake: ["Date"], now });
  onTestFinished(() => void vi.useRealTimers());
}

/** What a promise is rejected with. */
export const rejection = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    (value) => {
      throw new Error(`it succeeded: ${JSON.stringify(value)}`);
    },
    (error: unknown) => error,
  );

/** Status codes of token requests, with their grants. */
export const tokenRequests = ({ authorizationServer }: ProtectedServer): string[] =>
  authorizationServer.tokenRequests().map(({ grantType, status }) => `${grantType} ${status}`);
