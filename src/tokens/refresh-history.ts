import { McpAuthError, type McpAuthErrorCode } from "../errors.ts";
import { isWithin } from "../pause.ts";

/**
 * How the refreshes of a login have ended since its refresh token was issued. Stored with the login: a program that runs for
 * a second learns from those that ran before. Times in ms since 1970.
 */
export interface RefreshHistory {
  /** The authorization server's failures since it has answered last. */
  failures?: { count: number; since: number } | undefined;
  /** Its refusals that were not final. */
  refusals?: StoredRefusal | undefined;
}

/** The last of so many refusals. */
interface StoredRefusal {
  count: number;
  at: number;
  /** The access token was still good. */
  ahead: boolean;
  code: McpAuthErrorCode;
  status?: number | undefined;
  serverError?: string | undefined;
  serverDescription?: string | undefined;
}

/** How long a refused, but not finally dead refresh token is left alone, in ms: twice as long each time. */
const firstPauseMs = 60_000;
const longestPauseMs = 3_600_000;

/** Codes that say that the refresh token was refused, and not the client or the request as the app has made it. */
const refusals: readonly McpAuthErrorCode[] = ["token_request_refused", "invalid_grant"];

/** The history after a failure. One of the network or of this machine says nothing about the authorization server. */
export function withFailure(history: RefreshHistory = {}, error: McpAuthError, now: number): RefreshHistory | undefined {
  if (error.party !== "authorization-server") return undefined;
  const { count = 0, since = now } = history.failures ?? {};
  return { ...history, failures: { count: count + 1, since: Math.min(since, now) } };
}

/** The history after a refusal that is not final. */
export function withRefusal(history: RefreshHistory = {}, error: McpAuthError, ahead: boolean, now: number): RefreshHistory | undefined {
  if (!refusals.includes(error.code)) return undefined;
  const { code, status, serverError, serverDescription } = error;
  return { refusals: { count: (history.refusals?.count ?? 0) + 1, at: now, ahead, code, status, serverError, serverDescription } };
}

/** How long a refresh token is left alone after its refusal, in ms. */
export function pauseAfter({ count }: { count: number }): number {
  return Math.min(firstPauseMs * 2 ** (count - 1), longestPauseMs);
}

/** What a login remembers. What is older than its access token is another one's: older versions of this package leave it. */
export function historyOf({ refreshHistory: { failures, refusals } = {}, issuedAt }: Remembering): RefreshHistory {
  return {
    failures: failures && failures.since >= issuedAt ? failures : undefined,
    refusals: refusals && refusals.at >= issuedAt ? refusals : undefined,
  };
}

/** The part of a login that remembers. */
interface Remembering {
  issuedAt: number;
  refreshHistory?: RefreshHistory | undefined;
}

/**
 * The refusal for which the refresh token of a login is left alone now.
 *
 * @param needed whether a token is needed: what was refused ahead of time is tried again then
 */
export function holdingBack(login: Remembering & { issuer: string }, needed: boolean, now: number): McpAuthError | undefined {
  const { refusals } = historyOf(login);
  if (!refusals || (refusals.ahead && needed) || !isWithin(refusals.at, pauseAfter(refusals), now)) return undefined;
  return refusalOf(refusals, login.issuer);
}

/** A stored refusal as the error that it was. */
export function refusalOf({ code, status, serverError, serverDescription }: StoredRefusal, issuer: string): McpAuthError {
  return new McpAuthError(code, { status, serverError, serverDescription, issuer, party: "authorization-server" });
}
