import { type Clock, systemClock } from "../clock.ts";
import { codeOf, isTransient, McpAuthError, withoutQuery } from "../errors.ts";
import { type AuthEventFacts, type Emit, quietly } from "../events.ts";
import { createHttp, type Http } from "../http/http.ts";
import { quoted, strings } from "../http/json.ts";
import {
  callback,
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
  /** The server's refusal: the URL that it names is asked first. */
  challenge?: Challenge | undefined;
  /** Receives events about concessions. */
  onEvent?: ((event: AuthEventFacts) => void) | undefined;
  /** Ends the search; its reason is thrown. */
  signal?: AbortSignal | undefined;
}

const resourceRules = (): Rules<DiscoverProtectedResourceOptions> => ({
  http: httpRule(),
  clock: clockRule(),
  challenge: challengeRule,
  onEvent: callback,
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
 * Finds the metadata of a protected server: at the URL that its challenge names, else, or where that has no valid
 * document, at the well-known places.
 *
 * @returns `undefined` when there is no such document, and no challenge names one: a server of 2025-03-26.
 * @throws McpAuthError `resource_mismatch` when the URL that the challenge names, or else every document, is about another
 *   server; `invalid_resource_metadata` when the challenge names a URL, and neither that nor any well-known place has a
 *   valid document; `network_error`, `timeout`, `server_error`, `rate_limited` when asking failed; `signal.reason`.
 * @see RFC 9728 §3, §5
 */
export async function discoverProtectedResource(
  serverUrl: string | URL,
  options: DiscoverProtectedResourceOptions = {},
): Promise<ProtectedResource | undefined> {
  checkOptions({ serverUrl }, { serverUrl: needed(url) });
  checkOptions(options, resourceRules());
  const { http = createHttp(), clock = systemClock, challenge, onEvent, signal } = options;
  return (await findProtectedResource(serverUrl, { http, clock, challenge, emit: quietly(onEvent), signal }))?.value;
}

/** What it takes to find the metadata of a protected server. */
export interface ResourceSearch {
  http: Http;
  clock: Clock;
  challenge?: Challenge | undefined;
  /** Requests that {@link speculate} has started. */
  speculation?: Speculation | undefined;
  /** Reports concessions. Default: nobody is interested. */
  emit?: Emit | undefined;
  signal?: AbortSignal | undefined;
}

/** {@link discoverProtectedResource}, and how long the answer may be kept. */
export async function findProtectedResource(
  serverUrl: string | URL,
  search: ResourceSearch,
): Promise<Found<ProtectedResource> | undefined> {
  const { http, clock, challenge, speculation, emit, signal } = search;
  const server = http.checkUrl(serverUrl);
  const look = (url: string, whileNeeded?: AbortSignal) =>
    fetchDocument(url, (document) => validate(document, server), { http, clock, signal: whileNeeded, first: speculation?.get(url) });

  const named = challenge?.resourceMetadata;
  if (named === undefined) return findWellKnown(wellKnownUrls(server), look, search);
  try {
    return await look(http.checkUrl(named).href, signal);
  } catch (failure) {
    if (signal?.aborted || !(failure instanceof McpAuthError) || failure.code === "resource_mismatch") throw failure;
    const others = wellKnownUrls(server).filter((url) => url !== URL.parse(named)?.href);
    const found = await findWellKnown(others, look, search);
    if (!found) throw isTransient(failure) ? failure : noDocument(named, server, failure);
    emit?.({ type: "discovery.concession", concession: "resource-metadata-url", detail: shown(named) });
    return found;
  }
}

/** Asks the well-known places; `undefined` where none has a document. */
function findWellKnown(
  urls: readonly string[],
  look: (url: string, whileNeeded: AbortSignal) => Promise<Found<ProtectedResource>>,
  { clock, signal }: ResourceSearch,
): Promise<Found<ProtectedResource> | undefined> {
  const candidates = urls.map((url) => (whileNeeded: AbortSignal) => look(url, whileNeeded));
  return firstByPriority(candidates, { clock, signal }, (reasons) => {
    // A document of another server, or a server that fails for the moment, does not mean that there is no document.
    const stop = reasons.find((reason) => codeOf(reason) === "resource_mismatch") ?? reasons.find(isTransient);
    if (stop) throw stop;
    return undefined;
  });
}

/** The error for a URL in a challenge that leads to no document, where the well-known places have none either. */
function noDocument(named: string, { href: serverUrl }: URL, cause: McpAuthError): McpAuthError {
  const isRelative = !URL.canParse(named);
  const [flaw, must] = {
    insecure_url: [", plain http", "it must be an https URL. For development, name its host in `allowInsecure`"],
    invalid_url: isRelative ? [", which is relative", "it must be an absolute URL"] : ["", "it must be an https URL without user name"],
  }[cause.code as string] ?? ["", "there must be a valid document"];
  return new McpAuthError("invalid_resource_metadata", {
    serverUrl,
    status: cause.status,
    detail: `its challenge names ${shown(named)}${flaw}`,
    hint: `Tell the operator of the server, about \`resource_metadata\` in its challenge: ${must}.`,
    cause,
  });
}

/** A URL from a challenge, fit for messages and events: no user name, no query, no control characters. */
export function shown(url: string): string {
  return quoted(withoutQuery(url).replace(/\/\/[^/]*@/, "//")).slice(1, -1);
}

/** By falling priority (REQ-DISC-02). */
function wellKnownUrls({ origin, pathname }: URL): string[] {
  const base = `${origin}/.well-known/oauth-protected-resource`;
  // RFC 9728 §3.1 keeps a final slash of the path, most servers do not.
  return [...new Set([pathname === "/" ? "" : pathname, pathname.replace(/\/$/, ""), ""].map((path) => base + path))];
}

function validate({ url, json }: MetadataDocument, server: URL): ProtectedResource {
  // GitLab lists its one name.
  const [resource, ...more] = [json.resource].flat();
  if (more.length > 0 || typeof resource !== "string") throw new McpAuthError("discovery_failed", { detail: `${url} has no \`resource\`` });
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
    `${comparable(server)}/`.startsWith(comparable(url).replace(/\/?$/, "/"))
  );
}

/** A path with one way to write each percent-encoded byte (RFC 3986 §6.2.2.1). */
function comparable({ pathname }: URL): string {
  return pathname.replace(/%[0-9a-f]{2}/gi, (byte) => byte.toUpperCase());
}
