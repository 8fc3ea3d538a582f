import type { Challenge } from "../discovery/challenge.ts";
import { McpAuthError } from "../errors.ts";
import { readJwtClaims } from "../grants/jwt-claims.ts";
import { bearerHeaders, bearerToken } from "../transports/bearer.ts";
import { type LiveRequestInit, liveRequestInit } from "../transports/request-init.ts";
import type { CachedToken } from "./cached-token.ts";
import { assertUsable, type ServerSession } from "./session.ts";
import type { IssuedToken } from "./token-record.ts";

/** What an answer that is no challenge says of the token that its request carried. */
export function noteResponse<R extends IssuedToken>(
  session: ServerSession,
  token: CachedToken<R>,
  response: Response,
  used: Record<string, string>,
): void {
  // A server that fails has not looked at the token; an answer to an older one says nothing of this one.
  if (response.status >= 500 || bearerToken(used) !== token.bearer) return;
  token.accepted = true;
  if (response.ok) session.lastError = undefined;
}

/** How far in the future a token's times must lie to be a reason for its refusal, in ms. */
const skewMs = 1000;

/** The error for a new token that the protected server refuses. It names the clocks, where the token is not valid yet. */
export function tokenRefused(
  { server: serverUrl, clock }: ServerSession,
  record: IssuedToken | undefined,
  { status }: Challenge,
): McpAuthError {
  const facts = { serverUrl, issuer: record?.issuer, status };
  const { notBefore = 0, issuedAt = 0 } = readJwtClaims(record?.accessToken ?? "") ?? {};
  const validFrom = Math.max(notBefore, issuedAt);
  if (validFrom - clock.now() < skewMs) return new McpAuthError("token_refused", facts);
  const detail = `it is valid from ${new Date(validFrom).toISOString()} on, and here it is ${new Date(clock.now()).toISOString()}`;
  const hint = "Set the clocks: this machine's is behind, or the authorization server's is ahead.";
  return new McpAuthError("token_refused", { ...facts, detail, hint });
}

/** A live `requestInit` with the token of a manager. @param missing says why there is none */
export function requestInitWith<R extends IssuedToken>(
  session: ServerSession,
  token: CachedToken<R>,
  missing: () => McpAuthError,
): LiveRequestInit {
  return liveRequestInit(() => {
    assertUsable(session);
    const bearer = token.read();
    if (bearer === undefined) throw missing();
    return bearerHeaders(bearer);
  });
}
