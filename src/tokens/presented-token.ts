import type { McpAuthError } from "../errors.ts";
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
