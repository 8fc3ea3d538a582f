import { McpAuthError } from "../errors.ts";

/** Who the client is to one authorization server. */
export interface ClientIdentity {
  /** As the authorization server knows it. */
  clientId: string;
  /** Needed by every method but `none`. */
  clientSecret?: string | undefined;
  /** How it is sent (RFC 7591 §2). */
  tokenEndpointAuthMethod: "none" | "client_secret_basic" | "client_secret_post";
}

/**
 * Adds to a token request what proves who the client is.
 *
 * @throws McpAuthError `invalid_option` when the method needs a secret and there is none.
 * @see RFC 6749 §2.3.1
 */
export function authenticateClient(client: ClientIdentity, body: URLSearchParams, headers: Headers): void {
  const { clientId, tokenEndpointAuthMethod: method, clientSecret = "" } = client;
  if (method !== "none" && !clientSecret)
    throw new McpAuthError("invalid_option", { detail: `client ${clientId} has no secret for ${method}` });
  if (method === "client_secret_basic") {
    headers.set("authorization", `Basic ${btoa(`${formEncoded(clientId)}:${formEncoded(clientSecret)}`)}`);
    return;
  }
  body.set("client_id", clientId);
  if (method === "client_secret_post") body.set("client_secret", clientSecret);
}

/** As browsers do it, not with `-` and `_` escaped as well: many servers compare without decoding. */
export function formEncoded(value: string): string {
  return `${new URLSearchParams({ "": value })}`.slice(1);
}
