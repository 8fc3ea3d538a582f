import { abortable, deadline } from "../async.ts";
import { sendRevocation } from "../grants/revocation.ts";
import { keyAuthentication } from "../login/client-key.ts";
import type { Session } from "../login/session.ts";
import { serverMetadata } from "../tokens/known-server.ts";
import type { SupersededToken } from "../tokens/superseded.ts";
import { loginOf, type TokenRecord } from "../tokens/token-record.ts";

/** What the authorization server has confirmed. */
export interface Revoked {
  refreshTokenRevoked: boolean;
  accessTokenRevoked: boolean;
}

/** How long a logout waits for all superseded tokens together, in ms. */
const supersededMs = 5000;

/** Revokes the refresh token, then the access token of a login, as far as the server lets us. @see RFC 7009 */
export async function revoke(session: Session, record: TokenRecord): Promise<Revoked> {
  const { http, clock } = session;
  const { client, refreshToken, accessToken } = record;
  const server = await serverMetadata(session, record).catch(() => undefined);
  if (!server) return { refreshTokenRevoked: false, accessTokenRevoked: false };
  const options = { server, client, authentication: keyAuthentication(session, client, server), http, clock };
  return {
    refreshTokenRevoked: refreshToken !== undefined && (await sendRevocation(refreshToken, "refresh_token", options)),
    accessTokenRevoked: accessToken !== undefined && (await sendRevocation(accessToken, "access_token", options)),
  };
}

/**
 * Revokes the tokens of a login, then the refresh tokens of the logins that it had replaced.
 *
 * @returns `refreshTokenRevoked`: all of them were
 */
export async function revokeAll(session: Session, record: TokenRecord): Promise<Revoked> {
  const { superseded } = record;
  const isLogin = loginOf(record) !== undefined;
  const own = isLogin ? await revoke(session, record) : { refreshTokenRevoked: true, accessTokenRevoked: false };
  if (!superseded) return own;
  const areRevoked = await revokeSuperseded(session, superseded, record.resource);
  const isRevoked = own.refreshTokenRevoked || record.refreshToken === undefined;
  return { ...own, refreshTokenRevoked: isRevoked && areRevoked };
}

/** Each at its own server with its own client; all at once, so that a server that hangs keeps no other token alive. */
async function revokeSuperseded(session: Session, tokens: readonly SupersededToken[], resource: string): Promise<boolean> {
  const { http, clock } = session;
  const limit = deadline(clock, supersededMs, () => undefined);
  const byIssuer = Map.groupBy(tokens, ({ issuer }) => issuer);
  const revokeAt = async ([issuer, theirs]: [string, SupersededToken[]]) => {
    const server = await serverMetadata(session, { issuer, resource });
    const revoking = theirs.map(({ client, refreshToken }) => {
      const authentication = keyAuthentication(session, client, server);
      return sendRevocation(refreshToken, "refresh_token", { server, client, authentication, http, clock });
    });
    return (await Promise.all(revoking)).every(Boolean);
  };
  try {
    const revoking = Array.from(byIssuer, (entry) => revokeAt(entry).catch(() => false));
    return (await abortable(Promise.all(revoking), limit.signal)).every(Boolean);
  } catch {
    return false;
  } finally {
    limit.stop();
  }
}
