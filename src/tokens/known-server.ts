import { readDiscovery, writeDiscovery } from "../discovery/cache.ts";
import type { AuthorizationServerMetadata } from "../discovery/discovery.ts";
import { type GivenServer, givenEndpoints, hintFor } from "../discovery/given-server.ts";
import type { IssuerRules } from "../discovery/issuer-names.ts";
import { findAuthorizationServer, wellKnownPlaces } from "../discovery/server-metadata.ts";
import type { Http } from "../http/http.ts";
import { isWithin } from "../pause.ts";
import type { ServerSession } from "./session.ts";

type KnownServerSession = ServerSession & { options: IssuerRules & GivenServer };

/** How long metadata of an authorization server that was asked for by itself is kept, in ms. */
const metadataLifeMs = 24 * 60 * 60_000;
/** How long it is used although it has expired, in ms. */
const usableLifeMs = 7 * metadataLifeMs;

/** How long logins that are refreshed together share what one of them has read, in ms. */
const sharedMs = 10_000;

interface Shared {
  readonly since: number;
  readonly metadata: Promise<AuthorizationServerMetadata>;
}

/** What managers with the same `http`, and so the same options, have read a moment ago. By issuer. */
const shared = new WeakMap<Http, Map<string, Shared>>();

/**
 * Metadata of the server that issued a login. What has expired is used once more, so that a refresh need not wait, and
 * renewed meanwhile; beyond a week it is renewed first, but is still better than none.
 */
export function serverMetadata(
  session: KnownServerSession,
  login: { issuer: string; resource: string },
): Promise<AuthorizationServerMetadata> {
  const { http, clock } = session;
  const servers = shared.get(http) ?? new Map<string, Shared>();
  shared.set(http, servers);
  const known = servers.get(login.issuer);
  if (known && isWithin(known.since, sharedMs, clock.now())) return known.metadata;
  const metadata = readMetadata(session, login);
  const reading = { since: clock.now(), metadata };
  servers.set(login.issuer, reading);
  // A failure is not kept; what was read since then is.
  metadata.catch(() => {
    if (servers.get(login.issuer) === reading) servers.delete(login.issuer);
  });
  return metadata;
}

async function readMetadata(
  session: KnownServerSession,
  { issuer, resource }: { issuer: string; resource: string },
): Promise<AuthorizationServerMetadata> {
  const { store, server, serverName, clock, http, emit, options } = session;
  const given = givenEndpoints(options);
  if (given?.issuer === issuer) return given;
  const known = await readDiscovery(store, await serverName());
  const cached = known?.issuer === issuer ? known : undefined;
  const now = clock.now();
  if (cached && now < cached.validUntil) return cached.server;

  const renew = async () => {
    const { strictIssuer, issuerAlias, metadataUrl } = options;
    const places = metadataUrl === undefined ? undefined : [metadataUrl, ...wellKnownPlaces(http.checkUrl(issuer))];
    const hint = options.issuer === undefined ? undefined : hintFor(options);
    const found = await findAuthorizationServer(issuer, { http, clock, emit, strictIssuer, issuerAlias, places, hint });
    const times = { fetchedAt: now, validUntil: found.cacheable ? now + metadataLifeMs : now };
    // Where another server is known, the login is about to move there. A cache that cannot be written costs nothing but time.
    if (cached || !known) {
      const base = cached ?? { serverUrl: server, resource, issuer, legacy: false };
      await writeDiscovery(store, await serverName(), { ...base, server: found.value, ...times }).catch(() => {});
    }
    return found.value;
  };
  if (!cached) return renew();
  const renewed = renew().catch(() => cached.server);
  return now - cached.fetchedAt < usableLifeMs ? cached.server : renewed;
}
