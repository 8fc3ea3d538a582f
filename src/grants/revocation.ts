import { allowInsecureRequests, customFetch, revocationRequest } from "oauth4webapi";
import { clientAuthentication } from "../client-auth/secret.ts";
import type { TokenRequestOptions } from "./token-request.ts";

/**
 * Asks the authorization server to forget a token.
 *
 * @param hint what kind of token it is
 * @returns whether the server confirmed it; `false` as well when it offers no revocation or cannot be reached
 * @see RFC 7009 §2
 */
export async function revokeToken(token: string, hint: "refresh_token" | "access_token", options: TokenRequestOptions): Promise<boolean> {
  const { server, client, http, signal } = options;
  if (!server.revocation_endpoint) return false;
  try {
    const response = await revocationRequest(server, { client_id: client.clientId }, clientAuthentication(client), token, {
      [customFetch]: (url, init) => http.fetch(url, init as RequestInit),
      [allowInsecureRequests]: true,
      additionalParameters: { token_type_hint: hint },
      ...(signal && { signal }),
    });
    return response.ok;
  } catch {
    return false;
  }
}
