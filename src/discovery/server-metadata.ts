import type { AuthorizationServer } from "oauth4webapi";
import { type Clock, systemClock } from "../clock.ts";
import { codeOf, detailOf, factsOf, isTransient, McpAuthError, type McpAuthErrorDetails, type McpAuthErrorParty } from "../errors.ts";
import { type AuthEventFacts, type Emit, quietly } from "../events.ts";
import { createHttp, type Http } from "../http/http.ts";
import { quoted } from "../http/json.ts";
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
import { noEndpoint, usableMembers } from "./endpoints.ts";
import { acceptIssuer, type IssuerName, type IssuerRules } from "./issuer-names.ts";

/**
 * Metadata of an authorization server (RFC 8414 §2, OpenID Connect Discovery §3), validated. Endpoints that cannot be used are
 * left out, and named in `unusable_endpoints`.
 */
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
 * specification's order counts. For an issuer with a path, the place of the host itself comes last.
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

/** What a caller may need of a server. */
export type Need = "authorization_endpoint" | "token_endpoint" | "code_challenge_methods_supported";

/** What it takes to find an authorization server. */
export interface ServerSearch extends IssuerRules {
  http: Http;
  clock: Clock;
  emit: Emit;
  signal?: AbortSignal | undefined;
  /** Who has named the issuer. Default: the app. */
  namedBy?: McpAuthErrorParty | undefined;
  /** What the caller needs and this server lacks: one that lacks anything is passed over. Default: a token endpoint. */
  lacks?: ((server: AuthorizationServerMetadata) => readonly Need[]) | undefined;
  /** Where to look. Default: {@link wellKnownPlaces}. */
  places?: readonly string[] | undefined;
  /** What can be done where the issuer has no metadata. Default: the error's own. */
  hint?: string | undefined;
}

/** {@link discoverAuthorizationServer}, and how long the answer may be kept. */
export async function findAuthorizationServer(issuer: string, search: ServerSearch): Promise<FoundServer> {
  const { http, clock, signal, emit, namedBy, issuerAlias } = search;
  const { origin, pathname } = http.checkUrl(issuer, blaming(namedBy, issuer));
  const validate = (document: MetadataDocument) => validateServer(document, issuer, search);
  const look = (urls: readonly string[]) =>
    firstByPriority(
      urls.map((url) => (whileNeeded: AbortSignal) => fetchDocument(url, validate, { http, clock, signal: whileNeeded })),
      { clock, signal },
      (reasons) => reasons,
    );

  // The name of an alias may have been stored, of which only the other one is reachable.
  const aliased = issuerAlias?.found === issuer ? wellKnownPlaces(http.checkUrl(issuerAlias.expected)) : [];
  const found = await look(search.places ?? [...wellKnownPlaces(new URL(issuer)), ...aliased]);
  if (!isNone(found)) return conceding(found, emit);
  // A host that cannot be reached has no other place either.
  if (search.places || pathname === "/" || found.every(isTransient)) return noServer(issuer, found, search.hint);

  const root = `${origin}/.well-known/oauth-authorization-server`;
  const atRoot = await look([root]);
  // A document of the host itself says nothing about an issuer below it.
  if (isNone(atRoot)) return noServer(issuer, [...found, ...atRoot.filter((error) => isFlawed(error) && !isMismatch(error))], search.hint);
  const concession = { concession: "metadata-place", detail: root } as const;
  return conceding({ ...atRoot, value: { concession, ...atRoot.value } }, emit);
}

function isNone<T>(found: Found<T> | readonly unknown[]): found is readonly unknown[] {
  return Array.isArray(found);
}

/** What an error about a URL says whose it is. */
function blaming(party: McpAuthErrorParty | undefined, issuer: string): McpAuthErrorDetails {
  if (party === undefined) return { issuer };
  const hint =
    "Tell the operator of the server: it must name its authorization server by an https URL. For development, name the host in `allowInsecure`.";
  return { issuer, party, hint };
}

/** Where an issuer's metadata are, by falling priority. */
export function wellKnownPlaces({ origin, pathname }: URL): string[] {
  const path = pathname.replace(/\/$/, "");
  return [
    `${origin}/.well-known/oauth-authorization-server${path}`,
    `${origin}/.well-known/openid-configuration${path}`,
    ...(path ? [`${origin}${path}/.well-known/openid-configuration`] : []),
  ];
}

/** A document that was accepted. */
export interface AcceptedServer extends Omit<IssuerName, "issuer"> {
  server: AuthorizationServerMetadata;
}

/** Reports a name that differs from the one that was looked for. */
export function conceding({ value: { server, concession }, ...found }: Found<AcceptedServer>, emit: Emit): FoundServer {
  if (concession) emit({ type: "discovery.concession", ...concession, issuer: server.issuer });
  return { ...found, value: server };
}

/** What is wrong with a document: one clause, for the error of the whole search. */
const flaws = new WeakMap<object, string>();

function flawed(code: "issuer_mismatch" | "pkce_unsupported" | "discovery_failed", issuer: string, flaw: string): McpAuthError {
  const error = new McpAuthError(code, { issuer, detail: flaw });
  flaws.set(error, flaw);
  return error;
}

/**
 * Checks a document against the issuer whose place it was found at, and against what the caller needs.
 *
 * @throws McpAuthError `issuer_mismatch`; `pkce_unsupported` when nothing but S256 is missing, `discovery_failed` when more is
 */
export function validateServer({ url, json }: MetadataDocument, issuer: string, search: ServerSearch): AcceptedServer {
  if (typeof json.issuer !== "string") throw new McpAuthError("discovery_failed", { detail: `${url} has no \`issuer\`` });
  const name = acceptIssuer(json.issuer, issuer, search);
  if (!name) throw flawed("issuer_mismatch", issuer, `${url} is about ${quoted(json.issuer)}, not ${quoted(issuer)}`);
  const server = { ...usableMembers(json, search.http), issuer: name.issuer } as AuthorizationServerMetadata;
  const missing = (search.lacks ?? lacksToken)(server);
  if (missing.length === 0) return { server, ...(name.concession && { concession: name.concession }) };
  const isPkce = (need: Need) => need === "code_challenge_methods_supported";
  const words = missing.map((need) =>
    isPkce(need) ? "no S256" : `${noEndpoint(server, need)}${isPlainHttp(json[need]) ? " (plain http)" : ""}`,
  );
  throw flawed(missing.every(isPkce) ? "pkce_unsupported" : "discovery_failed", issuer, `${url}: ${words.join(", ")}`);
}

const isPlainHttp = (value: unknown) => typeof value === "string" && /^http:/i.test(value);

const lacksToken = (server: AuthorizationServerMetadata): readonly Need[] => (server.token_endpoint ? [] : ["token_endpoint"]);

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

const isMismatch = (reason: unknown) => codeOf(reason) === "issuer_mismatch";

/** Whether an error is about documents that there are, and cannot be used. */
export function isFlawed(error: unknown): boolean {
  return flaws.has(Object(error));
}

/**
 * Throws one error for all places that were tried. First what is nearest to a login, then a mismatch: it is the one that may
 * be an attack. A place that is empty says nothing where another fails for the moment: there a server may have its document.
 */
export function noServer(issuer: string, reasons: readonly unknown[], otherwise?: string): never {
  const rank = (reason: unknown) => (codeOf(reason) === "pkce_unsupported" ? 2 : Number(isMismatch(reason)));
  const errors = [...reasons].sort((a, b) => rank(b) - rank(a));
  const failure = errors.every((error) => isTransient(error) || isAbsence(error)) ? errors.find(isTransient) : undefined;
  const code = (rank(errors[0]) > 0 ? codeOf(errors[0]) : failure?.code) ?? "discovery_failed";
  const isUnanswered = code === "network_error" || code === "timeout";
  const party = isUnanswered ? "network" : "authorization-server";
  const found = [...new Set(errors.flatMap((error) => flawOf(error) ?? []))].join("; ");
  const hint = code === "discovery_failed" ? otherwise : undefined;
  const detail = found || failedPlaces(errors);
  const facts = failure && code === failure.code ? factsOf(failure) : undefined;
  const error = new McpAuthError(code, { ...facts, issuer, party, hint, detail, cause: new AggregateError(errors) });
  if (found) flaws.set(error, found);
  throw error;
}

/** Nothing is there. */
function isAbsence(error: unknown): boolean {
  return error instanceof McpAuthError && error.code === "discovery_failed" && !flaws.has(error);
}

/** Where was asked, and what was answered: for one who looks into it by hand. */
function failedPlaces(errors: readonly unknown[]): string | undefined {
  const places = errors.map((error) => (error instanceof McpAuthError ? (detailOf(error) ?? error.code) + status(error) : undefined));
  return [...new Set(places)].filter(Boolean).slice(0, 4).join("; ") || undefined;
}

function status({ status }: McpAuthError): string {
  return status === undefined ? "" : ` (${status})`;
}

function flawOf(error: unknown): string | undefined {
  const { issuer } = Object(error) as { issuer?: unknown };
  if (codeOf(error) === "insecure_url") return `${quoted(issuer)} is plain http`;
  if (codeOf(error) === "invalid_url") return `${quoted(issuer)} is no https URL`;
  return flaws.get(Object(error));
}
