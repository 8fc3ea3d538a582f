import { base64url } from "../http/base64url.ts";
import { checkOptions, needed, text } from "../options.ts";

/** A new PKCE code verifier: 43 characters from 256 random bits. @see RFC 7636 §4.1 */
export function generateCodeVerifier(): string {
  return base64url(crypto.getRandomValues(new Uint8Array(32)));
}

/** The S256 code challenge of a verifier. @throws McpAuthError `invalid_option` for an empty one @see RFC 7636 §4.2 */
export async function generateCodeChallenge(codeVerifier: string): Promise<string> {
  checkOptions({ codeVerifier }, { codeVerifier: needed(text) });
  const { calculatePKCECodeChallenge } = await import("../oauth4webapi.ts");
  return calculatePKCECodeChallenge(codeVerifier);
}

/** A new `state`: 256 random bits. @see RFC 6749 §10.12 */
export function generateState(): string {
  return base64url(crypto.getRandomValues(new Uint8Array(32)));
}
