import type { IssuerRules } from "../discovery/issuer-names.ts";
import type { Store } from "../stores/store.ts";
import { bindIssuer } from "./bound-issuer.ts";
import { checkClientMetadataUrl } from "./client-metadata-url.ts";
import { type RegistrationRequest, register, registrableScopes } from "./dynamic.ts";
import { acceptsDocument, documentMethod, isDocumentRefused } from "./metadata-document.ts";
import { type ClientRegistration, secretMethod, type TokenEndpointAuthMethod } from "./registration.ts";
import { findRegistration, type StaleReason, saveRegistration, staleReason } from "./stored.ts";
import { isUnanswered, withoutNote } from "./unanswered.ts";

/** Everything that any way to a client identity needs. */
export interface ObtainClientOptions extends RegistrationRequest, Pick<IssuerRules, "issuerAlias"> {
  store: Store;
  /** The name of the login that the client is for. */
  login: string;
  /** The protected server that the login is for: its name in keys. */
  serverName: string;
  /** A client registered beforehand. */
  clientId?: string | undefined;
  clientSecret?: string | undefined;
  tokenEndpointAuthMethod?: TokenEndpointAuthMethod | undefined;
  /** A private key, with which it authenticates: only whether there is one matters here. */
  privateKey?: unknown;
  /** The authorization server that the client was registered at. Default: the first one that it is used at. */
  issuer?: string | undefined;
  /** URL of the client ID metadata document: https with a path, without fragment. */
  clientMetadataUrl?: string | undefined;
}

/**
 * Obtains the client's identity at an authorization server: the client registered beforehand, else the metadata document
 * where the server supports it, else the stored registration while it serves, else a new one.
 *
 * @throws McpAuthError `client_issuer_mismatch` when the given client belongs to another authorization server;
 *   `invalid_option` for a metadata URL that cannot be a client ID; `invalid_record`; what `registerClient`
 *   throws, `registration_unsupported` when there is no way at all.
 * @see MCP 2026-07-28, Client Registration Approaches; REQ-REG-01, REQ-REG-06
 */
export async function obtainClient(options: ObtainClientOptions): Promise<ClientRegistration> {
  const { server, store, emit, clock, clientMetadataUrl } = options;
  const { issuer } = server;
  if (clientMetadataUrl !== undefined) checkClientMetadataUrl(clientMetadataUrl);

  let client: ClientRegistration;
  if (options.clientId !== undefined) {
    client = await preRegistered(options.clientId, options, clock.now());
  } else if (clientMetadataUrl !== undefined && (await usesDocument(options, clientMetadataUrl))) {
    const tokenEndpointAuthMethod = documentMethod(options);
    client = { issuer, kind: "metadata-document", clientId: clientMetadataUrl, tokenEndpointAuthMethod, createdAt: clock.now() };
  } else {
    const stored = await findRegistration(store, issuer);
    const reason = stored && (await whyStale(stored, options));
    if (stored && !reason) return withoutNote(stored);
    if (reason) emit({ type: "registration.stale", issuer, reason });
    client = await registerAnew(options, stored);
  }
  emit({ type: "registration.finished", issuer, kind: client.kind, clientId: client.clientId });
  return client;
}

/** Whether the metadata document is the client: not where the server has refused it, and offers another way. */
async function usesDocument(options: ObtainClientOptions, clientMetadataUrl: string): Promise<boolean> {
  const { server, store, clock } = options;
  if (!acceptsDocument(server, documentMethod(options))) return false;
  return !server.registration_endpoint || !(await isDocumentRefused(store, server.issuer, clientMetadataUrl, clock.now()));
}

async function whyStale(stored: ClientRegistration, options: ObtainClientOptions): Promise<StaleReason | undefined> {
  const { store, clock, login } = options;
  const reason = staleReason(stored, { ...options, scopes: registrableScopes(options) }, clock.now());
  return reason ?? ((await isUnanswered(store, stored, login)) ? "unanswered" : undefined);
}

async function registerAnew(options: ObtainClientOptions, stored: ClientRegistration | undefined): Promise<ClientRegistration> {
  const { server, redirectUris, scopes = [], clientName, clientMetadata, http, clock, emit, signal } = options;
  // It keeps grants and scopes of the old registration: the next login, by another flow or for less, need not register anew.
  const grantTypes = [...new Set([...(stored?.grantTypes ?? []), ...(options.grantTypes ?? [])])];
  const all = [...new Set([...(scopes.length > 0 ? (stored?.scopes ?? []) : []), ...scopes])];
  const client = await register({ server, redirectUris, grantTypes, scopes: all, clientName, clientMetadata, http, clock, emit, signal });
  await saveRegistration(options.store, client);
  return client;
}

/** A client registered beforehand, at the one authorization server that it is bound to. */
async function preRegistered(clientId: string, options: ObtainClientOptions, createdAt: number): Promise<ClientRegistration> {
  const { server, store, serverName, clientSecret, privateKey, issuerAlias } = options;
  const tokenEndpointAuthMethod = privateKey === undefined ? options.tokenEndpointAuthMethod : "private_key_jwt";
  const { issuer } = server;
  await bindIssuer({ store, clientId, serverName, configured: options.issuer, issuer, issuerAlias });
  return {
    issuer,
    kind: "pre-registered",
    clientId,
    clientSecret,
    ...(tokenEndpointAuthMethod || !clientSecret ? { tokenEndpointAuthMethod: tokenEndpointAuthMethod ?? "none" } : secretMethod(server)),
    createdAt,
  };
}
