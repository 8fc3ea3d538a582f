import { joinScopes } from "../authorization/scopes.ts";
import { checkOptions, type Rules } from "../options.ts";
import { askedRules, tokenRequestRules } from "./options.ts";
import { type TokenRequestOptions, type TokenResponse, tokenRequest } from "./token-request.ts";

/** What a program asks for in its own name. */
export interface ClientCredentialsGrant extends TokenRequestOptions {
  /** Scopes to ask for. Default: what the server gives. */
  scopes?: readonly string[] | undefined;
  /** Resource indicator (RFC 8707). */
  resource?: string | undefined;
  /** Further parameters that some servers need, such as `audience`. */
  parameters?: Readonly<Record<string, string>> | undefined;
}

const clientCredentialsRules = (): Rules<ClientCredentialsGrant> => ({ ...tokenRequestRules(), ...askedRules() });

/**
 * A token for the client itself: one token request.
 *
 * @throws McpAuthError as `tokenRequest`
 * @see RFC 6749 §4.4, RFC 8707 §2.2
 */
export async function requestClientToken(grant: ClientCredentialsGrant): Promise<TokenResponse> {
  checkOptions(grant, clientCredentialsRules());
  return sendClientCredentials(grant);
}

/** {@link requestClientToken}, unchecked. */
export function sendClientCredentials(grant: ClientCredentialsGrant): Promise<TokenResponse> {
  const { scopes, resource, parameters } = grant;
  return tokenRequest("client_credentials", { ...parameters, scope: joinScopes(scopes), resource }, grant);
}
