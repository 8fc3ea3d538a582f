import { revokeToken } from "../grants/revocation.ts";
import { type Session, serverMetadata } from "./session.ts";
import type { TokenRecord } from "./token-record.ts";

/** What a logout did. The login is deleted here in any case. */
export interface LogoutResult {
  /** Whether there was a login to end. */
  wasLoggedIn: boolean;
  /** Whether the authorization server confirmed that the login cannot be refreshed any more. */
  refreshTokenRevoked: boolean;
  /** Whether it confirmed the same of the access token; many servers cannot revoke these, and let them expire. */
  accessTokenRevoked: boolean;
}

const nothing = { refreshTokenRevoked: false, accessTokenRevoked: false };

/**
 * Ends a login: revokes the refresh token, then the access token, as far as the server lets us, then deletes both.
 *
 * @throws McpAuthError `lock_timeout`, `store_failed`
 * @see RFC 7009
 */
export async function logout(session: Session, known: TokenRecord | undefined): Promise<LogoutResult> {
  const { emit, keeper } = session;
  const record = known ?? (await keeper.load());
  if (!record) return { wasLoggedIn: false, ...nothing };
  const result = await keeper.locked(record.resource, async ({ current, save }) => {
    const revoked = current ? await revoke(session, current) : nothing;
    await save(undefined);
    return { wasLoggedIn: current !== undefined, ...revoked };
  });
  emit({ type: "tokens.deleted", reason: "logout" });
  emit({ type: "logout.finished", revoked: result.refreshTokenRevoked });
  return result;
}

async function revoke(session: Session, record: TokenRecord): Promise<Omit<LogoutResult, "wasLoggedIn">> {
  const { http } = session;
  const { client, refreshToken, accessToken } = record;
  const server = await serverMetadata(session, record).catch(() => undefined);
  if (!server) return nothing;
  return {
    refreshTokenRevoked: refreshToken !== undefined && (await revokeToken(refreshToken, "refresh_token", { server, client, http })),
    accessTokenRevoked: accessToken !== undefined && (await revokeToken(accessToken, "access_token", { server, client, http })),
  };
}
