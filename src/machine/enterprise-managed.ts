import { machineClientRules } from "../client-auth/machine-client.ts";
import { McpAuthError } from "../errors.ts";
import { callback, checkOptions, needed, oneOf, type Rules, scopes, secret, text, textsByName } from "../options.ts";
import type { AssertionRequest, AssertionSource } from "./assertion.ts";
import type { EnterpriseManagedOptions } from "./id-jag.ts";

export type { EnterpriseManagedOptions } from "./id-jag.ts";

const enterpriseManagedRules = (): Rules<EnterpriseManagedOptions> => ({
  ...machineClientRules(),
  clientId: needed(text),
  issuer: text,
  tokenEndpoint: text,
  subjectToken: needed(secret),
  subjectTokenType: oneOf("id_token", "refresh_token"),
  onRefreshToken: callback,
  scopes,
  parameters: textsByName,
  identity: text,
});

/**
 * Enterprise-managed authorization: a user signs on once, at the company's identity provider. Every MCP server that the
 * company allows then accepts the user without a login of its own.
 *
 * The source exchanges the sign-on's token at the identity provider for an assertion (an ID-JAG), one for each authorization
 * server and MCP server. It is neither stored nor sent to any other server. One source serves all MCP servers of a user.
 *
 * With a refresh token use only one source, in one process: it runs its exchanges one after the other, so that no token is
 * used twice. If several processes share a sign-on, use its ID token.
 *
 * @returns the source; it throws, naming the identity provider as `issuer`, `invalid_grant` when the user has to sign on
 *   again, `invalid_client`, `token_request_refused` when the company does not allow it, `grant_unsupported`,
 *   `invalid_token_response`, `assertion_unavailable` when `subjectToken` or `onRefreshToken` fail, and what discovery and
 *   `http.fetch` throw
 * @throws McpAuthError `invalid_option`
 * @see MCP extension Enterprise-Managed Authorization; RFC 8693 §2; Identity Assertion JWT Authorization Grant
 * @example
 * ```ts
 * const assertion = enterpriseManaged({ issuer: "https://login.acme.example", clientId: "agent", clientSecret, subjectToken: idToken, identity: "alice" });
 * const auth = new MachineTokenManager({ serverUrl, clientId: "agent-at-mcp", clientSecret: secretThere, assertion });
 * ```
 */
export function enterpriseManaged(options: EnterpriseManagedOptions): AssertionSource {
  checkOptions(options, enterpriseManagedRules());
  const { issuer, tokenEndpoint, subjectTokenType, onRefreshToken } = options;
  if (issuer === undefined && tokenEndpoint === undefined) {
    throw new McpAuthError("invalid_option", { detail: "the identity provider's `issuer` or `tokenEndpoint` is missing" });
  }
  if (subjectTokenType === "refresh_token" && !onRefreshToken) {
    throw new McpAuthError("invalid_option", {
      detail: "`onRefreshToken` is missing, and a refresh token may be replaced when it is used",
    });
  }
  let exchange: Promise<(request: AssertionRequest) => Promise<string>> | undefined;
  const assertion = async (request: AssertionRequest): Promise<string> => {
    exchange ??= import("./id-jag.ts").then(({ idJagExchange }) => idJagExchange(options));
    return (await exchange)(request);
  };
  return Object.assign(assertion, { identity: options.identity });
}
