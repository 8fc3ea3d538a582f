import { calculatePKCECodeChallenge, generateRandomCodeVerifier, generateRandomState } from "oauth4webapi";

/** A new PKCE code verifier: 43 characters from 256 random bits. @see RFC 7636 §4.1 */
export function generateCodeVerifier(): string {
  return generateRandomCodeVerifier();
}

/** The S256 code challenge of a verifier. @see RFC 7636 §4.2 */
export function generateCodeChallenge(codeVerifier: string): Promise<string> {
  return calculatePKCECodeChallenge(codeVerifier);
}

/** A new `state`: 256 random bits. @see RFC 6749 §10.12 */
export function generateState(): string {
  return generateRandomState();
}
