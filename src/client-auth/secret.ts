import type { ClientAuth as OAuthClientAuth } from "oauth4webapi";
import { McpAuthError } from "../errors.ts";

/** Authenticates the client in a token request: adds to its body or headers. Functions of `oauth4webapi` that do this fit. */
export type ClientAuth = OAuthClientAuth;

/** A client, as one authorization server knows it. */
export interface ClientIdentity {
  /** As the authorization server knows it. */
  clientId: string;
  /** Needed by the methods with a secret. */
  clientSecret?: string | undefined;
  /** How it is sent (RFC 7591 §2). */
  tokenEndpointAuthMethod: "none" | "client_secret_basic" | "client_secret_post" | "private_key_jwt";
  /** The server wants the client's ID in the body as well as in the header. */
  clientIdInBody?: true | undefined;
}

/**
 * How the client authenticates in a token request.
 *
 * @throws McpAuthError `invalid_option` when the method needs a secret and there is none, or a key, which is given in another way.
 * @see RFC 6749 §2.3.1
 */
export function clientAuthentication(client: ClientIdentity): ClientAuth {
  const { tokenEndpointAuthMethod: method, clientSecret } = client;
  if (method === "none") return loaded(({ None }) => None());
  if (method === "private_key_jwt")
    throw new McpAuthError("invalid_option", { detail: "`authentication` is missing, which private_key_jwt needs" });
  if (!clientSecret) throw new McpAuthError("invalid_option", { detail: `\`clientSecret\` is missing, which ${method} needs` });
  return method === "client_secret_post" ? loaded(({ ClientSecretPost }) => ClientSecretPost(clientSecret)) : basic(client, clientSecret);
}

/** A method of `oauth4webapi`, which is loaded with the first token request. */
export function loaded(method: (library: typeof import("../oauth4webapi.ts")) => ClientAuth): ClientAuth {
  return async (...request) => method(await import("../oauth4webapi.ts"))(...request);
}

function basic({ clientIdInBody }: ClientIdentity, clientSecret: string): ClientAuth {
  return (_server, client, body, headers) => {
    // RFC 6749 §3.2.1 allows it. Some servers want it, others refuse it as a second way to authenticate.
    if (clientIdInBody) body.set("client_id", client.client_id);
    headers.set("authorization", `Basic ${btoa(`${formEncoded(client.client_id)}:${formEncoded(clientSecret)}`)}`);
  };
}

/** As browsers do it, not with `-` and `_` escaped as well: many servers compare without decoding. */
export function formEncoded(value: string): string {
  return `${new URLSearchParams({ "": value })}`.slice(1);
}
