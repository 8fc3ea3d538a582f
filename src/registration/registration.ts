/** How this client authenticates at token endpoints (RFC 7591 §2). */
export type TokenEndpointAuthMethod = "none" | "client_secret_basic" | "client_secret_post";

/** A client's identity at one authorization server. */
export interface ClientRegistration {
  /** As in the server's metadata; nothing here is ever shown to another server, metadata-document IDs excepted. */
  issuer: string;
  kind: "pre-registered" | "metadata-document" | "dynamic";
  clientId: string;
  clientSecret?: string | undefined;
  /** Milliseconds since 1970. Absent: never. */
  clientSecretExpiresAt?: number | undefined;
  tokenEndpointAuthMethod: TokenEndpointAuthMethod;
  /** Those of a dynamic registration, the preferred one first. */
  redirectUris?: readonly string[] | undefined;
  /** Milliseconds since 1970. */
  createdAt: number;
  /** The last interactive login with it ended without any answer: the server may have forgotten it. */
  unanswered?: boolean | undefined;
}
