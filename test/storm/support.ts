/** Logins without a browser, time without waiting, and stores that can be watched, for tests of what many callers share. */
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js";
import { expect, onTestFinished } from "vitest";
import {
  type AuthEvent,
  type Clock,
  type LoginHandler,
  McpAuthError,
  MemoryStore,
  type Store,
  systemClock,
  TokenManager,
  type TokenManagerOptions,
} from "../../src/index.ts";
import { logInByHand, type ProtectedServer, type ProtectedServerOptions, person, startProtectedServer } from "../fixture/index.ts";
import { toolRequest } from "../fixture/tool-request.ts";

export { toolRequest };

export const minutes = (count: number) => count * 60_000;

/** A fixture of its own for the running test. */
export async function startServer(options?: ProtectedServerOptions): Promise<ProtectedServer> {
  const server = await startProtectedServer(options);
  onTestFinished(() => server.close());
  return server;
}

/** A login handler that needs neither port nor browser, and counts how often a user was asked. */
export interface CountingHandler extends LoginHandler {
  /** How often the user saw the authorization server. */
  opened: number;
  /** How often an authorization response was expected at all. */
  started: number;
  /** The user waits with the decision until this resolves. */
  until: Promise<unknown>;
}

export function userAtHand(): CountingHandler {
  const handler: CountingHandler = {
    opened: 0,
    started: 0,
    until: Promise.resolve(),
    async start() {
      handler.started++;
      const redirectUri = "http://127.0.0.1:1/callback";
      return {
        redirectUri,
        redirectUris: [redirectUri],
        async authorize(url, receive, signal) {
          handler.opened++;
          await Promise.race([handler.until, aborted(signal)]);
          const { callbackUrl, page } = await person(url, { followCallback: false });
          if (!callbackUrl) throw new Error(`the authorization server showed a page: ${page}`);
          await receive(callbackUrl.searchParams);
        },
        close: async () => {},
      };
    },
  };
  return handler;
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
  });
}

/** The machine's clock, which can be put forward. */
export interface ShiftedClock extends Clock {
  shift(ms: number): void;
}

export function shiftedClock(): ShiftedClock {
  let shifted = 0;
  return {
    now: () => systemClock.now() + shifted,
    sleep: systemClock.sleep,
    shift(ms) {
      shifted += ms;
    },
  };
}

/** A clock that stands still. What is waited for in the foreground passes at once; background timers wait for `advance`. */
export interface ManualClock extends Clock {
  /** Foreground waits so far, in ms. */
  readonly slept: number[];
  /** When the background timers are due, in ms from now. */
  readonly timers: number[];
  /** Moves on and wakes the timers that are due. */
  advance(ms: number): void;
  /** Jumps, as a clock that is set does: timers do not notice. */
  jump(ms: number): void;
}

export function manualClock(start = Date.now()): ManualClock {
  let time = start;
  let elapsed = 0;
  const slept: number[] = [];
  const timers = new Set<{ due: number; wake: () => void }>();
  return {
    slept,
    get timers() {
      return [...timers].map(({ due }) => due - elapsed);
    },
    now: () => time,
    async sleep(ms, { signal, background } = {}) {
      signal?.throwIfAborted();
      if (!background) {
        slept.push(ms);
        time += ms;
        elapsed += ms;
        return;
      }
      await new Promise<void>((resolve, reject) => {
        const timer = { due: elapsed + ms, wake: resolve };
        timers.add(timer);
        signal?.addEventListener(
          "abort",
          () => {
            timers.delete(timer);
            reject(signal.reason);
          },
          { once: true },
        );
      });
    },
    advance(ms) {
      time += ms;
      elapsed += ms;
      for (const timer of timers) {
        if (timer.due > elapsed) continue;
        timers.delete(timer);
        timer.wake();
      }
    },
    jump(ms) {
      time += ms;
    },
  };
}

/** A manager at this server, disposed of with the test, and everything that it tells. */
export function manager(server: { url: string }, options: Partial<TokenManagerOptions> = {}) {
  const events: AuthEvent[] = [];
  const auth = new TokenManager({ serverUrl: server.url, onEvent: (event) => void events.push(event), ...options });
  onTestFinished(() => auth.dispose());
  return { auth, events, types: () => events.map(({ type }) => type) };
}

/** A login at the fixture, put into `store` as another process would have left it there. */
export async function seed(
  server: ProtectedServer,
  store: Store,
  {
    scope = "mcp:read",
    clock,
    lifetimeSeconds,
    account,
  }: { scope?: string; clock?: Clock; lifetimeSeconds?: number; account?: string } = {},
) {
  const { authorizationServer: as, mcpServer: mcp } = server;
  const tokens = await logInByHand(as, { resource: mcp.resource, scope });
  const auth = new TokenManager({ serverUrl: server.url, store, clock, account });
  await auth.setTokens({ ...tokens, expiresIn: lifetimeSeconds ?? tokens.expiresIn, issuer: as.issuer, resource: mcp.resource });
  await auth.dispose();
  // Only what follows counts.
  as.requests.length = 0;
  return tokens;
}

/** A fixture with a login in a memory store, whose token has a while to live. */
export async function seeded(options?: ProtectedServerOptions) {
  const server = await startServer(options);
  const store = new MemoryStore();
  const clock = shiftedClock();
  const tokens = await seed(server, store, { clock });
  return { server, as: server.authorizationServer, mcp: server.mcpServer, store, clock, tokens };
}

/** A connected client of the official SDK (v1), closed with the test. Its stream comes back at once, at most twice. */
export async function connect(url: string | URL, fetch: typeof globalThis.fetch): Promise<Client> {
  const client = new Client({ name: "test", version: "1" });
  onTestFinished(() => client.close());
  const reconnectionOptions = { initialReconnectionDelay: 1, maxReconnectionDelay: 1, reconnectionDelayGrowFactor: 1, maxRetries: 2 };
  // The SDK's own classes do not agree with its interfaces under exactOptionalPropertyTypes.
  await client.connect(new StreamableHTTPClientTransport(new URL(url), { fetch, reconnectionOptions }) as Transport);
  return client;
}

/** A `fetch` that notes what the GETs that go through it were answered. */
export function watchStreams(fetch: typeof globalThis.fetch): typeof globalThis.fetch & { readonly statuses: number[] } {
  const statuses: number[] = [];
  const watched: typeof globalThis.fetch = async (input, init) => {
    const response = await fetch(input, init);
    if (init?.method === "GET") statuses.push(response.status);
    return response;
  };
  return Object.assign(watched, { statuses });
}

/** What a tool answered. */
export async function callTool(client: Client, name: string, args: Record<string, unknown> = {}, options?: { timeout?: number }) {
  const result = await client.callTool({ name, arguments: args }, undefined, options);
  const [content] = result.content as { text: string }[];
  return JSON.parse(content?.text ?? "null") as unknown;
}

/** Status of one stateless call of a tool; the body is read. */
export async function post(auth: TokenManager, name = "add", args: Record<string, unknown> = { a: 1, b: 2 }): Promise<number> {
  const response = await auth.fetch(auth.serverUrl, toolRequest(name, args));
  await response.arrayBuffer();
  return response.status;
}

/** How often each outcome came: statuses, error codes. */
export async function tally(calls: Iterable<Promise<unknown>>): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const result of await Promise.allSettled(calls)) {
    const key = result.status === "fulfilled" ? String(result.value) : codeOf(result.reason);
    counts[key] = (counts[key] ?? 0) + 1;
  }
  return counts;
}

export function codeOf(error: unknown): string {
  return error instanceof McpAuthError ? error.code : String(error);
}

/** The code of the error that ends `work`; fails when it succeeds. */
export async function failure(work: Promise<unknown>): Promise<McpAuthError> {
  const error = await work.then(
    (value) => expect.fail(`it succeeded: ${String(value)}`),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(McpAuthError);
  return error as McpAuthError;
}

/** A store that counts what is asked of it, and whose writes can be made to fail. */
export class WatchedStore implements Store {
  readonly inner: Store;
  reads = 0;
  writes = 0;
  /** Asked before each write. Throw to let it fail. */
  beforeWrite: (key: string, count: number) => void | Promise<void> = () => {};
  /** Asked after each write under a lock. Throw where the store does not say that it was done. */
  afterWrite: () => void | Promise<void> = () => {};
  #writesUnderLock = 0;

  constructor(inner: Store = new MemoryStore()) {
    this.inner = inner;
  }

  get: Store["get"] = (key) => {
    this.reads++;
    return this.inner.get(key);
  };
  set: Store["set"] = async (key, value) => {
    await this.#write(key);
    await this.inner.set(key, value);
  };
  delete: Store["delete"] = async (key) => {
    await this.#write(key);
    await this.inner.delete(key);
  };
  take: Store["take"] = (key) => {
    this.reads++;
    return this.inner.take(key);
  };
  keys: Store["keys"] = (prefix) => this.inner.keys(prefix);
  withLock: Store["withLock"] = (key, action, options) =>
    this.inner.withLock(
      key,
      (held) =>
        action({
          signal: held.signal,
          set: async (name, value) => {
            await this.#write(name);
            await held.set(name, value);
            await this.afterWrite();
          },
          delete: async (name) => {
            await this.#write(name);
            await held.delete(name);
          },
        }),
      options,
    );

  async #write(key: string): Promise<void> {
    this.writes++;
    await this.beforeWrite(key, ++this.#writesUnderLock);
  }
}

/** Ends a login, but keeps the registration, as a server does that refuses the refresh token. */
export async function endLogin(auth: Pick<TokenManager, "logout">, store: Store): Promise<void> {
  const registrations = await Promise.all((await store.keys("registrations/")).map(async (key) => [key, await store.get(key)] as const));
  await auth.logout();
  for (const [key, record] of registrations) if (record) await store.set(key, record);
}
