import type { AuthorizationServer } from "oauth4webapi";
import { McpAuthError } from "../errors.ts";
import { defined } from "../http/json.ts";
import { checkOptions, needed, type Rules, scopes as scopesRule, serverMetadata, text, textsByName } from "../options.ts";
import { joinScopes } from "./scopes.ts";

/** What an authorization request says. */
export interface AuthorizationRequest {
  /** Metadata of the authorization server. */
  server: AuthorizationServer;
  /** Who asks. */
  clientId: string;
  /** Where the response goes; must be registered. */
  redirectUri: string;
  /** Links the response to this request. */
  state: string;
  /** S256 challenge of the code verifier. */
  codeChallenge: string;
  /** Scopes to ask for. Without any the parameter is left out, and the server decides. */
  scopes?: readonly string[] | undefined;
  /** Resource indicator (RFC 8707); `undefined` where the server refuses the parameter. */
  resource?: string | undefined;
  /** Further parameters that some servers need, such as `access_type`. They may replace `scope` and `resource`, nothing else. */
  parameters?: Readonly<Record<string, string>> | undefined;
}

const requestRules = (): Rules<AuthorizationRequest> => ({
  server: needed(serverMetadata),
  clientId: needed(text),
  redirectUri: needed(text),
  state: needed(text),
  codeChallenge: needed(text),
  scopes: scopesRule,
  resource: text,
  parameters: textsByName,
});

/**
 * The URL to which the user is sent.
 *
 * @throws McpAuthError `discovery_failed` when the metadata has no authorization endpoint; `invalid_option` when
 *   `parameters` would replace a parameter that the login's safety rests on.
 * @see RFC 6749 §4.1.1, RFC 7636 §4.3, RFC 8707 §2
 */
export function buildAuthorizationUrl(request: AuthorizationRequest): URL {
  checkOptions(request, requestRules());
  return authorizationUrl(request);
}

/** {@link buildAuthorizationUrl}, unchecked. */
export function authorizationUrl(request: AuthorizationRequest): URL {
  const { server, scopes, resource, parameters } = request;
  const url = URL.parse(server.authorization_endpoint ?? "");
  if (!url) {
    throw new McpAuthError("discovery_failed", { issuer: server.issuer, detail: "its metadata have no valid `authorization_endpoint`" });
  }
  /** What belongs to the protocol's own checks: the app cannot set it. */
  const own: Readonly<Record<string, string>> = {
    response_type: "code",
    client_id: request.clientId,
    redirect_uri: request.redirectUri,
    state: request.state,
    code_challenge: request.codeChallenge,
    code_challenge_method: "S256",
  };
  for (const name in parameters) {
    if (Object.hasOwn(own, name) || name === "request" || name === "request_uri")
      throw new McpAuthError("invalid_option", { detail: `\`authorizationParameters\` must not hold \`${name}\`` });
  }
  const all = { ...own, ...defined({ scope: joinScopes(scopes), resource }), ...parameters };
  for (const [name, value] of Object.entries(all)) url.searchParams.set(name, value);
  return url;
}
