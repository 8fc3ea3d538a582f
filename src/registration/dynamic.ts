import { joinScopes, splitScope } from "../authorization/scopes.ts";
import { type Clock, systemClock } from "../clock.ts";
import { noEndpoint } from "../discovery/endpoints.ts";
import { isAssumed } from "../discovery/legacy.ts";
import type { AuthorizationServerMetadata } from "../discovery/server-metadata.ts";
import { McpAuthError } from "../errors.ts";
import { type AuthEventFacts, type Emit, quietly } from "../events.ts";
import { faultOf } from "../http/fault.ts";
import { createHttp, type Http, isLoopback } from "../http/http.ts";
import { members, text } from "../http/json.ts";
import {
  callback,
  checkOptions,
  clock as clockRule,
  http as httpRule,
  needed,
  type Rules,
  record,
  scopes,
  serverMetadata,
  signal,
  text as textRule,
  texts,
} from "../options.ts";
import { checkRedirectUri } from "./redirect-uri.ts";
import { isWordless, mayBeOfRedirectUris, mayBeOfScopes, nothingPublished, refusalOf } from "./refusal.ts";
import { authMethods, type ClientRegistration, chooseAuthMethod, secretMethod, type TokenEndpointAuthMethod } from "./registration.ts";

/** Options of {@link registerClient}. */
export interface RegisterClientOptions {
  /** Where to register. */
  server: AuthorizationServerMetadata;
  /** Loopback or https, the preferred one first. */
  redirectUris: readonly string[];
  /** Grants that it needs beside `authorization_code` and `refresh_token`. */
  grantTypes?: readonly string[] | undefined;
  /** Shown to the user by the authorization server. */
  clientName?: string | undefined;
  /** Further members of the request (RFC 7591 §2); they win over the defaults, except for `redirect_uris`. */
  clientMetadata?: Readonly<Record<string, unknown>> | undefined;
  /**
   * Scopes that the client is going to ask for. Left out: those that the server does not list, and all of them where it refuses
   * the registration otherwise. Default: the server decides.
   */
  scopes?: readonly string[] | undefined;
  /** Default: `createHttp()`. */
  http?: Http | undefined;
  /** Default: `systemClock`. */
  clock?: Clock | undefined;
  /** Receives events about foreign redirect URIs. */
  onEvent?: ((event: AuthEventFacts) => void) | undefined;
  /** Ends the registration; its reason is thrown. */
  signal?: AbortSignal | undefined;
}

const registrationRules = (): Rules<RegisterClientOptions> => ({
  server: needed(serverMetadata),
  redirectUris: needed(texts),
  grantTypes: texts,
  clientName: textRule,
  clientMetadata: record,
  scopes,
  http: httpRule(),
  clock: clockRule(),
  onEvent: callback,
  signal: signal(),
});

/**
 * Registers a client, with all redirect URIs at once. A server that refuses is asked again with those of one host,
 * then of the other, in the order given.
 *
 * @throws McpAuthError `registration_unsupported` without registration endpoint; `invalid_option` for a redirect URI
 *   that is neither https nor loopback; `registration_refused`; `discovery_failed` where nothing is published;
 *   `server_error`, `rate_limited` and the codes of {@link Http} when asking failed; `signal.reason`.
 * @see RFC 7591 §3; MCP 2026-07-28, Dynamic Client Registration
 */
export async function registerClient(options: RegisterClientOptions): Promise<ClientRegistration> {
  checkOptions(options, registrationRules());
  const { http = createHttp(), clock = systemClock, onEvent, ...others } = options;
  return register({ ...others, http, clock, emit: quietly(onEvent) });
}

/** What it takes to register a client. */
export interface RegistrationRequest extends Omit<RegisterClientOptions, "onEvent"> {
  http: Http;
  clock: Clock;
  emit: Emit;
}

/** {@link registerClient}, with everything filled in. */
export async function register(options: RegistrationRequest): Promise<ClientRegistration> {
  const { server, redirectUris } = options;
  const endpoint = server.registration_endpoint;
  if (!endpoint) {
    const detail = server.unusable_endpoints ? noEndpoint(server, "registration_endpoint") : undefined;
    throw new McpAuthError("registration_unsupported", { issuer: server.issuer, detail });
  }
  const byHost = Map.groupBy(redirectUris, (uri) => checkRedirectUri(uri).hostname);
  const scopes = registrableScopes(options);
  let scopesAreRefused = false;
  const send = async (uris: readonly string[]) => {
    try {
      return await request(endpoint, { uris, scopes, scopesAreRefused }, options);
    } catch (error) {
      if (!scopes || scopesAreRefused || !mayBeOfScopes(error)) throw error;
      scopesAreRefused = true;
      return request(endpoint, { uris, scopes, scopesAreRefused }, options);
    }
  };

  let refusal: unknown;
  for (const uris of [redirectUris, ...(byHost.size > 1 ? byHost.values() : [])]) {
    try {
      return await send(uris);
    } catch (error) {
      refusal = error;
      if (!mayBeOfRedirectUris(error)) break;
    }
  }
  // A refusal without a word, which no other redirect URI has ended.
  if (!scopes || scopesAreRefused || !isWordless(refusal)) throw refusal;
  return request(endpoint, { uris: redirectUris, scopes, scopesAreRefused: true }, options);
}

/** Those that the login will ask for, as far as the server knows them: one that it does not know may cost the registration. */
export function registrableScopes({
  scopes,
  server,
  clientMetadata,
}: Pick<RegistrationRequest, "scopes" | "server" | "clientMetadata">): readonly string[] | undefined {
  // What the app says is sent as it is.
  if (clientMetadata?.scope !== undefined) return undefined;
  const known = server.scopes_supported;
  const registrable = known ? scopes?.filter((scope) => known.includes(scope)) : scopes;
  // That alone would leave out what the login is for: a list that has none of it is not a list of the resource's scopes.
  return registrable?.some((scope) => scope !== "offline_access") ? registrable : undefined;
}

/** What is asked for in one of several tries. */
interface RegistrationAttempt {
  uris: readonly string[];
  scopes: readonly string[] | undefined;
  /** They have cost a registration: it is asked for without. */
  scopesAreRefused: boolean;
}

async function request(
  endpoint: string,
  { uris: redirectUris, scopes, scopesAreRefused }: RegistrationAttempt,
  options: RegistrationRequest,
): Promise<ClientRegistration> {
  const { server, http, clock, emit, signal = null } = options;
  const { issuer } = server;
  const asked = chooseAuthMethod(server, "none");
  const metadata = {
    application_type: options.redirectUris.every((uri) => isLoopback(new URL(uri))) ? "native" : "web",
    grant_types: ["authorization_code", "refresh_token", ...(options.grantTypes ?? [])],
    response_types: ["code"],
    token_endpoint_auth_method: asked,
    client_name: options.clientName,
    scope: scopesAreRefused ? undefined : joinScopes(scopes),
    ...options.clientMetadata,
    redirect_uris: redirectUris,
  };
  const headers = { accept: "application/json", "content-type": "application/json" };
  const response = await http.fetch(endpoint, { method: "POST", headers, body: JSON.stringify(metadata), signal });
  const now = clock.now();
  const fault = faultOf(response, { issuer, party: "authorization-server" }, now);
  if (fault) throw fault;
  // Read leniently: servers respond with 200, leave out when a secret expires, and add members of odd types.
  const body = members(await response.text());
  // Laravel Passport counts its clients.
  const clientId = text(Number.isSafeInteger(body.client_id) ? String(body.client_id) : body.client_id);
  if (clientId === undefined && isAssumed(server) && !text(body.error)) throw nothingPublished(issuer, response.status);
  if (!response.ok || clientId === undefined)
    throw refusalOf(response, body, { issuer, redirectUris: options.redirectUris, scopes: options.scopes });

  const listed = Array.isArray(body.redirect_uris) ? body.redirect_uris : [];
  if (listed.some((uri) => !redirectUris.includes(uri))) emit({ type: "registration.foreign-redirect-uris", issuer });
  const registered = redirectUris.filter((uri) => listed.includes(uri));

  const clientSecret = text(body.client_secret);
  const expiresAt = Number(body.client_secret_expires_at);
  const named = authMethods.find((method) => method === body.token_endpoint_auth_method);
  return {
    issuer,
    kind: "dynamic",
    clientId,
    clientSecret,
    // 0 means never (RFC 7591 §3.2.1).
    clientSecretExpiresAt: clientSecret && expiresAt > 0 ? expiresAt * 1000 : undefined,
    ...(clientSecret
      ? secretMethod(server, named, metadata.token_endpoint_auth_method as TokenEndpointAuthMethod)
      : { tokenEndpointAuthMethod: "none" }),
    redirectUris: registered.length > 0 ? registered : redirectUris,
    ...(!scopesAreRefused && { scopes: [...new Set([...splitScope(text(metadata.scope)), ...splitScope(text(body.scope))])] }),
    ...(options.grantTypes?.length && { grantTypes: options.grantTypes }),
    createdAt: now,
  };
}
