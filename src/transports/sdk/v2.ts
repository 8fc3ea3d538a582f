/**
 * For frameworks that take only an `AuthProvider` of `@modelcontextprotocol/client`.
 *
 * @module mcp-client-auth/sdk-v2
 */

import type { AuthProvider } from "@modelcontextprotocol/client";
import { readChallenge } from "../../discovery/challenge.ts";
import { type AuthProviderOptions, ProvidedToken, type TokenSource } from "./provided-token.ts";

export type { AuthProviderOptions, TokenSource } from "./provided-token.ts";

/**
 * An `authProvider` for the transports of `@modelcontextprotocol/client` (v2), for frameworks that accept nothing else. If a
 * `fetch` can be passed, prefer `{ fetch: auth.fetch }`.
 *
 * Limits of the SDK's interface, which `fetch` does not have:
 * - No step-up: a 403 for lack of scopes becomes the SDK's own `InsufficientScopeError`. Call `auth.authorize({ scopes })`
 *   instead.
 * - Only one stronger or more recent login (RFC 9470) within 30 s: the new token is young then, so a second challenge only
 *   repeats the request.
 * - The purpose of a token is unknown: a stream that reconnects after the end of the login opens a login page, as a call does.
 * - The refused token is unknown: if the token changed less than 30 s ago, it is not refreshed, and the request is only
 *   repeated.
 * - A request is repeated once: a second refusal is an error.
 *
 * @param auth a `TokenManager`
 * @example
 * ```ts
 * new StreamableHTTPClientTransport(url, { authProvider: authProvider(auth) })
 * ```
 */
export function authProvider(auth: TokenSource, options?: AuthProviderOptions): AuthProvider {
  const provided = new ProvidedToken(auth, options);
  return {
    token: () => provided.get(),
    onUnauthorized: ({ response }) => provided.onRefused(readChallenge(response)),
  };
}
