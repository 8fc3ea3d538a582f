/**
 * For frameworks that take only an `OAuthClientProvider` of `@modelcontextprotocol/sdk`.
 *
 * @module mcp-client-auth/sdk-v1
 */

import type { OAuthClientProvider } from "@modelcontextprotocol/sdk/client/auth.js";
import { McpAuthError } from "../../errors.ts";
import { type AuthProviderOptions, ProvidedToken, type TokenSource } from "./provided-token.ts";

export type { AuthProviderOptions, TokenSource } from "./provided-token.ts";

/** Never leaves the process: it makes the SDK believe that it can refresh. */
const placeholder = "managed-by-mcp-client-auth";
const redirectUri = "http://127.0.0.1/callback";

/**
 * An `OAuthClientProvider` for the transports of `@modelcontextprotocol/sdk` (v1), for frameworks that accept nothing else.
 * If a `fetch` can be passed, prefer `{ fetch: auth.fetch }`.
 *
 * The SDK asks for the token before each request: then it is refreshed ahead of expiry, and a login happens if needed. After a
 * 401 the SDK makes a token request of its own. It gets a prepared response (a `data:` URL), after the one real refresh that
 * all callers share.
 *
 * Limits of the SDK's interface, which `fetch` does not have:
 * - No step-up: the SDK does not say which scopes are missing. Call `auth.authorize({ scopes })` instead.
 * - No stronger or more recent login (RFC 9470): the SDK does not say what the server demands, so the same login is refreshed
 *   and refused again. Set `authorizationParameters: { acr_values }` from the start instead.
 * - Several requests refused at the same moment: the SDK fails all but the first with "Server returned 401 after successful
 *   authentication". This is rare, because tokens are refreshed ahead of expiry.
 * - The purpose of a token is unknown: a stream that reconnects after the end of the login opens a login page, as a call does.
 * - A GET stream that always gets a 401: the SDK never stops to ask.
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
    // The manager has already stored the real tokens.
    saveTokens: () => {},
    /** The SDK calls this first when it wants to authorise, so the real refresh or login happens here. */
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

/** Refuses the SDK's own login, which is never reached: a version of the SDK that changes this must not fail silently. */
function unreachable(auth: TokenSource): McpAuthError {
  return new McpAuthError("login_required", {
    serverUrl: auth.serverUrl.href,
    detail: "the SDK tried to log in by itself",
    hint: "Use a version of the SDK that this package supports.",
  });
}
