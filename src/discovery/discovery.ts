import type { Clock } from "../clock.ts";
import { isTransient, McpAuthError, withoutQuery } from "../errors.ts";
import type { Emit } from "../events.ts";
import type { Http } from "../http/http.ts";
import { type Found, firstByPriority } from "./candidates.ts";
import type { Challenge } from "./challenge.ts";
import { findGivenServer, type GivenServer, givenEndpoints, hintFor } from "./given-server.ts";
import { type IssuerRules, isSameIssuer } from "./issuer-names.ts";
import { findLegacyServer, isAssumed } from "./legacy.ts";
import { findProtectedResource, type ProtectedResource, type Speculation, shown } from "./resource-metadata.ts";
import {
  type AuthorizationServerMetadata,
  type FoundServer,
  findAuthorizationServer,
  noServer,
  type ServerSearch,
} from "./server-metadata.ts";

export { speculate } from "./resource-metadata.ts";
export type { AuthorizationServerMetadata, ProtectedResource, Speculation };

/** Where a protected server's logins happen. */
export interface Discovery {
  /** Without fragment. */
  serverUrl: string;
  /** What `resource` parameters say. */
  resource: string;
  /** As in the metadata, character by character; as it was looked for where those name all tenants. */
  issuer: string;
  server: AuthorizationServerMetadata;
  scopesSupported?: readonly string[] | undefined;
  /** Where the protected resource metadata was found. */
  resourceMetadataUrl?: string | undefined;
  /** `scope` of the challenge that led here. */
  challengedScope?: string | undefined;
  /** Without a token the server has refused the first request of a session: it refuses them all. */
  refusesSessions?: boolean | undefined;
  /** There is no protected resource metadata: a server of 2025-03-26, or a configured issuer. */
  legacy: boolean;
  /** Milliseconds since 1970. */
  fetchedAt: number;
  /** Milliseconds since 1970; equal to `fetchedAt` when it must not be kept. */
  validUntil: number;
}

export interface DiscoverOptions extends IssuerRules, GivenServer, Pick<ServerSearch, "lacks"> {
  http: Http;
  clock: Clock;
  emit: Emit;
  /** The server's refusal. */
  challenge?: Challenge | undefined;
  /** Requests under way, from `speculate`: used where the challenge names no other URL. */
  speculation?: Speculation | undefined;
  signal?: AbortSignal | undefined;
  /** Chooses one of several authorization servers. Default: of the first five by order, the first whose metadata validates and that serves. */
  chooseAuthorizationServer?: ((issuers: readonly string[], resource: ProtectedResource) => string | Promise<string>) | undefined;
  /** Configured issuer: wins over the resource's list when the list contains it; used as it is without resource metadata. */
  issuer?: string | undefined;
}

/** How many of the authorization servers that a protected server lists are tried, and how many at a time: a list costs requests. */
const triedServers = 5;
const atOnce = 2;

const minute = 60_000;
const day = 24 * 60 * minute;

/**
 * From a protected server's URL, and its challenge where there is one, to validated metadata of its authorization
 * server. Two rounds of requests at most, one with a speculation; one more where an issuer is only pointed to.
 *
 * @throws McpAuthError as `discoverProtectedResource` and `discoverAuthorizationServer`; `invalid_option` when the
 *   app chooses an authorization server that the resource does not name; `signal.reason`.
 */
export async function discover(serverUrl: URL, options: DiscoverOptions): Promise<Discovery> {
  const { clock, emit } = options;
  const url = withoutQuery(serverUrl.href);
  emit({ type: "discovery.started" });

  const given = givenEndpoints(options);
  const { protectedResource, broken } = given ? {} : await lookForResource(serverUrl, options);
  // What the app says is not kept: it says it each time.
  const found: FoundServer = given
    ? { value: given, cacheable: false, maxAgeMs: undefined }
    : await findServer(serverUrl, protectedResource, options).catch((error: unknown) => {
        throw broken && !isTransient(error) ? broken : error;
      });
  if (broken) {
    // A guess is no way around a server that says where its metadata are.
    if (isAssumed(found.value)) throw broken;
    emit({ type: "discovery.concession", concession: "resource-metadata-url", detail: shown(String(options.challenge?.resourceMetadata)) });
  }

  const fetchedAt = clock.now();
  // The resource's metadata is asked for anew at each login: what is kept is the authorization server's.
  const keep = Math.min(Math.max(found.maxAgeMs ?? day, 5 * minute), 7 * day);
  const cacheable = found.cacheable && protectedResource?.cacheable !== false;
  const discovery: Discovery = {
    serverUrl: url,
    resource: protectedResource?.value.resource ?? canonical(serverUrl),
    issuer: found.value.issuer,
    server: found.value,
    scopesSupported: protectedResource?.value.scopesSupported,
    resourceMetadataUrl: protectedResource?.value.metadataUrl,
    challengedScope: options.challenge?.scope,
    legacy: !protectedResource,
    fetchedAt,
    validUntil: cacheable ? fetchedAt + keep : fetchedAt,
  };
  const { resource, issuer, legacy } = discovery;
  emit({ type: "discovery.finished", resource, issuer, legacy });
  return discovery;
}

/** Metadata of the resource; `broken` where the challenge names some that are nowhere, which counts as if it named none. */
async function lookForResource(
  serverUrl: URL,
  options: DiscoverOptions,
): Promise<{ protectedResource?: Found<ProtectedResource> | undefined; broken?: McpAuthError }> {
  try {
    return { protectedResource: await findProtectedResource(serverUrl, options) };
  } catch (error) {
    if (!(error instanceof McpAuthError) || error.code !== "invalid_resource_metadata") throw error;
    return { broken: error };
  }
}

async function findServer(serverUrl: URL, found: Found<ProtectedResource> | undefined, options: DiscoverOptions): Promise<FoundServer> {
  const { issuer: configured, metadataUrl } = options;
  if (metadataUrl !== undefined) return findGivenServer(metadataUrl, options);
  if (!found)
    return configured === undefined
      ? findLegacyServer(serverUrl, options)
      : findAuthorizationServer(configured, { ...options, hint: hintFor(options) });

  const issuers = await chooseIssuers(found.value, options);
  const candidates = issuers.map(
    (issuer) => (signal: AbortSignal) => findAuthorizationServer(issuer, { ...options, signal, namedBy: "server" }),
  );
  return firstByPriority(candidates, { ...options, atOnce }, (reasons) => {
    if (reasons.length === 1) throw reasons[0];
    return noServer(issuers.join(" "), reasons);
  });
}

/** By falling preference (REQ-DISC-03). */
async function chooseIssuers(resource: ProtectedResource, options: DiscoverOptions): Promise<readonly string[]> {
  const { issuer: configured, chooseAuthorizationServer: choose } = options;
  const issuers = resource.authorizationServers;
  const preferred = configured !== undefined && issuers.find((issuer) => isSameIssuer(issuer, configured, options));
  if (preferred) return [preferred];
  if (!choose || issuers.length === 1) return [...new Set(issuers)].slice(0, triedServers);
  const chosen = await choose(issuers, resource);
  if (!issuers.includes(chosen)) {
    throw new McpAuthError("invalid_option", { detail: "`chooseAuthorizationServer` returned a server that is not in the list" });
  }
  return [chosen];
}

/** A server's identifier where it names none: no query, no fragment, no final slash where there is no path (REQ-AUTHZ-02). */
export function canonical({ origin, pathname }: URL): string {
  return pathname === "/" ? origin : origin + pathname;
}
