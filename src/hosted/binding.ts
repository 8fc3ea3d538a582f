import { base64url } from "../http/base64url.ts";

/** What ties a login to the browser that has begun it: 256 random bits. */
export function generateBinding(): string {
  return base64url(crypto.getRandomValues(new Uint8Array(32)));
}

/** SHA-256, as text. */
export async function digestOf(text: string): Promise<string> {
  return base64url(new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text))));
}

/** Whether two digests are equal, in a time that does not tell where they differ. */
export function areEqual(a: string, b: string): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let index = 0; index < a.length; index++) difference |= a.charCodeAt(index) ^ b.charCodeAt(index);
  return difference === 0;
}

/**
 * The cookie of one login: each has its own, so that a user may connect several servers at once. `__Host-` keeps other
 * hosts of the domain from setting it; plain http, which only development uses, cannot have that.
 *
 * @param stateDigest of the login's `state`
 * @see RFC 6265bis §4.1.3.2
 */
function cookieName({ protocol }: URL, stateDigest: string): string {
  return `${protocol === "https:" ? "__Host-" : ""}mcp-login-${stateDigest.slice(0, 16)}`;
}

/**
 * `Set-Cookie` for a login. Nobody deletes it before its time: a browser that has finished the login may come twice.
 *
 * @param maxAge in seconds
 */
export function setCookie(app: URL, stateDigest: string, binding: string, maxAge: number): string {
  const secure = app.protocol === "https:" ? " Secure;" : "";
  // Lax: the response is a navigation that another site has begun.
  return `${cookieName(app, stateDigest)}=${binding}; Path=/; Max-Age=${maxAge};${secure} HttpOnly; SameSite=Lax`;
}

/** The binding of a login in a `Cookie` header. */
export function readCookie(app: URL, stateDigest: string, header: string | null): string | undefined {
  const name = `${cookieName(app, stateDigest)}=`;
  const found = header
    ?.split(";")
    .map((pair) => pair.trim())
    .find((pair) => pair.startsWith(name));
  return found?.slice(name.length) || undefined;
}
