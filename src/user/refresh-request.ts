import { splitScope } from "../authorization/scopes.ts";
import { sendRefreshToken } from "../grants/refresh.ts";
import type { TokenResponse } from "../grants/token-request.ts";
import { requestProfile, type Session } from "../login/session.ts";
import { attempts } from "../tokens/attempts.ts";
import { serverMetadata } from "../tokens/known-server.ts";
import type { TokenRecord } from "../tokens/token-record.ts";

/**
 * Sends the refresh token until there is an answer.
 *
 * @throws McpAuthError as `sendRefreshToken`, after bounded repetition
 */
export async function requestRefresh(session: Session, record: TokenRecord & { refreshToken: string }): Promise<TokenResponse> {
  const { clock, http } = session;
  const { issuer, client, refreshToken, resource } = record;
  const server = await serverMetadata(session, record);
  const profile = requestProfile(session, issuer);
  const grant = {
    server,
    client,
    http,
    clock,
    refreshToken,
    resource: profile.resourceParameter === false ? undefined : resource,
    scopes: profile.refreshScope ? (record.scope === undefined ? record.requestedScopes : splitScope(record.scope)) : undefined,
  };
  return attempts(session, issuer, (signal) => sendRefreshToken({ ...grant, signal }));
}
