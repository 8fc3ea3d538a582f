/** A new PKCE code verifier: 43 characters from 256 random bits. @see RFC 7636 §4.1 */
export function generateCodeVerifier(): string {
  return base64url(crypto.getRandomValues(new Uint8Array(32)));
}

/** The S256 code challenge of a verifier. @see RFC 7636 §4.2 */
export async function generateCodeChallenge(codeVerifier: string): Promise<string> {
  return base64url(new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(codeVerifier))));
}

/** A new `state`: 256 random bits. @see RFC 6749 §10.12 */
export function generateState(): string {
  return generateCodeVerifier();
}

/** Without padding. @see RFC 4648 §5 */
function base64url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");
}
