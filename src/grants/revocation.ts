import { checkOptions, needed, oneOf, text } from "../options.ts";
import { tokenRequestRules } from "./options.ts";
import { postForm, type TokenRequestOptions } from "./token-request.ts";

/**
 * Asks the authorization server to forget a token.
 *
 * @param hint what kind of token it is
 * @returns whether the server confirmed it; `false` as well when it offers no revocation or cannot be reached
 * @throws McpAuthError `invalid_option`
 * @see RFC 7009 §2
 */
export async function revokeToken(token: string, hint: "refresh_token" | "access_token", options: TokenRequestOptions): Promise<boolean> {
  checkOptions({ token, hint }, { token: needed(text), hint: needed(oneOf("refresh_token", "access_token")) });
  checkOptions(options, tokenRequestRules());
  return sendRevocation(token, hint, options);
}

/** {@link revokeToken}, unchecked. */
export async function sendRevocation(
  token: string,
  hint: "refresh_token" | "access_token",
  options: TokenRequestOptions,
): Promise<boolean> {
  const { revocation_endpoint: endpoint } = options.server;
  if (!endpoint) return false;
  try {
    return (await postForm(endpoint, { token, token_type_hint: hint }, options)).ok;
  } catch {
    return false;
  }
}
