import { splitScope } from "../authorization/scopes.ts";
import { readDiscovery, writeDiscovery } from "../discovery/cache.ts";
import type { Challenge } from "../discovery/challenge.ts";
import { type AuthorizationServerMetadata, canonical, discover, speculate } from "../discovery/discovery.ts";
import { discoverProtectedResource } from "../discovery/resource-metadata.ts";
import { isSameIssuer } from "../discovery/server-metadata.ts";
import { unless } from "../errors.ts";
import { probe } from "../login/probe.ts";
import { serverMetadata } from "../tokens/known-server.ts";
import type { MachineRecord } from "./record.ts";
import type { RequestSession } from "./request-session.ts";

/** Where tokens for the protected server are asked for, and what they are for. */
export interface Target {
  server: AuthorizationServerMetadata;
  /** Identifier of the protected resource. */
  resource: string;
  /** Scopes that the server's challenge names, else its metadata. */
  scopes: readonly string[];
}

/** An authorization server and what its tokens are for. */
interface Place {
  issuer: string;
  resource: string;
  scopes?: readonly string[] | undefined;
  /** Its metadata, where they were found just now. */
  server?: AuthorizationServerMetadata;
}

/**
 * Finds the authorization server: the one that the app has named, else the one that the protected server names.
 *
 * @param record the token that there was before
 * @param refusal the server's, where there is one: it may have moved
 * @returns `undefined` when the server wants no token
 * @throws McpAuthError every code of discovery; `client_issuer_mismatch` when the server names another one than before
 */
export async function findTarget(
  session: RequestSession,
  record: MachineRecord | undefined,
  refusal: Challenge | undefined,
): Promise<Target | undefined> {
  const { options, serverUrl } = session;
  const { tokenEndpoint, issuer, resource } = options;
  const named = { resource: resource ?? canonical(serverUrl), scopes: splitScope(refusal?.scope) };
  if (tokenEndpoint !== undefined)
    return { ...named, server: { issuer: issuer ?? new URL(tokenEndpoint).origin, token_endpoint: tokenEndpoint } };
  if (issuer !== undefined) return { ...named, server: await serverMetadata(session, { issuer, resource: named.resource }) };

  const place = (await knownPlace(session, record, refusal)) ?? (await discoverPlace(session, refusal));
  if (!place) return undefined;
  const server = place.server ?? (await serverMetadata(session, place));
  return { server, resource: resource ?? place.resource, scopes: place.scopes ?? named.scopes };
}

/** Where it was before, unless the server has moved. */
async function knownPlace(
  session: RequestSession,
  record: MachineRecord | undefined,
  refusal: Challenge | undefined,
): Promise<Place | undefined> {
  const { store, server, serverUrl, http, clock, options } = session;
  const discovery = record ?? (await readDiscovery(store, server));
  if (!discovery) return undefined;
  const { issuer, resource, scopesSupported } = { scopesSupported: undefined, ...discovery };
  // What a server said that was not itself for a while, or to another program, must not stay in the way.
  if (!(await unless("client_issuer_mismatch", session.binding.bind(issuer), false))) return undefined;
  // Which scopes are needed, of all that there are, the server alone says.
  const challenge = refusal ?? (record || options.scopes?.length ? undefined : await probe(session, undefined));
  if (!challenge) return { issuer, resource, scopes: scopesSupported };
  const found = await discoverProtectedResource(serverUrl, { http, clock, challenge }).catch(() => undefined);
  if (found?.authorizationServers.every((name) => !isSameIssuer(name, issuer, options.strictIssuer))) return undefined;
  return { issuer, resource, scopes: scopesOf(challenge, found?.scopesSupported ?? scopesSupported) };
}

/** The usual places of metadata are asked while the server is asked where it is. */
async function discoverPlace(session: RequestSession, refusal: Challenge | undefined): Promise<Place | undefined> {
  const { serverUrl, http, clock, emit, store, options } = session;
  const guessing = new AbortController();
  const speculation = refusal?.resourceMetadata ? new Map() : speculate(serverUrl, { http, clock, signal: guessing.signal });
  try {
    const challenge = refusal ?? (await probe(session, undefined));
    const isOpen = !challenge && !(await discoverProtectedResource(serverUrl, { http, clock, speculation }).catch(() => undefined));
    if (isOpen) return undefined;
    const { strictIssuer } = options;
    const discovery = await discover(serverUrl, { http, clock, emit, challenge, speculation, strictIssuer });
    await session.binding.bind(discovery.issuer);
    await writeDiscovery(store, discovery).catch(() => {});
    return { ...discovery, scopes: scopesOf(challenge, discovery.scopesSupported) };
  } finally {
    // One that hangs would keep the process alive.
    guessing.abort();
  }
}

function scopesOf(challenge: Challenge | undefined, supported: readonly string[] | undefined): readonly string[] | undefined {
  const challenged = splitScope(challenge?.scope);
  return challenged.length > 0 ? challenged : supported;
}
