/** A user with a browser and a protected server, both real, and time that can be put forward. */
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js";
import { onTestFinished } from "vitest";
import { type AuthEvent, type Clock, MemoryStore, systemClock, type TokenManager } from "../../src/index.ts";
import { createMcpAuth, type McpAuthOptions } from "../../src/node/index.ts";
import { type ProtectedServer, type ProtectedServerOptions, person, startProtectedServer } from "../fixture/index.ts";

/** A server that ends with the test. */
export async function startServer(options?: ProtectedServerOptions): Promise<ProtectedServer> {
  const server = await startProtectedServer(options);
  onTestFinished(() => server.close());
  return server;
}

/** The machine's time, which a test can put forward; nobody waits for repetitions. */
export function movableClock(): Clock & { ahead: number } {
  const clock = {
    ahead: 0,
    now: () => Date.now() + clock.ahead,
    sleep: ((ms, options) => systemClock.sleep(options?.background ? ms : 0, options)) as Clock["sleep"],
  };
  return clock;
}

export const minutes = (count: number) => count * 60_000;

/** A program on a desktop; `opened` has every address that a browser was sent to. */
export function desktop(url: string, options: McpAuthOptions = {}) {
  const opened: URL[] = [];
  const events: AuthEvent[] = [];
  const store = options.store ?? new MemoryStore();
  const clock = movableClock();
  const auth = createMcpAuth(url, {
    interactive: true,
    print: () => {},
    openBrowser: async (address) => {
      opened.push(address);
      // The server may show the user a page instead of an answer.
      void person(address).catch(() => {});
    },
    clock,
    onEvent: (event) => events.push(event),
    ...options,
    store,
  });
  onTestFinished(() => auth.dispose());
  return { auth, opened, events, store, clock, saw: (type: AuthEvent["type"]) => events.filter((event) => event.type === type) };
}

/** A connected client of the official SDK; its calls give what a tool answers. */
export async function connect(auth: TokenManager, options: { requestInit?: RequestInit } = {}) {
  const client = new Client({ name: "peers", version: "1" });
  const reconnectionOptions = { initialReconnectionDelay: 10, maxReconnectionDelay: 10, reconnectionDelayGrowFactor: 1, maxRetries: 100 };
  const how = options.requestInit ? { requestInit: options.requestInit } : { fetch: auth.fetch };
  const transport = new StreamableHTTPClientTransport(auth.serverUrl, { ...how, reconnectionOptions });
  onTestFinished(() => client.close());
  // The SDK's own classes do not agree with its interfaces under exactOptionalPropertyTypes.
  await client.connect(transport as Transport);
  return async (tool: string, input: Record<string, unknown> = {}): Promise<unknown> => {
    const { content } = (await client.callTool({ name: tool, arguments: input })) as { content: { text: string }[] };
    return JSON.parse(content[0]?.text ?? "null");
  };
}

/** The code of the error with which a promise rejects. */
export const codeOf = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => "no error",
    (error: { code?: unknown }) => error.code ?? error,
  );
