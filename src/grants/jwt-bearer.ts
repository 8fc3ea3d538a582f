import { type TokenRequestOptions, type TokenResponse, tokenRequest } from "./token-request.ts";

/** `grant_type` of RFC 7523. */
export const jwtBearerGrantType = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/** What is asked for with an assertion. */
export interface JwtBearerGrant extends TokenRequestOptions {
  /** A JWT that speaks for the program or user whom the token is for. */
  assertion: string;
  /** Space-separated scopes. Default: what the server gives. */
  scope?: string | undefined;
  /** Resource indicator (RFC 8707). */
  resource?: string | undefined;
  /** Further parameters that some servers need. */
  parameters?: Readonly<Record<string, string>> | undefined;
}

/**
 * Exchanges an assertion for a token: one token request.
 *
 * @throws McpAuthError as `tokenRequest`
 * @see RFC 7523 §2.1, RFC 8707 §2.2
 */
export function jwtBearerGrant(grant: JwtBearerGrant): Promise<TokenResponse> {
  const { assertion, scope, resource, parameters } = grant;
  return tokenRequest(jwtBearerGrantType, { ...parameters, assertion, scope, resource }, grant);
}
