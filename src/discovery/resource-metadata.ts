import { type Clock, systemClock } from "../clock.ts";
import { codeOf, isTransient, McpAuthError } from "../errors.ts";
import { createHttp, type Http } from "../http/http.ts";
import { quoted, strings } from "../http/json.ts";
import {
  challenge as challengeRule,
  checkOptions,
  clock as clockRule,
  http as httpRule,
  needed,
  type Rules,
  signal as signalRule,
  url,
} from "../options.ts";
import { type Found, firstByPriority } from "./candidates.ts";
import type { Challenge } from "./challenge.ts";
import { type DocumentOptions, fetchDocument, type MetadataDocument, requestDocument } from "./document.ts";

/** What a protected resource says about itself (RFC 9728 §2). */
export interface ProtectedResource {
  /** Its identifier, as it stands in the document. */
  resource: string;
  /** Issuers, as they stand in the document; at least one. */
  authorizationServers: readonly string[];
  /** `scopes_supported`, where given. */
  scopesSupported?: readonly string[] | undefined;
  /** Where it was found. */
  metadataUrl: string;
}

/** Options of {@link discoverProtectedResource}. */
export interface DiscoverProtectedResourceOptions {
  /** Default: `createHttp()`. */
  http?: Http | undefined;
  /** Default: `systemClock`. */
  clock?: Clock | undefined;
  /** The server's refusal: the URL that it names is the only one asked. */
  challenge?: Challenge | undefined;
  /** Ends the search; its reason is thrown. */
  signal?: AbortSignal | undefined;
}

const resourceRules = (): Rules<DiscoverProtectedResourceOptions> => ({
  http: httpRule(),
  clock: clockRule(),
  challenge: challengeRule,
  signal: signalRule(),
});

/** Well-known requests under way, by URL. */
export type Speculation = ReadonlyMap<string, Promise<MetadataDocument>>;

/**
 * Starts the well-known requests of a server, and nothing else, so that they run beside the first request to it.
 * Failures show when the result is used, never as an unhandled rejection.
 */
export function speculate(serverUrl: URL, { http, clock, signal }: DocumentOptions): Speculation {
  return new Map(
    wellKnownUrls(serverUrl).map((url) => {
      const document = requestDocument(url, { http, clock, signal });
      document.catch(() => {});
      return [url, document];
    }),
  );
}

/**
 * Finds the metadata of a protected server: at the URL that its challenge names, else at the well-known places.
 *
 * @returns `undefined` when there is no such document: a server of 2025-03-26.
 * @throws McpAuthError `resource_mismatch` when the only documents belong to another server,
 *   `invalid_resource_metadata` when the URL that the challenge names has no valid document; `server_error`,
 *   `rate_limited` and the codes of {@link Http} when asking failed; `signal.reason`.
 * @see RFC 9728 §3, §5
 */
export async function discoverProtectedResource(
  serverUrl: string | URL,
  options: DiscoverProtectedResourceOptions = {},
): Promise<ProtectedResource | undefined> {
  checkOptions({ serverUrl }, { serverUrl: needed(url) });
  checkOptions(options, resourceRules());
  const { http = createHttp(), clock = systemClock, challenge, signal } = options;
  return (await findProtectedResource(serverUrl, { http, clock, challenge, signal }))?.value;
}

/** What it takes to find the metadata of a protected server. */
export interface ResourceSearch {
  http: Http;
  clock: Clock;
  challenge?: Challenge | undefined;
  /** Requests that {@link speculate} has started. */
  speculation?: Speculation | undefined;
  signal?: AbortSignal | undefined;
}

/** {@link discoverProtectedResource}, and how long the answer may be kept. */
export async function findProtectedResource(
  serverUrl: string | URL,
  { http, clock, challenge, speculation, signal }: ResourceSearch,
): Promise<Found<ProtectedResource> | undefined> {
  const server = http.checkUrl(serverUrl);
  const look = (url: string, whileNeeded?: AbortSignal) =>
    fetchDocument(url, (document) => validate(document, server), { http, clock, signal: whileNeeded, first: speculation?.get(url) });

  const named = challenge?.resourceMetadata;
  if (named !== undefined) {
    return look(http.checkUrl(named, { serverUrl: server.href, party: "server" }).href, signal).catch((cause) => {
      if (codeOf(cause) !== "discovery_failed") throw cause;
      throw new McpAuthError("invalid_resource_metadata", { serverUrl: server.href, status: cause.status, cause });
    });
  }

  const candidates = wellKnownUrls(server).map((url) => (whileNeeded: AbortSignal) => look(url, whileNeeded));
  return firstByPriority(candidates, { clock, signal }, (reasons) => {
    // A document of another server, or a server that fails for the moment, does not mean that there is no document.
    const stop = reasons.find((reason) => codeOf(reason) === "resource_mismatch") ?? reasons.find(isTransient);
    if (stop) throw stop;
    return undefined;
  });
}

/** By falling priority (REQ-DISC-02). */
function wellKnownUrls({ origin, pathname }: URL): string[] {
  const base = `${origin}/.well-known/oauth-protected-resource`;
  // RFC 9728 §3.1 keeps a final slash of the path, most servers do not.
  return [...new Set([pathname === "/" ? "" : pathname, pathname.replace(/\/$/, ""), ""].map((path) => base + path))];
}

function validate({ url, json }: MetadataDocument, server: URL): ProtectedResource {
  const { resource } = json;
  if (typeof resource !== "string") throw new McpAuthError("discovery_failed", { detail: `${url} has no \`resource\`` });
  if (!covers(resource, server)) {
    throw new McpAuthError("resource_mismatch", { serverUrl: server.href, detail: `${url} is about ${quoted(resource)}` });
  }
  const authorizationServers = strings(json.authorization_servers) ?? [];
  if (authorizationServers.length === 0) throw new McpAuthError("discovery_failed", { detail: `${url} has no \`authorization_servers\`` });
  return { resource, authorizationServers, scopesSupported: strings(json.scopes_supported), metadataUrl: url };
}

/** Whether the server is the resource, or lies below its path. Queries of the server's URL say nothing about identity (REQ-DISC-04). */
function covers(resource: string, server: URL): boolean {
  const url = URL.parse(resource);
  return (
    url?.origin === server.origin &&
    !(url.hash || url.username || url.password) &&
    (url.search === "" || url.search === server.search) &&
    `${server.pathname}/`.startsWith(url.pathname.replace(/\/?$/, "/"))
  );
}
