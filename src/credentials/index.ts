/**
 * Credentials that are not OAuth, behind the same interface: one `fetch` for every protected server.
 *
 * @module mcp-client-auth/credentials
 */

export type { Credential, CredentialRequest } from "./credential.ts";
