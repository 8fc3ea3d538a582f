import { systemClock } from "../clock.ts";
import { isSameIssuer } from "../discovery/server-metadata.ts";
import { McpAuthError, withoutQuery } from "../errors.ts";
import type { Store } from "../stores/store.ts";
import { checkClientMetadataUrl } from "./client-metadata-url.ts";
import { type RegisterClientOptions, registerClient } from "./dynamic.ts";
import { type ClientRegistration, chooseAuthMethod, type TokenEndpointAuthMethod } from "./registration.ts";
import { findRegistration, readRecord, registrationKey, saveRegistration, staleReason } from "./stored.ts";

/** What is needed to be a client of an authorization server, in one way or another. */
export interface ObtainClientOptions extends RegisterClientOptions {
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
 * Finds out who we are at an authorization server: the client registered beforehand, else the metadata document
 * where the server supports it, else the stored registration while it serves, else a new one.
 *
 * @throws McpAuthError `client_issuer_mismatch` when the given client belongs to another authorization server;
 *   `invalid_option` for a metadata URL that cannot be a client ID; `invalid_record`; what {@link registerClient}
 *   throws, `registration_unsupported` when there is no way at all.
 * @see MCP 2026-07-28, Client Registration Approaches; REQ-REG-01, REQ-REG-06
 */
export async function obtainClient(options: ObtainClientOptions): Promise<ClientRegistration> {
  const { server, store, redirectUris, emit, clock = systemClock, clientMetadataUrl } = options;
  const { issuer } = server;
  if (clientMetadataUrl !== undefined) checkClientMetadataUrl(clientMetadataUrl);

  let client: ClientRegistration;
  if (options.clientId !== undefined) {
    client = await preRegistered(options.clientId, options, clock.now());
  } else if (clientMetadataUrl !== undefined && server.client_id_metadata_document_supported === true) {
    client = { issuer, kind: "metadata-document", clientId: clientMetadataUrl, tokenEndpointAuthMethod: "none", createdAt: clock.now() };
  } else {
    const stored = await findRegistration(store, issuer);
    const reason = stored && staleReason(stored, redirectUris, clock.now());
    if (stored && !reason) return stored;
    if (reason) emit?.({ type: "registration.stale", issuer, reason });
    client = await registerClient(options);
    await saveRegistration(store, client);
  }
  emit?.({ type: "registration.finished", issuer, kind: client.kind, clientId: client.clientId });
  return client;
}

/**
 * A client registered beforehand, bound to this authorization server, a client so that its secret is never shown to another one: neither when
 * the protected server is moved nor when it is taken over (REQ-REG-06).
 *
 * Only the app knows where a client was registered. If it does not say so, the first use decides; the same ID at
 * another protected server is another client. A configured issuer is the app's word and replaces what was remembered.
 */
async function preRegistered(clientId: string, options: ObtainClientOptions, createdAt: number): Promise<ClientRegistration> {
  const { server, store, clientSecret, tokenEndpointAuthMethod } = options;
  const { issuer } = server;
  const key = registrationKey(`pre-registered/${clientId}/${withoutQuery(new URL(options.serverUrl).href)}`);
  const remembered = await readRecord(store, key);
  const bound = options.issuer ?? remembered?.issuer;
  if (bound !== undefined && !isSameIssuer(String(bound), issuer)) {
    throw new McpAuthError("client_issuer_mismatch", { issuer, detail: `client ${clientId} belongs to ${bound}` });
  }
  if (remembered?.issuer !== issuer) await store.set(key, { v: 1, issuer });
  return {
    issuer,
    kind: "pre-registered",
    clientId,
    clientSecret,
    tokenEndpointAuthMethod: tokenEndpointAuthMethod ?? (clientSecret ? chooseAuthMethod(server) : "none"),
    createdAt,
  };
}
