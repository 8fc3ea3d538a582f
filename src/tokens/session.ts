import { type Clock, systemClock } from "../clock.ts";
import { readDiscovery, writeDiscovery } from "../discovery/cache.ts";
import type { AuthorizationServerMetadata } from "../discovery/discovery.ts";
import { findAuthorizationServer } from "../discovery/server-metadata.ts";
import { McpAuthError, unless, withoutQuery } from "../errors.ts";
import { type Emit, emitter } from "../events.ts";
import { createHttp, type Http } from "../http/http.ts";
import { defined } from "../http/json.ts";
import { type Profile, profileFor } from "../profiles/profiles.ts";
import { checkClientMetadataUrl } from "../registration/client-metadata-url.ts";
import { MemoryStore } from "../stores/memory.ts";
import type { HeldLock, LockOptions, Store } from "../stores/store.ts";
import type { TokenManagerOptions } from "./options.ts";
import { TokenKeeper } from "./token-keeper.ts";
import type { TokenRecord } from "./token-record.ts";

/** How long metadata of an authorization server that was asked for by itself is kept, in ms. */
const metadataLifeMs = 24 * 60 * 60_000;
/** How long it is used although it has expired, in ms. */
const usableLifeMs = 7 * metadataLifeMs;

/** What the parts of a token manager share: the options, checked and completed. */
export interface Session {
  readonly serverUrl: URL;
  /** The server's name in keys, events and errors: its URL without query, which may be secret, and fragment. */
  readonly server: string;
  readonly options: TokenManagerOptions;
  readonly store: Store;
  readonly keeper: TokenKeeper;
  readonly http: Http;
  readonly clock: Clock;
  readonly emit: Emit;
  /** The last failure to get a token. */
  lastError: McpAuthError | undefined;
  /** Set once the manager is disposed of. */
  disposed: McpAuthError | undefined;
}

/** Keeps a failure for those whom transports do not tell, and says which server it was about. Returns it, to be thrown. */
export function remember(session: Session, error: unknown): unknown {
  if (!(error instanceof McpAuthError)) return error;
  if (error.serverUrl === undefined) Object.assign(error, { serverUrl: session.server });
  session.lastError = error;
  return error;
}

/** @throws McpAuthError `invalid_url`, `insecure_url` or `invalid_option`. */
export function createSession(options: TokenManagerOptions): Session {
  const { account, clock = systemClock, clientId, clientSecret } = options;
  const http = createHttp({ ...options, clock });
  const serverUrl = http.checkUrl(options.serverUrl);
  serverUrl.hash = "";
  if (account !== undefined && !/^[^/]+$/.test(account))
    throw new McpAuthError("invalid_option", { detail: "`account` is empty or holds a slash" });
  if (clientSecret !== undefined && clientId === undefined)
    throw new McpAuthError("invalid_option", { detail: "`clientSecret` without `clientId`" });
  if (options.clientMetadataUrl !== undefined) checkClientMetadataUrl(options.clientMetadataUrl);
  const server = withoutQuery(serverUrl.href);
  const emit = emitter(options.onEvent, server);
  const store = namingFailures(options.store ?? new MemoryStore(), server);
  const keeper = new TokenKeeper({ store, clock, emit, serverUrl: server, account, clientId });
  return { serverUrl, server, options, store, keeper, http, clock, emit, lastError: undefined, disposed: undefined };
}

/** How requests to an authorization server differ from the rule: its profile, overridden by the app's options. */
export function requestProfile({ options, server }: Session, issuer: string): Partial<Profile> {
  const profile = profileFor(issuer, server);
  const { resourceParameter, redirectHost, refreshScope, bearer } = options;
  return {
    ...profile,
    ...defined({ resourceParameter, redirectHost, refreshScope, bearer }),
    authorizationParameters: { ...profile?.authorizationParameters, ...options.authorizationParameters },
  };
}

/** How long a person has for a login, in ms. */
export function loginTimeout(options: TokenManagerOptions): number {
  return options.loginTimeout ?? 300_000;
}

/**
 * Metadata of the server that issued a login. What has expired is used once more, so that a refresh need not wait, and
 * renewed meanwhile; beyond a week it is renewed first, but is still better than none.
 */
export async function serverMetadata(
  session: Session,
  { issuer, resource }: Pick<TokenRecord, "issuer" | "resource">,
): Promise<AuthorizationServerMetadata> {
  const { store, server, clock, http, emit, options } = session;
  const known = await readDiscovery(store, server);
  const cached = known?.issuer === issuer ? known : undefined;
  const now = clock.now();
  if (cached && now < cached.validUntil) return cached.server;

  const renew = async () => {
    const found = await findAuthorizationServer(issuer, { http, clock, emit, strictIssuer: options.strictIssuer });
    const times = { fetchedAt: now, validUntil: found.cacheable ? now + metadataLifeMs : now };
    // Where another server is known, the login is about to move there. A cache that cannot be written costs nothing but time.
    if (cached || !known) {
      const base = cached ?? { serverUrl: server, resource, issuer, legacy: false };
      await writeDiscovery(store, { ...base, server: found.value, ...times }).catch(() => {});
    }
    return found.value;
  };
  if (!cached) return renew();
  const renewed = renew().catch(() => cached.server);
  return now - cached.fetchedAt < usableLifeMs ? cached.server : renewed;
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
