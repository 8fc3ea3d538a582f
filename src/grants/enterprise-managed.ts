import type { MachineClient } from "../client-auth/machine-client.ts";
import { McpAuthError } from "../errors.ts";
import type { AssertionRequest, AssertionSource } from "./assertion.ts";

/** A person's sign-on at the company's identity provider, and who this program is there. */
export interface EnterpriseManagedOptions extends MachineClient {
  /** This program at the identity provider: the client of the sign-on. */
  clientId: string;
  /** The identity provider; its metadata is asked for once. */
  issuer?: string | undefined;
  /** Its token endpoint, where it has no metadata or the request is to go elsewhere. */
  tokenEndpoint?: string | undefined;
  /** What the sign-on gave: an ID token or a refresh token. A function is asked at each exchange. */
  subjectToken: string | (() => string | Promise<string>);
  /** Which of the two. Default `id_token`. */
  subjectTokenType?: "id_token" | "refresh_token" | undefined;
  /**
   * Stores a new refresh token, which replaces the one that was used. Needed with `refresh_token`: identity providers that
   * rotate them end a sign-on whose token is used twice. Until it has succeeded, nothing else is asked for.
   */
  onRefreshToken?: ((refreshToken: string) => void | Promise<void>) | undefined;
  /** Space-separated scopes of the assertion. Default: those of the token request that it is for. */
  scope?: string | undefined;
  /** Further parameters of the exchange. */
  parameters?: Readonly<Record<string, string>> | undefined;
  /** Whose sign-on it is, such as the person's ID: tells persons apart in a shared store. */
  identity?: string | undefined;
}

/**
 * Enterprise-managed authorization: a person who has signed on at the company's identity provider is let in by every MCP
 * server that the company allows, without being asked there.
 *
 * Each assertion (an ID-JAG) is made by exchanging the sign-on's token at the identity provider, for one authorization server
 * and one MCP server. It is neither stored nor told to anybody else. One source serves all MCP servers of a person.
 *
 * With a refresh token there must be one source only, in one process: its exchanges take turns, so that no token is shown
 * twice. Where several processes share a sign-on, use its ID token.
 *
 * @returns the source; it throws, naming the identity provider as `issuer`, `invalid_grant` when the person has to sign on
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
  const { issuer, tokenEndpoint, subjectTokenType, onRefreshToken } = options;
  if (issuer === undefined && tokenEndpoint === undefined) {
    throw new McpAuthError("invalid_option", { detail: "`issuer` or `tokenEndpoint` of the identity provider is missing" });
  }
  if (subjectTokenType === "refresh_token" && !onRefreshToken) {
    throw new McpAuthError("invalid_option", { detail: "`onRefreshToken` is missing: a refresh token may be replaced when it is used" });
  }
  let exchange: Promise<(request: AssertionRequest) => Promise<string>> | undefined;
  const assertion = async (request: AssertionRequest): Promise<string> => {
    exchange ??= import("./id-jag.ts").then(({ idJagExchange }) => idJagExchange(options));
    return (await exchange)(request);
  };
  return Object.assign(assertion, { identity: options.identity });
}
