import { deadline } from "../async.ts";
import { systemClock } from "../clock.ts";
import { checkOptions, needed, oneOf, text } from "../options.ts";
import { tokenRequestRules } from "./options.ts";
import { postForm, type TokenRequestOptions } from "./token-request.ts";

/** How long a logout waits for one token, in ms. */
const limitMs = 10_000;

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
  const { server, clock = systemClock, signal: outer } = options;
  if (!server.revocation_endpoint) return false;
  const { signal, stop } = deadline(clock, limitMs, () => undefined, outer);
  try {
    return (await postForm(server.revocation_endpoint, { token, token_type_hint: hint }, { ...options, signal })).ok;
  } catch {
    return false;
  } finally {
    stop();
  }
}
