import { joinScopes } from "../authorization/scopes.ts";
import { checkOptions, needed, type Rules, scopes as scopesRule, text } from "../options.ts";
import { tokenRequestRules } from "./options.ts";
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

const refreshRules = (): Rules<RefreshGrant> => ({
  ...tokenRequestRules(),
  refreshToken: needed(text),
  resource: text,
  scopes: scopesRule,
});

/**
 * Refreshes an access token: one token request, no repetition.
 *
 * @throws McpAuthError as `tokenRequest`
 * @see RFC 6749 §6
 */
export async function refreshTokens(grant: RefreshGrant): Promise<TokenResponse> {
  checkOptions(grant, refreshRules());
  return sendRefreshToken(grant);
}

/** {@link refreshTokens}, unchecked. */
export function sendRefreshToken(grant: RefreshGrant): Promise<TokenResponse> {
  const { refreshToken, resource, scopes } = grant;
  return tokenRequest("refresh_token", { refresh_token: refreshToken, resource, scope: joinScopes(scopes) }, grant);
}
