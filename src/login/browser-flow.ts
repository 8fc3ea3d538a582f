import type { LoginSession } from "../authorization/login-handler.ts";
import { generateState } from "../authorization/pkce.ts";
import { lacksState } from "../authorization/response.ts";
import { codeOf, LoginRequiredError, McpAuthError } from "../errors.ts";
import { obtainClient } from "../registration/client-id.ts";
import type { ClientRegistration } from "../registration/registration.ts";
import { findRegistration } from "../registration/stored.ts";
import { markAnswered, markUnanswered } from "../registration/unanswered.ts";
import type { TokenRecord } from "../tokens/token-record.ts";
import { type Authorization, requestedScopes } from "./authorization.ts";
import { receiveCode, requestByBrowser, useCode } from "./browser-request.ts";
import { loginName } from "./login-name.ts";
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
  try {
    const { redirectUris } = receiver;
    const scopes = requestedScopes(authorization);
    const [serverName, login] = [await session.serverName(), await loginName(session)];
    const client = await obtainClient({ ...options, server, serverName, store, http, clock, emit, signal, redirectUris, scopes, login });
    return await requestAuthorization(session, authorization, client, receiver);
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
  const { emit, store, server: serverUrl } = session;
  const { discovery, signal } = authorization;
  const { issuer } = discovery;
  const { url, pending } = await requestByBrowser(session, authorization, client, receiver);
  const login = await loginName(session);
  const isForgettable = client.kind === "dynamic";
  if (isForgettable) await markUnanswered(store, client, login);
  // A note that cannot be written costs one registration more.
  const note = async () => (isForgettable ? markAnswered(store, client, login).catch(() => {}) : undefined);
  // A handler that ignores an aborted signal would wait without end.
  signal.throwIfAborted();
  emit({ type: "login.opened", issuer, redirectUri: pending.redirectUri });

  let record: TokenRecord | undefined;
  const receive = async (response: URLSearchParams) => {
    let code: string;
    try {
      code = receiveCode(session, response, pending);
    } catch (error) {
      // An error is an answer, too: the server knows the client.
      if (codeOf(error) !== "state_mismatch") await note();
      throw error;
    }
    // The time limit is for the user: it must not interrupt the exchange of the code.
    authorization.onResponse();
    // `state` is valid once: a repeated response is refused. Nothing is awaited before.
    pending.state = generateState();
    await Promise.all([authorization.verified, note()]);
    signal.throwIfAborted();
    record = await useCode(session, authorization, client, pending, code);
  };
  let stateless: McpAuthError | undefined;
  const watch = async (response: URLSearchParams) => {
    try {
      await receive(response);
    } catch (error) {
      if (lacksState(error)) stateless = error;
      throw error;
    }
  };
  await receiver.authorize(url, watch, signal).catch((error: unknown) => {
    throw stateless && codeOf(error) === "login_timeout" ? notMatched(stateless, serverUrl, error) : error;
  });
  if (!record) throw new McpAuthError("invalid_authorization_response", { serverUrl, issuer, detail: "there was none" });
  return record;
}

/** The time is over, and the user may have answered: the response could not be matched. */
function notMatched({ issuer, hint }: McpAuthError, serverUrl: string, cause: unknown): McpAuthError {
  const detail = "a response without `state` had arrived, which authorization servers must repeat (RFC 6749 §4.1.2)";
  return new McpAuthError("login_timeout", { serverUrl, issuer, party: "authorization-server", detail, hint, cause });
}
