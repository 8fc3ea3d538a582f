import { joinScopes } from "../authorization/scopes.ts";
import { type TokenRequestOptions, type TokenResponse, tokenRequest } from "./token-request.ts";

/** What a refresh needs. */
export interface RefreshGrant extends TokenRequestOptions {
  /** Shown to the server that issued it only. */
  refreshToken: string;
  /** Resource indicator (RFC 8707), as in the authorization request. */
  resource?: string | undefined;
  /** For servers that want the scopes repeated; normally left out. */
  scopes?: readonly string[] | undefined;
}

/**
 * Refreshes an access token: one token request, no repetition.
 *
 * @throws McpAuthError as `tokenRequest`
 * @see RFC 6749 §6
 */
export function refreshTokens(grant: RefreshGrant): Promise<TokenResponse> {
  const { refreshToken, resource, scopes } = grant;
  return tokenRequest("refresh_token", { refresh_token: refreshToken, resource, scope: joinScopes(scopes) }, grant);
}
