import type { AuthorizationServer } from "oauth4webapi";
import { type Clock, systemClock } from "../clock.ts";
import { codeOf, isTransient, McpAuthError, type McpAuthErrorParty } from "../errors.ts";
import { type AuthEventFacts, type Emit, quietly } from "../events.ts";
import { createHttp, type Http } from "../http/http.ts";
import { quoted, strings } from "../http/json.ts";
import {
  callback,
  checkOptions,
  clock as clockRule,
  flag,
  http as httpRule,
  needed,
  type Rules,
  serverMetadata,
  signal as signalRule,
  text,
} from "../options.ts";
import { type Found, firstByPriority } from "./candidates.ts";
import { fetchDocument, type MetadataDocument } from "./document.ts";

/** Metadata of an authorization server (RFC 8414 §2, OpenID Connect Discovery §3), validated. */
export type AuthorizationServerMetadata = AuthorizationServer;

/** Options of {@link discoverAuthorizationServer}. */
export interface DiscoverAuthorizationServerOptions {
  /** Default: `createHttp()`. */
  http?: Http | undefined;
  /** Default: `systemClock`. */
  clock?: Clock | undefined;
  /** Receives events about concessions. */
  onEvent?: ((event: AuthEventFacts) => void) | undefined;
  /** Forbids the concession that an empty path and `/` are the same issuer. */
  strictIssuer?: boolean | undefined;
  /** Ends the search; its reason is thrown. */
  signal?: AbortSignal | undefined;
}

const serverRules = (): Rules<DiscoverAuthorizationServerOptions> => ({
  http: httpRule(),
  clock: clockRule(),
  onEvent: callback,
  strictIssuer: flag,
  signal: signalRule(),
});

/** An authorization server that was found. */
export type FoundServer = Found<AuthorizationServerMetadata>;

/**
 * Finds the metadata of an authorization server: at all well-known places at once, the first valid one by the
 * specification's order counts.
 *
 * The result has a `token_endpoint`; whether it has what a user's login needs is for the login to check
 * ({@link requirePkce}).
 *
 * @param issuer as it stands in the resource's metadata
 * @throws McpAuthError `issuer_mismatch` when documents were found, but of other issuers; otherwise
 *   `discovery_failed`, or what all places failed with for the moment (`network_error`, `server_error` …). `cause`
 *   is an AggregateError with each place's reason. `invalid_url`, `insecure_url` for the issuer; `signal.reason`.
 * @see RFC 8414 §3, OpenID Connect Discovery 1.0 §4; MCP 2026-07-28, Authorization Server Metadata Discovery
 */
export async function discoverAuthorizationServer(
  issuer: string,
  options: DiscoverAuthorizationServerOptions = {},
): Promise<AuthorizationServerMetadata> {
  checkOptions({ issuer }, { issuer: needed(text) });
  checkOptions(options, serverRules());
  const { http = createHttp(), clock = systemClock, onEvent, strictIssuer, signal } = options;
  return (await findAuthorizationServer(issuer, { http, clock, emit: quietly(onEvent), strictIssuer, signal })).value;
}

/** What it takes to find an authorization server. */
export interface ServerSearch {
  http: Http;
  clock: Clock;
  emit: Emit;
  /** Forbids the concession that an empty path and `/` are the same issuer. */
  strictIssuer?: boolean | undefined;
  signal?: AbortSignal | undefined;
  /** Who has named the issuer. Default: the app. */
  namedBy?: McpAuthErrorParty | undefined;
}

/** {@link discoverAuthorizationServer}, and how long the answer may be kept. */
export async function findAuthorizationServer(issuer: string, search: ServerSearch): Promise<FoundServer> {
  const { http, clock, signal, emit, strictIssuer, namedBy } = search;
  const { origin, pathname } = http.checkUrl(issuer, { issuer, party: namedBy });
  const path = pathname.replace(/\/$/, "");
  const urls = [
    `${origin}/.well-known/oauth-authorization-server${path}`,
    `${origin}/.well-known/openid-configuration${path}`,
    ...(path ? [`${origin}${path}/.well-known/openid-configuration`] : []),
  ];
  const validate = (document: MetadataDocument) => validateServer(document, issuer, http, strictIssuer);
  const candidates = urls.map((url) => (whileNeeded: AbortSignal) => fetchDocument(url, validate, { http, clock, signal: whileNeeded }));
  return conceding(await firstByPriority(candidates, { clock, signal }, (reasons) => noServer(issuer, reasons)), issuer, emit);
}

/** Reports an issuer that differs from the expected one by a final slash. */
export function conceding(found: FoundServer, detail: string, emit: Emit): FoundServer {
  const { issuer } = found.value;
  if (issuer !== detail) emit({ type: "discovery.concession", concession: "issuer-final-slash", issuer, detail });
  return found;
}

/**
 * Checks a document against the issuer whose place it was found at.
 *
 * @throws McpAuthError `issuer_mismatch`; `discovery_failed` without token endpoint; `invalid_url`, `insecure_url`
 *   for an endpoint.
 */
export function validateServer(
  { url, json }: MetadataDocument,
  issuer: string,
  http: Http,
  strictIssuer: boolean | undefined,
): AuthorizationServerMetadata {
  if (typeof json.issuer !== "string") throw new McpAuthError("discovery_failed", { detail: `${url} has no \`issuer\`` });
  if (!isSameIssuer(json.issuer, issuer, strictIssuer)) {
    throw new McpAuthError("issuer_mismatch", { issuer, detail: `${url} is about ${quoted(json.issuer)}` });
  }

  const theirs = { issuer, party: "authorization-server" } as const;
  // Members of a wrong type count as absent, so that no later check is needed.
  const metadata: Record<string, unknown> = { ...json };
  for (const [name, value] of Object.entries(json)) {
    if (name.endsWith("_supported") && typeof value !== "boolean") metadata[name] = strings(value);
    if (name.endsWith("_endpoint")) metadata[name] = typeof value === "string" && http.checkUrl(value, theirs) ? value : undefined;
    if (metadata[name] === undefined) delete metadata[name];
  }
  for (const alias of Object.values(json.mtls_endpoint_aliases ?? {})) http.checkUrl(String(alias), theirs);
  if (!metadata.token_endpoint) throw new McpAuthError("discovery_failed", { detail: `${url} has no \`token_endpoint\`` });
  return metadata as unknown as AuthorizationServerMetadata;
}

/**
 * Whether two identifiers name the same issuer: equal character by character, except that `https://host` and
 * `https://host/` are the same (Google's servers differ in it) unless `strict`. Nothing else is normalised.
 */
export function isSameIssuer(a: string, b: string, strict = false): boolean {
  return a === b || (!strict && bare(a) === bare(b));
}

function bare(issuer: string): string {
  return issuer.replace(/^(https?:\/\/[^/?#]+)\/$/, "$1");
}

/**
 * Refuses servers that do not support PKCE with S256, as every login of a user must.
 *
 * @throws McpAuthError `pkce_unsupported`; `invalid_option`
 * @see MCP 2026-07-28, Authorization Code Protection; RFC 7636
 */
export function requirePkce(server: AuthorizationServerMetadata): void {
  checkOptions({ server }, { server: needed(serverMetadata) });
  if (!server.code_challenge_methods_supported?.includes("S256")) throw new McpAuthError("pkce_unsupported", { issuer: server.issuer });
}

/** Throws one error for all places that were tried, a mismatch first: it is the one that may be an attack. */
export function noServer(issuer: string, reasons: readonly unknown[]): never {
  const isMismatch = (reason: unknown) => codeOf(reason) === "issuer_mismatch";
  const errors = [...reasons].sort((a, b) => Number(isMismatch(b)) - Number(isMismatch(a)));
  const code = (isMismatch(errors[0]) || errors.every(isTransient) ? codeOf(errors[0]) : undefined) ?? "discovery_failed";
  const isUnanswered = code === "network_error" || code === "timeout";
  const party = isUnanswered ? "network" : "authorization-server";
  throw new McpAuthError(code, { issuer, party, cause: new AggregateError(errors) });
}
