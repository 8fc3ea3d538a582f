import { type Clock, systemClock } from "../clock.ts";
import { McpAuthError, unless, withoutQuery } from "../errors.ts";
import { type Emit, emitter } from "../events.ts";
import { createHttp, type Http } from "../http/http.ts";
import { MemoryStore } from "../stores/memory.ts";
import type { HeldLock, LockOptions, Store } from "../stores/store.ts";
import type { SessionOptions } from "./options.ts";

/** What a manager of tokens has to do with one protected server, whoever the tokens are for. */
export interface ServerSession {
  readonly serverUrl: URL;
  /** The server's name in keys, events and errors: its URL without query, which may be secret, and fragment. */
  readonly server: string;
  readonly options: SessionOptions;
  readonly store: Store;
  readonly http: Http;
  readonly clock: Clock;
  readonly emit: Emit;
  /** The last failure to get a token. */
  lastError: McpAuthError | undefined;
  /** Set once the manager is disposed of. */
  disposed: McpAuthError | undefined;
}

/** @throws McpAuthError `invalid_url`, `insecure_url` or `invalid_option`. */
export function createServerSession(options: SessionOptions): ServerSession {
  const { account, clock = systemClock } = options;
  const http = createHttp({ ...options, clock });
  const serverUrl = http.checkUrl(options.serverUrl);
  serverUrl.hash = "";
  if (account !== undefined && !/^[^/]+$/.test(account))
    throw new McpAuthError("invalid_option", { detail: "`account` is empty or holds a slash" });
  const server = withoutQuery(serverUrl.href);
  const emit = emitter(options.onEvent, server);
  const store = namingFailures(options.store ?? new MemoryStore(), server);
  return { serverUrl, server, options, store, http, clock, emit, lastError: undefined, disposed: undefined };
}

/** Keeps a failure for those whom transports do not tell, and says which server it was about. Returns it, to be thrown. */
export function remember(session: ServerSession, error: unknown): unknown {
  if (!(error instanceof McpAuthError)) return error;
  if (error.serverUrl === undefined) Object.assign(error, { serverUrl: session.server });
  session.lastError = error;
  return error;
}

/** The same store, whose own failures are typed errors. What cannot be read is none, unless it is a login: all else can be had again. */
function namingFailures(store: Store, serverUrl: string): Store {
  const named = async <T>(work: Promise<T>): Promise<T> => {
    try {
      return await work;
    } catch (cause) {
      throw cause instanceof McpAuthError ? cause : new McpAuthError("store_failed", { serverUrl, cause });
    }
  };
  const status = store.status?.bind(store);
  return {
    get(key) {
      const reading = named(store.get(key));
      return key.startsWith("tokens/") ? reading : unless("invalid_record", reading);
    },
    set: (key, value) => named(store.set(key, value)),
    delete: (key) => named(store.delete(key)),
    take: (key) => named(store.take(key)),
    keys: (prefix) => named(store.keys(prefix)),
    ...(status && { status: () => named(status()) }),
    async withLock<T>(key: string, action: (held: HeldLock) => Promise<T>, options?: LockOptions) {
      let outcome: Promise<T> | undefined;
      const holding = store.withLock(
        key,
        async (held) => {
          outcome = action({
            signal: held.signal,
            get restarted() {
              return held.restarted;
            },
            set: (name, value) => named(held.set(name, value)),
            delete: (name) => named(held.delete(name)),
          });
          // What the action throws is not the store's failure.
          await outcome.catch(() => {});
        },
        options,
      );
      await named(holding);
      return outcome as Promise<T>;
    },
  };
}
