import type { AuthorizationServerMetadata } from "../discovery/discovery.ts";
import { revokeToken } from "../grants/revocation.ts";
import { type Session, serverMetadata } from "./session.ts";
import type { TokenRecord } from "./token-record.ts";

/** What a logout did. */
export interface LogoutResult {
  /** Whether there was a login to end. It is deleted here in any case. */
  wasLoggedIn: boolean;
  /** Whether the authorization server confirmed that every token is revoked. Without it they live until they expire. */
  revoked: boolean;
}

/**
 * Ends a login: revokes the refresh token, then the access token, as far as the server lets us, then deletes both.
 *
 * @throws McpAuthError `lock_timeout`, `store_failed`
 * @see RFC 7009
 */
export async function logout(session: Session, known: TokenRecord | undefined): Promise<LogoutResult> {
  const { emit, keeper, server: serverUrl } = session;
  const record = known ?? (await keeper.load());
  if (!record) return { wasLoggedIn: false, revoked: false };
  const result = await keeper.locked(record.resource, async ({ current, save }) => {
    const revoked = current ? await revokeAll(session, current) : false;
    await save(undefined);
    return { wasLoggedIn: current !== undefined, revoked };
  });
  emit({ type: "tokens.deleted", serverUrl, reason: "logout" });
  emit({ type: "logout.finished", serverUrl, revoked: result.revoked });
  return result;
}

async function revokeAll(session: Session, { issuer, client, refreshToken, accessToken }: TokenRecord): Promise<boolean> {
  const { http } = session;
  const server: AuthorizationServerMetadata | undefined = await serverMetadata(session, issuer).catch(() => undefined);
  if (!server) return false;
  const answers = [];
  if (refreshToken) answers.push(await revokeToken(refreshToken, "refresh_token", { server, client, http }));
  if (accessToken) answers.push(await revokeToken(accessToken, "access_token", { server, client, http }));
  return answers.every(Boolean);
}
