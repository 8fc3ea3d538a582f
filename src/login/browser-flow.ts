import type { LoginSession } from "../authorization/login-handler.ts";
import type { PendingAuthorization } from "../authorization/pending.ts";
import { generateCodeChallenge, generateCodeVerifier, generateState } from "../authorization/pkce.ts";
import { authorizationUrl } from "../authorization/request.ts";
import { readAuthorizationResponse } from "../authorization/response.ts";
import { splitScope } from "../authorization/scopes.ts";
import { codeOf, LoginRequiredError, McpAuthError } from "../errors.ts";
import { sendCode } from "../grants/authorization-code.ts";
import { obtainClient } from "../registration/client-id.ts";
import type { ClientRegistration } from "../registration/registration.ts";
import { findRegistration, markUnanswered, redirectUriOf } from "../registration/stored.ts";
import type { TokenRecord } from "../tokens/token-record.ts";
import { type Authorization, storeLogin } from "./authorization.ts";
import { checkNonce } from "./nonce.ts";
import type { Session } from "./session.ts";

/**
 * Logs the user in by browser: starts to listen for the response, registers a client if needed, opens the authorization URL,
 * exchanges the code, and stores the tokens.
 *
 * @throws McpAuthError `login_required` without a login handler; every code of registration, authorization and token requests
 * @see RFC 6749 §4.1, RFC 7636, RFC 8252, RFC 8707
 */
export async function runBrowserFlow(session: Session, authorization: Authorization): Promise<TokenRecord> {
  const { options, emit, server: serverUrl, store, http, clock } = session;
  const { discovery, profile, signal } = authorization;
  const { issuer, server } = discovery;
  if (!options.loginHandler) {
    throw new LoginRequiredError({ serverUrl, issuer, party: "app", detail: "no `loginHandler`", hint: "Pass a `loginHandler`." });
  }

  const isFixed = options.redirectUris !== undefined;
  const registered = isFixed ? options.redirectUris : (await findRegistration(store, issuer))?.redirectUris;
  const { redirectHost } = profile;
  const receiver = await options.loginHandler.start({ serverUrl, redirectUris: registered, fixed: isFixed, redirectHost, signal });
  let client: ClientRegistration | undefined;
  try {
    const { redirectUris } = receiver;
    client = await obtainClient({ ...options, server, serverUrl, store, http, clock, emit, signal, redirectUris });
    return await requestAuthorization(session, authorization, client, receiver);
  } catch (error) {
    if (codeOf(error) === "login_timeout" && client?.kind === "dynamic") await markUnanswered(store, issuer, client.clientId);
    throw error;
  } finally {
    await receiver.close();
  }
}

async function requestAuthorization(
  session: Session,
  authorization: Authorization,
  client: ClientRegistration,
  receiver: LoginSession,
): Promise<TokenRecord> {
  const { http, emit, clock, server: serverUrl } = session;
  const { discovery, scopes, resource, parameters, signal } = authorization;
  const { issuer, server } = discovery;
  const codeVerifier = generateCodeVerifier();
  const pending: PendingAuthorization = {
    state: generateState(),
    codeVerifier,
    // Some servers refuse a request for an ID token without `nonce`.
    nonce: parameters.nonce ?? (isOpenId(scopes, parameters) ? generateState() : undefined),
    issuer,
    issParameterSupported: server.authorization_response_iss_parameter_supported === true,
    redirectUri: redirectUriOf(client, receiver.redirectUris) ?? receiver.redirectUri,
  };
  const url = authorizationUrl({
    server,
    clientId: client.clientId,
    redirectUri: pending.redirectUri,
    state: pending.state,
    codeChallenge: await generateCodeChallenge(codeVerifier),
    scopes,
    resource,
    parameters: { ...parameters, ...(pending.nonce !== undefined && { nonce: pending.nonce }) },
  });
  // A handler that ignores an aborted signal would wait without end.
  signal.throwIfAborted();
  emit({ type: "login.opened", issuer, redirectUri: pending.redirectUri });

  let record: TokenRecord | undefined;
  const receive = async (response: URLSearchParams) => {
    const { code } = readAuthorizationResponse(response, pending);
    // The time limit is for the user: it must not interrupt the exchange of the code.
    authorization.onResponse();
    // `state` is valid once: a repeated response is refused.
    pending.state = generateState();
    await authorization.verified;
    signal.throwIfAborted();
    const tokens = await sendCode({
      server,
      client,
      http,
      clock,
      code,
      codeVerifier,
      redirectUri: pending.redirectUri,
      resource,
    });
    checkNonce(tokens, pending, emit);
    record = await storeLogin(session, authorization, client, tokens);
  };
  await receiver.authorize(http.checkUrl(url), receive, signal);
  if (!record) throw new McpAuthError("invalid_authorization_response", { serverUrl, issuer, detail: "there was none" });
  return record;
}

/** Whether the request asks for an ID token. @see OpenID Connect Core 1.0 §3.1.2.1 */
function isOpenId(scopes: readonly string[], { scope }: Authorization["parameters"]): boolean {
  return (scope === undefined ? scopes : splitScope(scope)).includes("openid");
}
