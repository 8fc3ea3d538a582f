/**
 * For frameworks that take only an `OAuthClientProvider` of `@modelcontextprotocol/sdk`.
 *
 * @module mcp-client-auth/sdk-v1
 */

import type { OAuthClientProvider } from "@modelcontextprotocol/sdk/client/auth.js";
import { McpAuthError } from "../../errors.ts";
import { type AuthProviderOptions, ProvidedToken, type TokenSource } from "./provided-token.ts";

export type { AuthProviderOptions, TokenSource } from "./provided-token.ts";

/** Never leaves the process: it only tells the SDK that there is something to refresh. */
const placeholder = "managed-by-mcp-client-auth";
const redirectUri = "http://127.0.0.1/callback";

/**
 * An `OAuthClientProvider` for the transports of `@modelcontextprotocol/sdk` (v1), for frameworks that accept only
 * that. Where a `fetch` can be given, prefer `{ fetch: auth.fetch }`.
 *
 * The SDK asks for the token before every request: it is refreshed ahead of expiry there, and a login happens there.
 * On a 401 the SDK makes a token request of its own; it is led to an answer that is already here (a `data:` URL), after
 * the one real refresh that all callers share.
 *
 * What the SDK's handling makes impossible here; `fetch` has none of these limits:
 * - Step-up: the SDK does not say which scopes are missing. `auth.authorize({ scopes })` is the way there.
 * - A stronger or newer authentication (RFC 9470): the SDK does not say what the server wants, so the same kind of login is
 *   refreshed, and refused again. `authorizationParameters: { acr_values }` asks for it from the start.
 * - Several requests refused at the same moment: the SDK's transport fails those that come second with "Server returned
 *   401 after successful authentication". Tokens refreshed ahead of expiry make this rare.
 * - Knowing what the token is for: a stream that reconnects after the login has ended opens a login page as a call does.
 * - A 401 for ever on a GET stream: the SDK asks for ever.
 *
 * @param auth a `TokenManager`
 * @example
 * ```ts
 * new StreamableHTTPClientTransport(url, { authProvider: authProvider(auth) })
 * ```
 */
export function authProvider(auth: TokenSource, options?: AuthProviderOptions): OAuthClientProvider {
  const provided = new ProvidedToken(auth, options);
  const issuer = auth.serverUrl.origin;
  const answer = JSON.stringify({ access_token: placeholder, token_type: "Bearer", refresh_token: placeholder });
  return {
    redirectUrl: redirectUri,
    clientMetadata: { redirect_uris: [redirectUri] },
    clientInformation: () => ({ client_id: placeholder, issuer }),
    saveClientInformation: () => {},
    async tokens() {
      const token = await provided.get();
      return token === undefined ? undefined : { access_token: token, token_type: "Bearer", refresh_token: placeholder, issuer };
    },
    // The manager has stored the real ones.
    saveTokens: () => {},
    /** Called first whenever the SDK wants to authorise: the place to do it properly. */
    async discoveryState() {
      await provided.onRefused();
      return {
        authorizationServerUrl: issuer,
        resourceMetadata: { resource: auth.serverUrl.href, authorization_servers: [issuer] },
        authorizationServerMetadata: {
          issuer,
          authorization_endpoint: `${issuer}/`,
          token_endpoint: `data:application/json,${encodeURIComponent(answer)}`,
          response_types_supported: ["code"],
          token_endpoint_auth_methods_supported: ["none"],
        },
      };
    },
    redirectToAuthorization: () => Promise.reject(unreachable(auth)),
    saveCodeVerifier: () => {},
    codeVerifier: () => Promise.reject(unreachable(auth)),
  };
}

/** The SDK's own login is never reached; should a version of it change that, it must not go on quietly. */
function unreachable(auth: TokenSource): McpAuthError {
  return new McpAuthError("login_required", {
    serverUrl: auth.serverUrl.href,
    detail: "the SDK tried to log in by itself",
    hint: "Use a version of the SDK that this package supports.",
  });
}
