import { allowInsecureRequests, type Client, customFetch, dynamicClientRegistrationRequest } from "oauth4webapi";
import { type Clock, systemClock } from "../clock.ts";
import type { AuthorizationServerMetadata } from "../discovery/server-metadata.ts";
import { McpAuthError } from "../errors.ts";
import type { Emit } from "../events.ts";
import { faultOf } from "../http/fault.ts";
import { createHttp, type Http, isLoopback } from "../http/http.ts";
import { authMethods, type ClientRegistration, chooseAuthMethod } from "./registration.ts";

/** Options of {@link registerClient}. */
export interface RegisterClientOptions {
  /** Where to register. */
  server: AuthorizationServerMetadata;
  /** Loopback or https, the preferred one first. */
  redirectUris: readonly string[];
  /** Shown to the person by the authorization server. */
  clientName?: string | undefined;
  /** Further members of the request (RFC 7591 §2); they win over the defaults, except for `redirect_uris`. */
  clientMetadata?: Readonly<Record<string, unknown>> | undefined;
  /** Scopes that the client may ask for, separated by spaces. */
  scope?: string | undefined;
  /** Default: `createHttp()`. */
  http?: Http | undefined;
  clock?: Clock | undefined;
  emit?: Emit | undefined;
  signal?: AbortSignal | undefined;
}

/** What a refusal of redirect URIs may look like: its error code cannot be relied on, and firewalls answer 403. */
const refusals = [400, 403];

/**
 * Registers a client, with all redirect URIs at once. A server that refuses is asked again with those of one host,
 * then of the other, in the order given.
 *
 * @throws McpAuthError `registration_unsupported` without registration endpoint; `invalid_option` for a redirect URI
 *   that is neither https nor loopback; `registration_refused`; `server_error`, `rate_limited` and the codes of
 *   {@link Http} when asking failed; `signal.reason`.
 * @see RFC 7591 §3; MCP 2026-07-28, Dynamic Client Registration
 */
export async function registerClient(options: RegisterClientOptions): Promise<ClientRegistration> {
  const { server, redirectUris } = options;
  if (!server.registration_endpoint) throw new McpAuthError("registration_unsupported", { issuer: server.issuer });
  const parsed = redirectUris.map(checkRedirectUri);
  const hosts = [...new Set(parsed.map((url) => url.hostname))];
  const narrower = hosts.length > 1 ? hosts.map((host) => redirectUris.filter((_, index) => parsed[index]?.hostname === host)) : [];
  const native = parsed.every(isLoopback);

  let refusal: McpAuthError | undefined;
  for (const uris of [redirectUris, ...narrower]) {
    try {
      return await request(uris, native, options);
    } catch (error) {
      if (!(error instanceof McpAuthError && error.code === "registration_refused")) throw error;
      refusal = error;
      if (!refusals.includes(error.status ?? 0)) break;
    }
  }
  throw refusal;
}

/**
 * @throws McpAuthError `invalid_option`
 * @see MCP 2026-07-28, Open Redirection (REQ-AUTHZ-06)
 */
export function checkRedirectUri(uri: string): URL {
  const url = URL.canParse(uri) ? new URL(uri) : undefined;
  if (!url || url.hash || !(url.protocol === "https:" || (url.protocol === "http:" && isLoopback(url)))) {
    throw new McpAuthError("invalid_option", { detail: "a redirect URI must be https, or http on loopback, without fragment" });
  }
  return url;
}

async function request(redirectUris: readonly string[], native: boolean, options: RegisterClientOptions): Promise<ClientRegistration> {
  const { server, http = createHttp(), clock = systemClock, signal } = options;
  const metadata = {
    application_type: native ? "native" : "web",
    grant_types: ["authorization_code", "refresh_token"],
    response_types: ["code"],
    token_endpoint_auth_method: chooseAuthMethod(server, "none"),
    ...(options.clientName !== undefined && { client_name: options.clientName }),
    ...(options.scope !== undefined && { scope: options.scope }),
    ...options.clientMetadata,
    redirect_uris: [...redirectUris],
  };
  const response = await dynamicClientRegistrationRequest(server, metadata as unknown as Partial<Client>, {
    [customFetch]: (url, init) => http.fetch(url, init as RequestInit),
    // `http` decides about schemes.
    [allowInsecureRequests]: true,
    ...(signal && { signal }),
  });
  return read(response, redirectUris, options, clock.now());
}

/** Reads what oauth4webapi would throw away: status 200, a secret without expiry, extra members of odd types. */
async function read(
  response: Response,
  redirectUris: readonly string[],
  options: RegisterClientOptions,
  now: number,
): Promise<ClientRegistration> {
  const { server, emit } = options;
  const { issuer } = server;
  const fault = faultOf(response, { issuer }, now);
  if (fault) throw fault;
  const json: unknown = await response.json().catch(() => undefined);
  const answer: Readonly<Record<string, unknown>> = Object(json);
  const clientId = text(answer.client_id);
  if (!response.ok || clientId === undefined) {
    throw new McpAuthError("registration_refused", {
      issuer,
      status: response.status,
      serverError: text(answer.error),
      serverDescription: text(answer.error_description),
      detail: response.ok ? "the answer names no client ID" : `asked with the redirect URIs ${options.redirectUris.join(" and ")}`,
    });
  }

  const answered = Array.isArray(answer.redirect_uris) ? answer.redirect_uris : [];
  if (answered.some((uri) => !redirectUris.includes(uri))) emit?.({ type: "registration.foreign-redirect-uris", issuer });
  const registered = redirectUris.filter((uri) => answered.includes(uri));

  const clientSecret = text(answer.client_secret);
  const expiresAt = Number(answer.client_secret_expires_at);
  const named = authMethods.find((method) => method === answer.token_endpoint_auth_method);
  return {
    issuer,
    kind: "dynamic",
    clientId,
    clientSecret,
    // 0 means never (RFC 7591 §3.2.1).
    clientSecretExpiresAt: clientSecret && expiresAt > 0 ? expiresAt * 1000 : undefined,
    tokenEndpointAuthMethod: clientSecret ? (named ?? chooseAuthMethod(server)) : "none",
    redirectUris: registered.length > 0 ? registered : [...redirectUris],
    createdAt: now,
  };
}

function text(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}
