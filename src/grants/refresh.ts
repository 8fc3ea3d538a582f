import { type TokenRequestOptions, type TokenResponse, tokenRequest } from "./token-request.ts";

/** What a refresh needs. */
export interface RefreshGrant extends TokenRequestOptions {
  /** Shown to the server that issued it only. */
  refreshToken: string;
  /** Resource indicator (RFC 8707), as in the authorization request. */
  resource?: string | undefined;
  /** Space-separated scopes, for servers that want them repeated; normally left out. */
  scope?: string | undefined;
}

/**
 * Refreshes an access token: one token request, no repetition.
 *
 * @throws McpAuthError as `tokenRequest`
 * @see RFC 6749 §6
 */
export function refreshGrant(grant: RefreshGrant): Promise<TokenResponse> {
  const { refreshToken, resource, scope } = grant;
  return tokenRequest("refresh_token", { refresh_token: refreshToken, resource, scope }, grant);
}
