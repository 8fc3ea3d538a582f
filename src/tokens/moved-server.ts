import type { Clock } from "../clock.ts";
import type { Challenge } from "../discovery/challenge.ts";
import { type GivenServer, isGiven } from "../discovery/given-server.ts";
import { isSameIssuer } from "../discovery/issuer-names.ts";
import { findProtectedResource } from "../discovery/resource-metadata.ts";
import type { ServerSession } from "./session.ts";

/** How long the look whether the server has moved may delay a request whose new token is there, in ms. */
const lookMs = 500;

/** Whether the protected server names other authorization servers than the one of a token by now. Metadata that fail say nothing. */
export async function hasMoved(session: ServerSession & { options: GivenServer }, challenge: Challenge, issuer: string): Promise<boolean> {
  const { serverUrl, http, clock, options } = session;
  // Where the app says which server it is, no other one counts.
  if (isGiven(options)) return false;
  try {
    const found = await findProtectedResource(serverUrl, { http, clock, challenge });
    return found?.value.authorizationServers.every((name) => !isSameIssuer(name, issuer, options)) ?? false;
  } catch {
    return false;
  }
}

/**
 * Whether the server has moved, as far as that is known when a token request at the old authorization server has ended, or
 * soon after: the next refusal looks again.
 *
 * @param looking of {@link hasMoved}
 * @param requesting the token request; its failure is for the caller. Default: there is none, and the time begins at once
 */
export async function hasMovedMeanwhile(
  clock: Clock,
  looking: Promise<boolean>,
  requesting: Promise<unknown> = Promise.resolve(),
): Promise<boolean> {
  const stopped = new AbortController();
  const isLate = requesting
    .catch(() => {})
    .then(() => clock.sleep(lookMs, { signal: stopped.signal, background: true }))
    .then(
      () => false,
      () => false,
    );
  try {
    return await Promise.race([looking, isLate]);
  } finally {
    stopped.abort();
  }
}
