import { type AuthorizationServer, allowInsecureRequests, customFetch, genericTokenEndpointRequest } from "oauth4webapi";
import { type ClientIdentity, clientAuthentication } from "../client-auth/secret.ts";
import { McpAuthError } from "../errors.ts";
import { faultOf } from "../http/fault.ts";
import type { Http } from "../http/http.ts";

/** What every token request needs. */
export interface TokenRequestOptions {
  /** Metadata of the authorization server. */
  server: AuthorizationServer;
  client: ClientIdentity;
  http: Http;
  signal?: AbortSignal | undefined;
}

/** A token answer, read as far as it can be read. */
export interface TokenAnswer {
  /** Absent when the answer was unusable but carried a refresh token, which must not be lost. */
  accessToken?: string;
  refreshToken?: string;
  idToken?: string;
  /** Lifetime of the access token in seconds. */
  expiresIn?: number;
  /** Granted scopes where they differ from what was asked. */
  scope?: string;
  /** Why the answer cannot be used, when there is no access token. */
  problem?: McpAuthError;
}

/** Parameters that an error may repeat. */
const told = new Set(["redirect_uri", "resource", "scope"]);

/**
 * Sends one token request and reads its answer.
 *
 * A 2xx answer is read leniently: a server that sends `null`, a number as text or no `token_type` has consumed the
 * code or refresh token all the same, and what it gave in exchange must survive.
 *
 * @throws McpAuthError `discovery_failed` when there is no token endpoint, `invalid_grant`, `invalid_client`, `token_request_refused` (any other 4xx), `server_error`,
 *   `rate_limited`, `invalid_token_response`, and what `http.fetch` throws.
 * @see RFC 6749 §5.1, §5.2
 */
export async function tokenRequest(
  grantType: string,
  parameters: Record<string, string>,
  options: TokenRequestOptions,
): Promise<TokenAnswer> {
  const { server, client, http, signal } = options;
  if (!server.token_endpoint)
    throw new McpAuthError("discovery_failed", { issuer: server.issuer, detail: "the metadata has no `token_endpoint`" });
  const response = await genericTokenEndpointRequest(
    server,
    { client_id: client.clientId },
    clientAuthentication(client),
    grantType,
    parameters,
    {
      [customFetch]: (url, init) => http.fetch(url, init as RequestInit),
      // `http.fetch` decides which plain-http hosts are allowed.
      [allowInsecureRequests]: true,
      ...(signal && { signal }),
    },
  );
  const text = await response.text();
  const body = parse(text);
  // Some servers report errors with status 200.
  if (response.ok && (body.access_token || body.refresh_token || !body.error)) return readAnswer(body, server.issuer, response.status);
  const secrets = Object.entries(parameters).map(([name, value]) => (told.has(name) ? undefined : value));
  throw answerError(response, body, server.issuer, [...secrets, client.clientSecret]);
}

/** JSON or, as GitHub answers, form encoding; anything else is an empty answer. */
function parse(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return /^\s*[\w.-]+=/.test(text) ? Object.fromEntries(new URLSearchParams(text.trim())) : {};
  }
}

function readAnswer(body: Record<string, unknown>, issuer: string, status: number): TokenAnswer {
  const accessToken = presentable(body.access_token);
  const refreshToken = nonEmpty(body.refresh_token);
  const idToken = presentable(body.id_token);
  const expiresIn = seconds(body.expires_in);
  const scope = Array.isArray(body.scope) ? body.scope.join(" ") : nonEmpty(body.scope);
  const tokenType = nonEmpty(body.token_type) ?? "bearer";
  const rest = {
    ...(refreshToken && { refreshToken }),
    ...(idToken && { idToken }),
    ...(expiresIn !== undefined && { expiresIn }),
    ...(scope && { scope }),
  };
  const problem = !accessToken
    ? "it holds no usable `access_token`"
    : tokenType.toLowerCase() !== "bearer"
      ? "its `token_type` is not Bearer"
      : undefined;
  if (!problem) return { accessToken: accessToken as string, ...rest };
  const error = new McpAuthError("invalid_token_response", { issuer, status, detail: problem });
  if (refreshToken) return { ...rest, problem: error };
  throw error;
}

function nonEmpty(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

/** A token that a header can carry (RFC 6749 §A.12): the error of a refused header would quote it. */
export function presentable(value: unknown): string | undefined {
  return typeof value === "string" && /^[ -~]+$/.test(value) ? value : undefined;
}

/** A lifetime as number or text; nonsense, and 0, mean that the lifetime is unknown. */
function seconds(value: unknown): number | undefined {
  const number = typeof value === "number" ? value : typeof value === "string" && value.trim() !== "" ? Number(value) : Number.NaN;
  return Number.isFinite(number) && number > 0 ? number : undefined;
}

function answerError(
  response: Response,
  body: Record<string, unknown>,
  issuer: string,
  secrets: readonly (string | undefined)[],
): McpAuthError {
  const { status } = response;
  const serverError = scrub(nonEmpty(body.error), secrets);
  const details = { issuer, status, serverError, serverDescription: scrub(nonEmpty(body.error_description), secrets) };
  const fault = faultOf(response, details, Date.now());
  if (fault) return fault;
  if ([408, 425].includes(status) || serverError === "temporarily_unavailable" || serverError === "server_error") {
    return new McpAuthError("server_error", details);
  }
  if (serverError === "invalid_grant") return new McpAuthError("invalid_grant", details);
  if (serverError === "invalid_client") return new McpAuthError("invalid_client", details);
  return new McpAuthError("token_request_refused", details);
}

/** Text of the server without anything secret that it may have echoed, decoded or as it was sent. */
function scrub(text: string | undefined, secrets: readonly (string | undefined)[]): string | undefined {
  let result = text?.replace(/\b(Basic|Bearer) +[\w+/=.~-]{16,}/gi, "$1 [removed]");
  for (const secret of secrets) {
    // Short values (a code of six digits) could be any word.
    if (!secret || secret.length < 8) continue;
    for (const form of [secret, `${new URLSearchParams({ "": secret })}`.slice(1)]) result = result?.replaceAll(form, "[removed]");
  }
  return result;
}
