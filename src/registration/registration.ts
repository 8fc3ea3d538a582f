import type { AuthorizationServerMetadata } from "../discovery/server-metadata.ts";

/** How this client authenticates at token endpoints (RFC 7591 §2). */
export type TokenEndpointAuthMethod = "none" | "client_secret_basic" | "client_secret_post" | "private_key_jwt";

/** A client's identity at one authorization server. */
export interface ClientRegistration {
  /** As in the server's metadata; nothing here is ever shown to another server, metadata-document IDs excepted. */
  issuer: string;
  /** How the identity was obtained. */
  kind: "pre-registered" | "metadata-document" | "dynamic";
  /** As the authorization server knows it. */
  clientId: string;
  /** Needed by the methods with a secret. */
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
  /** Scopes that it was registered with. Absent: the server does not let clients name them. */
  scopes?: readonly string[] | undefined;
  /** With `client_secret_basic`: the server wants the ID in the body as well. */
  clientIdInBody?: true | undefined;
  /** Nobody has said how it authenticates, or not clearly: where the method is refused, the next one is tried. */
  authMethodIsAssumed?: true | undefined;
  /**
   * The login for which a user was sent away with it, without any answer so far: its name. Once that login is over, the server
   * may have forgotten the client.
   */
  unanswered?: string | undefined;
  /** When a user whom an application has sent away came back with an answer, in ms since 1970; some minutes older than the newest. */
  answeredAt?: number | undefined;
}

/** What a client that registers itself can do, the preferred one first. */
export const authMethods: readonly TokenEndpointAuthMethod[] = ["none", "client_secret_post", "client_secret_basic"];

/**
 * The method by which a client authenticates where none is given: `preferred` where the server's list allows it or there is no
 * list, else the first one of the list that this client can do. A server names first what its own clients use.
 *
 * @see RFC 8414 §2 (an absent list means `client_secret_basic`), REQ-REG-07
 */
export function chooseAuthMethod(
  server: AuthorizationServerMetadata,
  preferred: TokenEndpointAuthMethod = "client_secret_basic",
): TokenEndpointAuthMethod {
  const listed = server.token_endpoint_auth_methods_supported;
  if (!listed || listed.includes(preferred)) return preferred;
  return listed.map((name) => authMethods.find((method) => method === name)).find((method) => method !== undefined) ?? preferred;
}

/**
 * How a client with a secret authenticates where nobody has said it.
 *
 * @param named what the registration's answer or the app says, if anything
 * @param asked what the registration asked for
 */
export function secretMethod(
  server: AuthorizationServerMetadata,
  named?: TokenEndpointAuthMethod,
  asked?: TokenEndpointAuthMethod,
): Pick<ClientRegistration, "tokenEndpointAuthMethod" | "authMethodIsAssumed"> {
  const listed = server.token_endpoint_auth_methods_supported;
  const method = named ?? (asked && asked !== "none" ? asked : methodWithSecret(listed));
  const isAssumed = named === undefined || named !== asked || !listed?.includes(named);
  return { tokenEndpointAuthMethod: method, ...(isAssumed && { authMethodIsAssumed: true }) };
}

/** @see RFC 8414 §2 (an absent list means `client_secret_basic`) */
function methodWithSecret(listed: readonly string[] | undefined): TokenEndpointAuthMethod {
  return listed && !listed.includes("client_secret_basic") && listed.includes("client_secret_post")
    ? "client_secret_post"
    : "client_secret_basic";
}
