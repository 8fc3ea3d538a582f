import type { PendingAuthorization } from "../authorization/pending.ts";
import { generateCodeChallenge, generateCodeVerifier, generateState } from "../authorization/pkce.ts";
import { authorizationUrl } from "../authorization/request.ts";
import { readAuthorizationResponse } from "../authorization/response.ts";
import { otherName } from "../discovery/issuer-names.ts";
import { sendCode } from "../grants/authorization-code.ts";
import { keepAuthMethod, withAuthMethod } from "../registration/auth-method.ts";
import type { ClientRegistration } from "../registration/registration.ts";
import { redirectUriOf } from "../registration/stored.ts";
import type { TokenRecord } from "../tokens/token-record.ts";
import { tokenHttp } from "../tokens/token-requests.ts";
import { type AuthorizationParameters, requestedScopes, storeLogin } from "./authorization.ts";
import { keyAuthentication } from "./client-key.ts";
import { checkNonce } from "./nonce.ts";
import type { Session } from "./session.ts";

/** Where a response can be received. */
export interface Receiver {
  /** The one that is sent by default. */
  readonly redirectUri: string;
  readonly redirectUris: readonly string[];
}

/**
 * A new authorization request: the URL to which the user is sent, and what must be remembered to check and use the response.
 *
 * @throws McpAuthError as {@link authorizationUrl}; `invalid_url`, `insecure_url` for an endpoint that no browser may be sent to
 */
export async function requestByBrowser(
  session: Session,
  authorization: AuthorizationParameters,
  client: ClientRegistration,
  receiver: Receiver,
): Promise<{ url: URL; pending: PendingAuthorization }> {
  const { discovery, resource, scopes, parameters } = authorization;
  const { issuer, server } = discovery;
  const codeVerifier = generateCodeVerifier();
  const pending: PendingAuthorization = {
    state: generateState(),
    codeVerifier,
    // Some servers refuse a request for an ID token without `nonce`.
    nonce: parameters.nonce ?? (requestedScopes(authorization).includes("openid") ? generateState() : undefined),
    issuer,
    issuerAlias: otherName(issuer, session.options),
    issParameterSupported: server.authorization_response_iss_parameter_supported === true,
    redirectUri: redirectUriOf(client, receiver.redirectUris) ?? receiver.redirectUri,
  };
  const { state, nonce, redirectUri } = pending;
  const url = authorizationUrl({
    server,
    clientId: client.clientId,
    redirectUri,
    state,
    codeChallenge: await generateCodeChallenge(codeVerifier),
    scopes,
    resource,
    parameters: { ...parameters, ...(nonce !== undefined && { nonce }) },
  });
  return { url: session.http.checkUrl(url), pending };
}

/**
 * The code of a checked response. Says in an event where its sender used another name that the app allows.
 *
 * @throws McpAuthError as {@link readAuthorizationResponse}
 */
export function receiveCode({ emit }: Session, response: URLSearchParams, pending: PendingAuthorization): string {
  const { code } = readAuthorizationResponse(response, pending);
  const { issuer, issuerAlias: detail } = pending;
  if (detail !== undefined && response.get("iss") === detail)
    emit({ type: "discovery.concession", concession: "issuer-alias", issuer, detail });
  return code;
}

/**
 * Exchanges the code and stores the tokens.
 *
 * @throws McpAuthError every code of token requests; the code is spent all the same
 */
export async function useCode(
  session: Session,
  authorization: Pick<AuthorizationParameters, "discovery" | "scopes" | "resource">,
  client: ClientRegistration,
  pending: PendingAuthorization,
  code: string,
): Promise<TokenRecord> {
  const { clock, emit, store } = session;
  const { discovery, resource } = authorization;
  const { codeVerifier, redirectUri } = pending;
  const { server } = discovery;
  const authentication = keyAuthentication(session, client, server);
  const exchange = { server, authentication, http: tokenHttp(session, discovery.issuer), clock, code, codeVerifier, redirectUri, resource };
  const { answer: tokens, client: known } = await withAuthMethod(client, (identity) => sendCode({ ...exchange, client: identity }));
  checkNonce(tokens, pending, emit);
  const record = await storeLogin(session, authorization, known, tokens);
  await keepAuthMethod(store, client, known);
  return record;
}
