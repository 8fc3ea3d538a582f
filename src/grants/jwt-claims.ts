import { strings, text } from "../http/json.ts";

/** What a JWT says of itself (RFC 7519 §4.1). Not verified: that is for its receiver. */
export interface JwtClaims {
  /** `aud`: for whom it was made. */
  audience: readonly string[];
  /** `exp`, in milliseconds since 1970. */
  expiresAt?: number | undefined;
  /** `iat`, in milliseconds since 1970. */
  issuedAt?: number | undefined;
  /** `nbf`, in milliseconds since 1970. */
  notBefore?: number | undefined;
  /** `iss`: who made it. */
  issuer?: string | undefined;
  /** `sub`: whom it speaks for. */
  subject?: string | undefined;
  /** `nonce` of an ID token (OpenID Connect Core §2). */
  nonce?: string | undefined;
}

/**
 * Reads a JWT without verifying it.
 *
 * @returns `undefined` for text that is not a JWT: three parts of base64url, the second a JSON object
 * @see RFC 7519 §7.2
 */
export function readJwtClaims(jwt: string): JwtClaims | undefined {
  const [, payload] = /^[\w-]+\.([\w-]+)\.[\w-]*$/.exec(jwt) ?? [];
  const claims = payload === undefined ? undefined : parsed(payload);
  if (!claims) return undefined;
  const { aud, exp, iat, nbf, iss, sub, nonce } = claims;
  return {
    audience: strings(Array.isArray(aud) ? aud : [aud]) ?? [],
    expiresAt: time(exp),
    issuedAt: time(iat),
    notBefore: time(nbf),
    issuer: text(iss),
    subject: text(sub),
    nonce: text(nonce),
  };
}

/** A NumericDate in milliseconds; no time beyond what a `Date` can hold. @see RFC 7519 §2 */
function time(value: unknown): number | undefined {
  return typeof value === "number" && Math.abs(value) <= 8.64e12 ? value * 1000 : undefined;
}

function parsed(base64url: string): Record<string, unknown> | undefined {
  try {
    const bytes = atob(base64url.replaceAll("-", "+").replaceAll("_", "/"));
    const json: unknown = JSON.parse(new TextDecoder().decode(Uint8Array.from(bytes, (character) => character.charCodeAt(0))));
    return typeof json === "object" && json && !Array.isArray(json) ? { ...json } : undefined;
  } catch {
    return undefined;
  }
}
