import type { AuthorizationServerMetadata } from "../discovery/server-metadata.ts";
import { isWithin } from "../pause.ts";
import type { Store } from "../stores/store.ts";
import { readRecord, registrationKey } from "./stored.ts";

/** How long a refusal is remembered, in ms: as long as a registration is used. */
const memoryMs = 30 * 24 * 60 * 60 * 1000;

/** How a client with a metadata document authenticates: what the document says. */
export function documentMethod({ privateKey }: { privateKey?: unknown }): "none" | "private_key_jwt" {
  return privateKey === undefined ? "none" : "private_key_jwt";
}

/**
 * Whether a server takes metadata documents of clients that authenticate in this way. Some announce documents and let no public client in; where they
 * register nobody, either, the document is the only way.
 *
 * @see draft-ietf-oauth-client-id-metadata-document §5
 */
export function acceptsDocument(server: AuthorizationServerMetadata, method: "none" | "private_key_jwt"): boolean {
  if (server.client_id_metadata_document_supported !== true) return false;
  return (server.token_endpoint_auth_methods_supported?.includes(method) ?? true) || !server.registration_endpoint;
}

/** Whether the server has refused the client of this document. */
export async function isDocumentRefused(store: Store, issuer: string, clientMetadataUrl: string, now: number): Promise<boolean> {
  const refusal = await readRecord(store, keyOf(issuer));
  return refusal?.url === clientMetadataUrl && isWithin(Number(refusal.at), memoryMs, now);
}

/** Remembers that the server has refused the client of this document: the next login registers one. */
export async function noteRefusedDocument(store: Store, issuer: string, clientMetadataUrl: string, now: number): Promise<void> {
  await store.set(keyOf(issuer), { v: 1, url: clientMetadataUrl, at: now });
}

function keyOf(issuer: string): string {
  return registrationKey(`refused-document/${issuer}`);
}
