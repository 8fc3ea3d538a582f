import { readJwtClaims } from "../grants/jwt-claims.ts";
import type { Lifetime } from "./freshness.ts";

/** Longest lifetime that a token is believed to have by what it says of itself, in ms. */
const longestMs = 366 * 24 * 60 * 60_000;

/**
 * When an access token that was just received expires: as the answer says, else as the token says of itself, where it is a
 * JWT. Counted from its receipt, so that no other clock matters where the token says how long it lives.
 *
 * @param expiresIn in seconds
 * @param now in ms since 1970
 * @see RFC 6749 §5.1, RFC 9068 §2.2
 */
export function lifetimeOf(
  accessToken: string,
  expiresIn: number | undefined,
  now: number,
): Pick<Lifetime, "expiresAt" | "expiryIsAssumed"> {
  if (expiresIn) return { expiresAt: now + expiresIn * 1000 };
  const { expiresAt, issuedAt = now } = readJwtClaims(accessToken) ?? {};
  const lifeMs = expiresAt === undefined ? 0 : expiresAt - issuedAt;
  return lifeMs > 0 && lifeMs <= longestMs ? { expiresAt: now + lifeMs, expiryIsAssumed: true } : {};
}
