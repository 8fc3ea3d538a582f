import { checkOptions, needed, type Rules, text } from "../options.ts";
import { tokenRequestRules } from "./options.ts";
import { type TokenRequestOptions, type TokenResponse, tokenRequest } from "./token-request.ts";

/** What the exchange of an authorization code needs. */
export interface CodeExchange extends TokenRequestOptions {
  /** From the authorization response; usable once. */
  code: string;
  /** The one whose challenge was sent (RFC 7636 §4.5). */
  codeVerifier: string;
  /** The redirect URI of the authorization request, verbatim. */
  redirectUri: string;
  /** Resource indicator (RFC 8707), as in the authorization request. */
  resource?: string | undefined;
}

const codeExchangeRules = (): Rules<CodeExchange> => ({
  ...tokenRequestRules(),
  code: needed(text),
  codeVerifier: needed(text),
  redirectUri: needed(text),
  resource: text,
});

/**
 * Exchanges an authorization code for tokens: one token request.
 *
 * @throws McpAuthError as `tokenRequest`
 * @see RFC 6749 §4.1.3, RFC 7636 §4.5, RFC 8707 §2.2
 */
export async function exchangeCode(exchange: CodeExchange): Promise<TokenResponse> {
  checkOptions(exchange, codeExchangeRules());
  return sendCode(exchange);
}

/** {@link exchangeCode}, unchecked. */
export function sendCode(exchange: CodeExchange): Promise<TokenResponse> {
  const { code, codeVerifier, redirectUri, resource } = exchange;
  return tokenRequest("authorization_code", { code, code_verifier: codeVerifier, redirect_uri: redirectUri, resource }, exchange);
}
