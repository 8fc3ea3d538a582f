import type { AuthorizationServerMetadata } from "../discovery/server-metadata.ts";
import { factsOf, McpAuthError } from "../errors.ts";
import { acceptsDocument, documentMethod, isDocumentRefused, noteRefusedDocument } from "../registration/metadata-document.ts";
import type { ClientRegistration } from "../registration/registration.ts";
import { findRegistration, forgetRegistration } from "../registration/stored.ts";
import { isUnknownClient } from "../registration/unknown-client.ts";
import type { Session } from "./session.ts";

/** How far a login has come. */
export interface LoginAttempt {
  /** In ms since 1970. */
  startedAt: number;
  /** Whether the user has come back: the consent is used up with the code. */
  isAnswered: boolean;
}

/**
 * Drops the client that the server refuses, so that another one is registered: the stored registration, if it has been
 * forgotten there; else the metadata document.
 *
 * @throws `error` where that does not help, or the user has already consented for a document that is refused
 */
export async function dropRefusedClient(
  session: Session,
  server: AuthorizationServerMetadata,
  { startedAt, isAnswered }: LoginAttempt,
  error: unknown,
): Promise<void> {
  if (!isUnknownClient(error)) throw error;
  const { store, clock } = session;
  const { issuer } = server;
  const document = await presentedDocument(session, server);
  if (document === undefined) return dropRegistration(session, issuer, startedAt, error);
  await noteRefusedDocument(store, issuer, document, clock.now());
  if (!isAnswered) return;
  const hint = "Log in again: a client is registered there in place of the metadata document.";
  throw new McpAuthError(error.code, { ...factsOf(error), detail: "its metadata document is refused", hint, cause: error });
}

async function dropRegistration(session: Session, issuer: string, startedAt: number, error: McpAuthError): Promise<void> {
  const { store, emit } = session;
  const registration = await registrationBefore(session, issuer, startedAt);
  if (!registration) throw error;
  await forgetRegistration(store, issuer, registration.clientId);
  emit({ type: "registration.stale", issuer, reason: "refused" });
}

/** The dynamic registration in use, if an earlier login made it: only then can the server have forgotten it. */
export async function registrationBefore(session: Session, issuer: string, startedAt: number): Promise<ClientRegistration | undefined> {
  const { store, options } = session;
  const registration = options.clientId === undefined ? await findRegistration(store, issuer) : undefined;
  return registration && registration.createdAt < startedAt ? registration : undefined;
}

/** The metadata document by which the client was known in this login, where there is another way. */
async function presentedDocument({ options, store, clock }: Session, server: AuthorizationServerMetadata): Promise<string | undefined> {
  const { clientId, clientMetadataUrl } = options;
  if (
    clientId !== undefined ||
    clientMetadataUrl === undefined ||
    !acceptsDocument(server, documentMethod(options)) ||
    !server.registration_endpoint
  )
    return undefined;
  return (await isDocumentRefused(store, server.issuer, clientMetadataUrl, clock.now())) ? undefined : clientMetadataUrl;
}
