import { splitScope } from "../authorization/scopes.ts";
import { readDiscovery, writeDiscovery } from "../discovery/cache.ts";
import type { Challenge } from "../discovery/challenge.ts";
import { type AuthorizationServerMetadata, canonical, discover, speculate } from "../discovery/discovery.ts";
import { isSameIssuer } from "../discovery/issuer-names.ts";
import { findProtectedResource } from "../discovery/resource-metadata.ts";
import { unless } from "../errors.ts";
import { probe } from "../login/probe.ts";
import { serverMetadata } from "../tokens/known-server.ts";
import { hasMoved, hasMovedMeanwhile } from "../tokens/moved-server.ts";
import type { MachineRecord } from "./record.ts";
import type { RequestSession } from "./request-session.ts";

/** Where tokens for the protected server are requested, and for which resource. */
export interface Target {
  server: AuthorizationServerMetadata;
  /** Identifier of the protected resource. */
  resource: string;
  /** Scopes of the server's challenge, else of its metadata. */
  scopes: readonly string[];
}

/** An authorization server, and the resource that its tokens are for. */
interface Place {
  issuer: string;
  resource: string;
  scopes?: readonly string[] | undefined;
  /** Its metadata, if they were fetched just now. */
  server?: AuthorizationServerMetadata;
}

/**
 * Finds the authorization server: the one in the app's options, else the one that the protected server names.
 *
 * @param record the previous token
 * @param refusal the server's challenge, if it refused: its authorization server may have changed
 * @returns `undefined` when the server needs no token
 * @throws McpAuthError every code of discovery; `client_issuer_mismatch` when the server names another authorization server than before
 */
export async function findTarget(
  session: RequestSession,
  record: MachineRecord | undefined,
  refusal: Challenge | undefined,
): Promise<Target | undefined> {
  const { options, serverUrl } = session;
  const { tokenEndpoint, issuer, resource } = options;
  const configured = { resource: resource ?? canonical(serverUrl), scopes: splitScope(refusal?.scope) };
  if (tokenEndpoint !== undefined)
    return { ...configured, server: { issuer: issuer ?? new URL(tokenEndpoint).origin, token_endpoint: tokenEndpoint } };
  if (issuer !== undefined) return { ...configured, server: await serverMetadata(session, { issuer, resource: configured.resource }) };

  const place = (await knownPlace(session, record, refusal)) ?? (await discoverPlace(session, refusal));
  if (!place) return undefined;
  const server = place.server ?? (await serverMetadata(session, place));
  return { server, resource: resource ?? place.resource, scopes: place.scopes ?? configured.scopes };
}

/** The authorization server of the previous token, else of a stored discovery, unless the protected server names another one now. */
function knownPlace(
  session: RequestSession,
  record: MachineRecord | undefined,
  refusal: Challenge | undefined,
): Promise<Place | undefined> {
  return record ? placeOf(session, record, refusal) : storedPlace(session, refusal);
}

async function placeOf(
  session: RequestSession,
  { issuer, resource }: MachineRecord,
  refusal: Challenge | undefined,
): Promise<Place | undefined> {
  if (!(await isBoundTo(session, issuer))) return undefined;
  // Where a token came from is known: metadata that are slow do not hold up the next one. The next refusal looks again.
  if (refusal && (await hasMovedMeanwhile(session.clock, hasMoved(session, refusal, issuer)))) return undefined;
  return { issuer, resource, scopes: refusal && splitScope(refusal.scope) };
}

async function storedPlace(session: RequestSession, refusal: Challenge | undefined): Promise<Place | undefined> {
  const { store, serverName, serverUrl, http, clock, options } = session;
  const stored = await readDiscovery(store, await serverName());
  if (!stored) return undefined;
  const { issuer, resource, scopesSupported } = stored;
  // Only the server's challenge says which of all scopes are needed.
  const challenge = refusal ?? (options.scopes?.length ? undefined : await probe(session, undefined));
  const found = challenge && (await findProtectedResource(serverUrl, { http, clock, challenge }).catch(() => undefined))?.value;
  if (found?.authorizationServers.every((name) => !isSameIssuer(name, issuer, options))) return undefined;
  // Not before: what another program has found must not bind this one to a server that is no longer named.
  if (!(await isBoundTo(session, issuer))) return undefined;
  return { issuer, resource, scopes: scopesOf(challenge, found?.scopesSupported ?? scopesSupported) };
}

/** Binds the program. A known server may be wrong, or another program's: then it is ignored, so that discovery can correct it. */
function isBoundTo(session: RequestSession, issuer: string): Promise<boolean> {
  return unless("client_issuer_mismatch", session.binding.bind(issuer), false);
}

/** Discovers the authorization server. Requests to the well-known URLs run beside the first request to the server. */
async function discoverPlace(session: RequestSession, refusal: Challenge | undefined): Promise<Place | undefined> {
  const { serverUrl, serverName, http, clock, emit, store, options } = session;
  const speculating = new AbortController();
  const speculation = refusal?.resourceMetadata ? new Map() : speculate(serverUrl, { http, clock, signal: speculating.signal });
  try {
    const challenge = refusal ?? (await probe(session, undefined));
    const isOpen = !challenge && !(await findProtectedResource(serverUrl, { http, clock, speculation }).catch(() => undefined));
    if (isOpen) return undefined;
    const { strictIssuer, issuerAlias } = options;
    const discovery = await discover(serverUrl, { http, clock, emit, challenge, speculation, strictIssuer, issuerAlias });
    await session.binding.bind(discovery.issuer);
    await writeDiscovery(store, await serverName(), discovery).catch(() => {});
    return { ...discovery, scopes: scopesOf(challenge, discovery.scopesSupported) };
  } finally {
    // A request that hangs would keep the process alive.
    speculating.abort();
  }
}

function scopesOf(challenge: Challenge | undefined, supported: readonly string[] | undefined): readonly string[] | undefined {
  const challenged = splitScope(challenge?.scope);
  return challenged.length > 0 ? challenged : supported;
}
