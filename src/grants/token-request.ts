import { type ClientAuth, type ClientIdentity, clientAuthentication, formEncoded } from "../client-auth/secret.ts";
import { type Clock, systemClock } from "../clock.ts";
import { noEndpoint } from "../discovery/endpoints.ts";
import type { AuthorizationServerMetadata } from "../discovery/server-metadata.ts";
import { McpAuthError } from "../errors.ts";
import { faultOf, firewall } from "../http/fault.ts";
import type { Http } from "../http/http.ts";
import { defined, explanation, members, text } from "../http/json.ts";
import { hintFor } from "../http/refusal-hints.ts";
import { profileFor } from "../profiles/profiles.ts";

/** What every token request needs. */
export interface TokenRequestOptions {
  /** Metadata of the authorization server. */
  server: AuthorizationServerMetadata;
  /** The client, and how it authenticates. */
  client: ClientIdentity;
  /** Authenticates in another way than by a secret: by key, by certificate. */
  authentication?: ClientAuth | undefined;
  /** What sends. */
  http: Http;
  /** Measures how far away a date in `Retry-After` is. Default: `systemClock`. */
  clock?: Clock | undefined;
  /** Ends the request; its reason is thrown. */
  signal?: AbortSignal | undefined;
}

/** A token response, read as far as it can be read (RFC 6749 §5.1). */
export interface TokenResponse {
  /** Absent when the response was unusable but carried a refresh token, which must not be lost. */
  accessToken?: string | undefined;
  /** Replaces the one that was used; absent: that one stays. */
  refreshToken?: string | undefined;
  /** Not verified: it came from the token endpoint itself. */
  idToken?: string | undefined;
  /** Lifetime of the access token in seconds. */
  expiresIn?: number | undefined;
  /** Granted scopes where they differ from what was asked, separated by spaces. */
  scope?: string | undefined;
  /** Why the response cannot be used, when there is no access token. */
  problem?: McpAuthError | undefined;
}

/** Parameters that are not secret: an error may repeat them. */
const harmless = new Set(["redirect_uri", "resource", "scope", "audience"]);

/**
 * Sends one token request and reads the response.
 *
 * A 2xx response is read leniently: a server that sends `null`, a number as text or no `token_type` has consumed the
 * code or refresh token all the same, and what it issued in exchange must survive.
 *
 * @throws McpAuthError `discovery_failed` when there is no token endpoint, `invalid_grant`, `invalid_client`, `token_request_refused` (any other 4xx), `server_error`,
 *   `rate_limited`, `invalid_token_response`, and what `http.fetch` throws.
 * @see RFC 6749 §5.1, §5.2
 */
export async function tokenRequest(
  grantType: string,
  parameters: Record<string, string | undefined>,
  options: TokenRequestOptions,
): Promise<TokenResponse> {
  const { body, status } = await askForTokens(grantType, parameters, options);
  return readTokenResponse(body, options.server.issuer, status);
}

/**
 * Sends one token request.
 *
 * @returns the body of a 2xx response, not yet checked
 * @throws McpAuthError as {@link tokenRequest}, for any other response
 */
export async function askForTokens(
  grantType: string,
  parameters: Record<string, string | undefined>,
  options: TokenRequestOptions,
): Promise<{ body: Readonly<Record<string, unknown>>; status: number }> {
  const { server } = options;
  if (!server.token_endpoint)
    throw new McpAuthError("discovery_failed", { issuer: server.issuer, detail: noEndpoint(server, "token_endpoint") });
  const response = await postForm(server.token_endpoint, { grant_type: grantType, ...parameters }, options);
  const body = parse(await response.text());
  // Some servers report errors with status 200.
  if (response.ok && (body.access_token || body.refresh_token || !body.error)) return { body, status: response.status };
  throw endpointError(response, body, parameters, options);
}

/** Sends a form to an endpoint of the authorization server, with the client's authentication. Any status is a response. */
export async function postForm(
  endpoint: string,
  parameters: Record<string, string | undefined>,
  { server, client, authentication = clientAuthentication(client), http, signal }: TokenRequestOptions,
): Promise<Response> {
  const body = new URLSearchParams(defined(parameters) as Record<string, string>);
  const headers = new Headers({ accept: "application/json" });
  await authentication(server, { client_id: client.clientId }, body, headers);
  return http.fetch(endpoint, { method: "POST", headers, body, signal: signal ?? null });
}

/** Parses JSON or form encoding (GitHub); anything else counts as empty. */
export function parse(body: string): Readonly<Record<string, unknown>> {
  return /^\s*[\w.-]+=/.test(body) ? Object.fromEntries(new URLSearchParams(body.trim())) : members(body);
}

function readTokenResponse(body: Readonly<Record<string, unknown>>, issuer: string, status: number): TokenResponse {
  const accessToken = presentable(body.access_token);
  const refreshToken = text(body.refresh_token);
  const issued = {
    refreshToken,
    idToken: presentable(body.id_token),
    expiresIn: seconds(body.expires_in),
    scope: grantedScope(body.scope),
  };
  if (accessToken && isBearer(body.token_type, issuer)) return { accessToken, ...issued };
  const detail = accessToken ? "`token_type` is not Bearer" : "`access_token` is missing or not usable";
  const problem = new McpAuthError("invalid_token_response", { issuer, status, detail });
  if (refreshToken) return { ...issued, problem };
  throw problem;
}

/** Whether the type means `Bearer`: by its name, by its absence, or because this issuer has names of its own for it. */
function isBearer(tokenType: unknown, issuer: string): boolean {
  const type = text(tokenType)?.toLowerCase() ?? "bearer";
  return type === "bearer" || (profileFor(issuer, "")?.tokenTypes?.includes(type) ?? false);
}

/** Scopes, separated by spaces. Some servers list them, or separate them by commas (GitHub, Slack). @see RFC 6749 §3.3 */
function grantedScope(value: unknown): string | undefined {
  const scope = text(Array.isArray(value) ? value.join(" ") : value)?.replace(/,\s+/g, " ");
  return scope?.includes(" ") ? scope : scope?.replaceAll(",", " ");
}

/** The value, if a header can carry it (RFC 6749 §A.12): the error of an invalid header would quote it. */
export function presentable(value: unknown): string | undefined {
  return typeof value === "string" && /^[ -~]+$/.test(value) ? value : undefined;
}

/** A lifetime, from a number or text; `undefined` for 0 and for anything else. */
export function seconds(value: unknown): number | undefined {
  const number = typeof value === "string" ? Number(value) : value;
  return typeof number === "number" && number > 0 && number < Infinity ? number : undefined;
}

/** The error for a refusal by an endpoint of the authorization server, without the secrets that were sent. */
export function endpointError(
  response: Response,
  body: Readonly<Record<string, unknown>>,
  parameters: Record<string, string | undefined>,
  { server: { issuer }, client, clock = systemClock }: TokenRequestOptions,
): McpAuthError {
  const { status } = response;
  const secrets = Object.entries(parameters).map(([name, value]) => (harmless.has(name) ? undefined : value));
  secrets.push(client.clientSecret);
  const serverError = scrub(text(body.error), secrets);
  const serverDescription = scrub(explanation(body), secrets);
  const details = { issuer, status, serverError, serverDescription, party: "authorization-server" } as const;
  const fault = faultOf(response, details, clock.now());
  if (fault) return fault;
  const transient = [408, 425].includes(status) || serverError === "temporarily_unavailable" || serverError === "server_error";
  const final = serverError === "invalid_grant" || serverError === "invalid_client" ? serverError : "token_request_refused";
  const hint = final === "token_request_refused" ? hintFor(serverError, serverDescription) : undefined;
  return new McpAuthError(transient ? "server_error" : final, { ...details, hint, ...firewall(response) });
}

/** Text of the server without secrets that it may have echoed, decoded or encoded. */
function scrub(said: string | undefined, secrets: readonly (string | undefined)[]): string | undefined {
  let result = said?.replace(/\b(Basic|Bearer) +[\w+/=.~-]{16,}/gi, "$1 [removed]").replace(/\beyJ[\w-]+\.[\w-]+\.[\w-]*/g, "[removed]");
  for (const secret of secrets) {
    // Short values (a code of six digits) could be any word.
    if (!secret || secret.length < 8) continue;
    for (const form of [secret, formEncoded(secret)]) result = result?.replaceAll(form, "[removed]");
  }
  return result;
}
