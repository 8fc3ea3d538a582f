import { splitScope } from "../authorization/scopes.ts";
import { sendRefreshToken } from "../grants/refresh.ts";
import type { TokenResponse } from "../grants/token-request.ts";
import { keyAuthentication } from "../login/client-key.ts";
import { requestProfile, type Session } from "../login/session.ts";
import { withAuthMethod } from "../registration/auth-method.ts";
import type { ClientRegistration } from "../registration/registration.ts";
import { attempts } from "../tokens/attempts.ts";
import { serverMetadata } from "../tokens/known-server.ts";
import type { TokenRecord } from "../tokens/token-record.ts";

/**
 * Sends the refresh token until there is an answer.
 *
 * @param check throws when the lock of the login is known to be lost
 * @returns the answer, and the client with the authentication method that worked
 * @throws McpAuthError as `sendRefreshToken`, after bounded repetition
 */
export async function requestRefresh(
  session: Session,
  record: TokenRecord & { refreshToken: string },
  check: () => void,
): Promise<{ answer: TokenResponse; client: ClientRegistration }> {
  const { clock } = session;
  const { issuer, client, refreshToken, resource } = record;
  const server = await serverMetadata(session, record);
  const profile = requestProfile(session, issuer);
  const grant = {
    server,
    authentication: keyAuthentication(session, client, server),
    clock,
    refreshToken,
    resource: profile.resourceParameter === false ? undefined : resource,
    scopes: profile.refreshScope ? (record.scope === undefined ? record.requestedScopes : splitScope(record.scope)) : undefined,
  };
  return withAuthMethod(client, (identity) =>
    attempts(session, issuer, (http) => sendRefreshToken({ ...grant, http, client: identity }), check),
  );
}
