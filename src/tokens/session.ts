import { readDiscovery, writeDiscovery } from "../discovery/cache.ts";
import type { AuthorizationServerMetadata } from "../discovery/discovery.ts";
import { findAuthorizationServer } from "../discovery/server-metadata.ts";
import { McpAuthError } from "../errors.ts";
import { defined } from "../http/json.ts";
import { type Profile, profileFor } from "../profiles/profiles.ts";
import { checkClientMetadataUrl } from "../registration/client-metadata-url.ts";
import type { TokenManagerOptions } from "./options.ts";
import { createServerSession, type ServerSession } from "./server-session.ts";
import { TokenKeeper } from "./token-keeper.ts";
import type { TokenRecord } from "./token-record.ts";

/** How long metadata of an authorization server that was asked for by itself is kept, in ms. */
const metadataLifeMs = 24 * 60 * 60_000;
/** How long it is used although it has expired, in ms. */
const usableLifeMs = 7 * metadataLifeMs;

/** What the parts of a token manager share: the options, checked and completed. */
export interface Session extends ServerSession {
  readonly options: TokenManagerOptions;
  readonly keeper: TokenKeeper;
}

/** @throws McpAuthError `invalid_url`, `insecure_url` or `invalid_option`. */
export function createSession(options: TokenManagerOptions): Session {
  const { account, clientId, clientSecret } = options;
  if (clientSecret !== undefined && clientId === undefined)
    throw new McpAuthError("invalid_option", { detail: "`clientSecret` without `clientId`" });
  if (options.clientMetadataUrl !== undefined) checkClientMetadataUrl(options.clientMetadataUrl);
  const session = createServerSession(options);
  const { store, clock, emit, server: serverUrl } = session;
  // Assigned, not spread: the session's own fields change while it lives.
  return Object.assign(session, { options, keeper: new TokenKeeper({ store, clock, emit, serverUrl, account, clientId }) });
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
