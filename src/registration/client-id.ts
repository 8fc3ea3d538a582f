import type { IssuerRules } from "../discovery/issuer-names.ts";
import type { Store } from "../stores/store.ts";
import { bindIssuer } from "./bound-issuer.ts";
import { checkClientMetadataUrl } from "./client-metadata-url.ts";
import { type RegistrationRequest, register } from "./dynamic.ts";
import { type ClientRegistration, chooseAuthMethod, type TokenEndpointAuthMethod } from "./registration.ts";
import { findRegistration, saveRegistration, staleReason } from "./stored.ts";

/** Everything that any way to a client identity needs. */
export interface ObtainClientOptions extends Omit<RegistrationRequest, "scopes">, Pick<IssuerRules, "issuerAlias"> {
  store: Store;
  /** The protected server that the login is for. */
  serverUrl: string | URL;
  /** A client registered beforehand. */
  clientId?: string | undefined;
  clientSecret?: string | undefined;
  tokenEndpointAuthMethod?: TokenEndpointAuthMethod | undefined;
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
  const { server, store, redirectUris, emit, clock, clientMetadataUrl } = options;
  const { issuer } = server;
  if (clientMetadataUrl !== undefined) checkClientMetadataUrl(clientMetadataUrl);

  let client: ClientRegistration;
  if (options.clientId !== undefined) {
    client = await preRegistered(options.clientId, options, clock.now());
  } else if (clientMetadataUrl !== undefined && server.client_id_metadata_document_supported === true) {
    client = { issuer, kind: "metadata-document", clientId: clientMetadataUrl, tokenEndpointAuthMethod: "none", createdAt: clock.now() };
  } else {
    const stored = await findRegistration(store, issuer);
    const reason = stored && staleReason(stored, redirectUris, clock.now(), options.grantTypes);
    if (stored && !reason) return stored;
    if (reason) emit({ type: "registration.stale", issuer, reason });
    // It keeps the grants of the old registration: the next login, by another flow, need not register anew.
    const grantTypes = [...new Set([...(stored?.grantTypes ?? []), ...(options.grantTypes ?? [])])];
    const { http, signal, clientName, clientMetadata } = options;
    client = await register({ server, redirectUris, grantTypes, clientName, clientMetadata, http, clock, emit, signal });
    await saveRegistration(store, client);
  }
  emit({ type: "registration.finished", issuer, kind: client.kind, clientId: client.clientId });
  return client;
}

/** A client registered beforehand, at the one authorization server that it is bound to. */
async function preRegistered(clientId: string, options: ObtainClientOptions, createdAt: number): Promise<ClientRegistration> {
  const { server, store, serverUrl, clientSecret, tokenEndpointAuthMethod, issuerAlias } = options;
  const { issuer } = server;
  await bindIssuer({ store, clientId, serverUrl, configured: options.issuer, issuer, issuerAlias });
  return {
    issuer,
    kind: "pre-registered",
    clientId,
    clientSecret,
    tokenEndpointAuthMethod: tokenEndpointAuthMethod ?? (clientSecret ? chooseAuthMethod(server) : "none"),
    createdAt,
  };
}
