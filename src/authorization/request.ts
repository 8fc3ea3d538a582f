import type { AuthorizationServer } from "oauth4webapi";
import { McpAuthError } from "../errors.ts";

/** What an authorization request says. */
export interface AuthorizationRequest {
  /** Metadata of the authorization server. */
  server: AuthorizationServer;
  clientId: string;
  redirectUri: string;
  state: string;
  /** S256 challenge of the code verifier. */
  codeChallenge: string;
  /** Space-separated scopes; without it the parameter is left out and the server decides. */
  scope?: string | undefined;
  /** Resource indicator (RFC 8707); `undefined` where the server refuses the parameter. */
  resource?: string | undefined;
  /** Further parameters that some servers need, such as `access_type`. They may replace `scope` and `resource`, nothing else. */
  parameters?: Readonly<Record<string, string>> | undefined;
}

/** Parameters that belong to the protocol's own checks: the app cannot set them. */
const reserved = new Set([
  "response_type",
  "client_id",
  "redirect_uri",
  "state",
  "code_challenge",
  "code_challenge_method",
  "request",
  "request_uri",
]);

/**
 * The URL to which the person is sent.
 *
 * @throws McpAuthError `discovery_failed` when the metadata has no authorization endpoint; `invalid_option` when
 *   `parameters` would replace a parameter that the login's safety rests on.
 * @see RFC 6749 §4.1.1, RFC 7636 §4.3, RFC 8707 §2
 */
export function buildAuthorizationUrl(request: AuthorizationRequest): URL {
  const { server, scope, resource } = request;
  const endpoint = server.authorization_endpoint ?? "";
  if (!URL.canParse(endpoint)) {
    throw new McpAuthError("discovery_failed", { issuer: server.issuer, detail: "the metadata has no valid `authorization_endpoint`" });
  }
  const url = new URL(endpoint);
  const extra = Object.entries(request.parameters ?? {});
  for (const [name] of extra) {
    if (reserved.has(name)) throw new McpAuthError("invalid_option", { detail: `authorization parameter \`${name}\` cannot be set` });
  }
  const parameters: Record<string, string> = {
    response_type: "code",
    client_id: request.clientId,
    redirect_uri: request.redirectUri,
    state: request.state,
    code_challenge: request.codeChallenge,
    code_challenge_method: "S256",
    ...(scope && { scope }),
    ...(resource && { resource }),
    ...Object.fromEntries(extra),
  };
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
  return url;
}
