import { detailOf, factsOf, isTransient, McpAuthError } from "../errors.ts";
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
 * @throws McpAuthError as `tokenRequest`. After a transient one the code is spent all the same: a new login is needed
 * @see RFC 6749 §4.1.3, RFC 7636 §4.5, RFC 8707 §2.2
 */
export async function exchangeCode(exchange: CodeExchange): Promise<TokenResponse> {
  checkOptions(exchange, codeExchangeRules());
  return sendCode(exchange);
}

/** {@link exchangeCode}, unchecked. */
export async function sendCode(exchange: CodeExchange): Promise<TokenResponse> {
  const { code, codeVerifier, redirectUri, resource, server } = exchange;
  try {
    const parameters = { code, code_verifier: codeVerifier, redirect_uri: redirectUri, resource };
    return await tokenRequest("authorization_code", parameters, exchange);
  } catch (error) {
    if (!isTransient(error)) throw error;
    // Servers take a second use of a code for theft (RFC 6749 §4.1.2): it is never sent again, whatever became of it.
    const isLate = error.code === "timeout";
    throw new McpAuthError(error.code, {
      party: error.party,
      ...factsOf(error),
      issuer: server.issuer,
      detail: ["the code of this login is spent", detailOf(error)].filter(Boolean).join(", "),
      hint: isLate ? "Log in again; if the server is only slow, with a longer `requestTimeout`." : "Log in again later.",
      cause: error,
    });
  }
}
