import type { AuthorizationServerMetadata } from "../discovery/server-metadata.ts";

/** How this client authenticates at token endpoints (RFC 7591 §2). */
export type TokenEndpointAuthMethod = "none" | "client_secret_basic" | "client_secret_post";

/** A client's identity at one authorization server. */
export interface ClientRegistration {
  /** As in the server's metadata; nothing here is ever shown to another server, metadata-document IDs excepted. */
  issuer: string;
  /** How the identity was obtained. */
  kind: "pre-registered" | "metadata-document" | "dynamic";
  /** As the authorization server knows it. */
  clientId: string;
  /** Needed by every method but `none`. */
  clientSecret?: string | undefined;
  /** Milliseconds since 1970. Absent: never. */
  clientSecretExpiresAt?: number | undefined;
  /** How the client authenticates in token requests. */
  tokenEndpointAuthMethod: TokenEndpointAuthMethod;
  /** Those of a dynamic registration, the preferred one first. */
  redirectUris?: readonly string[] | undefined;
  /** Grants for which a dynamic registration was asked beside the usual ones; the response may say otherwise. */
  grantTypes?: readonly string[] | undefined;
  /** Milliseconds since 1970. */
  createdAt: number;
  /** The last interactive login with it ended without any response: the server may have forgotten it. */
  unanswered?: boolean | undefined;
}

/** What this client can do, the preferred one first. */
export const authMethods: readonly TokenEndpointAuthMethod[] = ["client_secret_basic", "client_secret_post", "none"];

/**
 * The method by which a client authenticates where none is given: `preferred` where the server's list allows it or there is no
 * list, else the first of ours in the list.
 *
 * @see RFC 8414 §2 (an absent list means `client_secret_basic`), REQ-REG-07
 */
export function chooseAuthMethod(
  server: AuthorizationServerMetadata,
  preferred: TokenEndpointAuthMethod = "client_secret_basic",
): TokenEndpointAuthMethod {
  const listed = server.token_endpoint_auth_methods_supported;
  return !listed || listed.includes(preferred) ? preferred : (authMethods.find((method) => listed.includes(method)) ?? preferred);
}
