import { joinScopes } from "../authorization/scopes.ts";
import { checkOptions, needed, type Rules, text } from "../options.ts";
import { askedRules, tokenRequestRules } from "./options.ts";
import { type TokenRequestOptions, type TokenResponse, tokenRequest } from "./token-request.ts";

/** `grant_type` of RFC 7523. */
export const jwtBearerGrantType = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/** What is asked for with an assertion. */
export interface JwtBearerGrant extends TokenRequestOptions {
  /** A JWT that speaks for the program or user whom the token is for. */
  assertion: string;
  /** Scopes to ask for. Default: what the server gives. */
  scopes?: readonly string[] | undefined;
  /** Resource indicator (RFC 8707). */
  resource?: string | undefined;
  /** Further parameters that some servers need. */
  parameters?: Readonly<Record<string, string>> | undefined;
}

const jwtBearerRules = (): Rules<JwtBearerGrant> => ({ ...tokenRequestRules(), ...askedRules(), assertion: needed(text) });

/**
 * Exchanges an assertion for a token: one token request.
 *
 * @throws McpAuthError as `tokenRequest`
 * @see RFC 7523 §2.1, RFC 8707 §2.2
 */
export async function exchangeAssertion(grant: JwtBearerGrant): Promise<TokenResponse> {
  checkOptions(grant, jwtBearerRules());
  return sendAssertion(grant);
}

/** {@link exchangeAssertion}, unchecked. */
export function sendAssertion(grant: JwtBearerGrant): Promise<TokenResponse> {
  const { assertion, scopes, resource, parameters } = grant;
  return tokenRequest(jwtBearerGrantType, { ...parameters, assertion, scope: joinScopes(scopes), resource }, grant);
}
