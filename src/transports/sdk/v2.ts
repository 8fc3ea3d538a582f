/**
 * For frameworks that take only an `AuthProvider` of `@modelcontextprotocol/client`.
 *
 * @module mcp-client-auth/sdk-v2
 */

import type { AuthProvider } from "@modelcontextprotocol/client";
import { challengeOf } from "../../discovery/challenge.ts";
import { type AuthProviderOptions, ProvidedToken, type TokenSource } from "./provided-token.ts";

export type { AuthProviderOptions, TokenSource } from "./provided-token.ts";

/**
 * An `authProvider` for the transports of `@modelcontextprotocol/client` (v2), for frameworks that accept only that.
 * Where a `fetch` can be given, prefer `{ fetch: auth.fetch }`: it does all of the following as well.
 *
 * What the SDK's interface makes impossible here:
 * - Step-up. A 403 for lack of scopes surfaces as the SDK's own `InsufficientScopeError`. `auth.authorize({ scopes })` is the
 *   way there.
 * - More than one demand for a stronger or newer authentication (RFC 9470) within 30 s: the first leads to a login, as the
 *   token that it brings is young the next one does not.
 * - Knowing what the token is for: a stream that reconnects after the login has ended opens a login page as a call does.
 * - Knowing which token was refused: a token that changed less than 30 s ago is not refreshed again, the request is
 *   just repeated.
 * - Repeating more than once: a second refusal of the same request is an error.
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
    onUnauthorized: ({ response }) => provided.onRefused(challengeOf(response)),
  };
}
