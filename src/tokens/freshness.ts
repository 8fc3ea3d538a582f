/** What decides how long an access token is used. Times in milliseconds since 1970. */
export interface Lifetime {
  accessToken?: string | undefined;
  /** Local time of receipt. */
  issuedAt: number;
  /** Local time of receipt + lifetime; absent when nobody knows. */
  expiresAt?: number | undefined;
  /** The server did not say the lifetime, only the token itself did: reason enough to refresh it, but not to withhold it. */
  expiryIsAssumed?: true | undefined;
}

/**
 * How fit an access token is for one more request.
 * - `valid`: use it. Without a known lifetime a token is valid until it is refused.
 * - `ahead`: use it, and refresh meanwhile.
 * - `leeway`: refresh first, it could expire on the way, or has probably expired; usable when that fails.
 * - `expired`: expired, or absent.
 */
export type Freshness = "valid" | "ahead" | "leeway" | "expired";

/** Longest leeway before expiry, in ms. */
const maxLeewayMs = 60_000;

/**
 * @param jitter 0 to 1, kept for the life of a token: spreads the refreshes of many processes over 50–65 % of it
 */
export function freshness(token: Lifetime, now: number, jitter: number): Freshness {
  const { accessToken, issuedAt, expiresAt, expiryIsAssumed } = token;
  if (!accessToken) return "expired";
  if (expiresAt === undefined) return "valid";
  if (now >= expiresAt) return expiryIsAssumed ? "leeway" : "expired";
  const lifetime = expiresAt - issuedAt;
  // A tenth, so that a token of 30 seconds is not refreshed at every call.
  if (now >= expiresAt - Math.min(maxLeewayMs, lifetime / 10)) return "leeway";
  return now >= aheadAt(token, jitter) ? "ahead" : "valid";
}

/** When a refresh ahead of expiry is due; `Infinity` when the lifetime is unknown. */
export function aheadAt({ issuedAt, expiresAt }: Lifetime, jitter: number): number {
  return expiresAt === undefined ? Infinity : issuedAt + (expiresAt - issuedAt) * (0.5 + 0.15 * jitter);
}
