import type { LoginSession } from "../authorization/login-handler.ts";
import type { PendingAuthorization } from "../authorization/pending.ts";
import { generateCodeChallenge, generateCodeVerifier, generateState } from "../authorization/pkce.ts";
import { buildAuthorizationUrl } from "../authorization/request.ts";
import { checkAuthorizationResponse } from "../authorization/response.ts";
import { selectScopes, splitScope } from "../authorization/scopes.ts";
import { deadline } from "../clock.ts";
import type { Challenge } from "../discovery/challenge.ts";
import type { Discovery } from "../discovery/discovery.ts";
import { codeOf, LoginRequiredError, McpAuthError } from "../errors.ts";
import { exchangeCode } from "../grants/authorization-code.ts";
import type { Profile } from "../profiles/profiles.ts";
import { obtainClient } from "../registration/client-id.ts";
import type { ClientRegistration } from "../registration/registration.ts";
import { findRegistration, markUnanswered, redirectUriOf } from "../registration/stored.ts";
import { loginTimeout, requestProfile, type Session } from "./session.ts";
import { fromAnswer, type TokenRecord } from "./token-record.ts";

/** What an authorization asks for. */
export interface AuthorizationPlan {
  challenge?: Challenge | undefined;
  /** Scopes that it must have: a step-up. */
  scopes?: readonly string[] | undefined;
  /** What the login before it had asked for. */
  askedBefore?: readonly string[] | undefined;
  /** Aborts when the login is given up. */
  signal: AbortSignal;
}

/**
 * One authorization, from the request for a place to receive the response to the stored tokens.
 *
 * @throws McpAuthError `login_required` without login handler, `login_timeout`; every code of registration, authorization
 *   and token requests
 * @see RFC 6749 §4.1, RFC 7636, RFC 8252, RFC 8707
 */
export async function authorizeAt(session: Session, discovery: Discovery, plan: AuthorizationPlan): Promise<TokenRecord> {
  const { options, emit, server: serverUrl, store, http, clock } = session;
  const { issuer } = discovery;
  if (!options.loginHandler) throw new LoginRequiredError({ serverUrl, issuer, detail: "no `loginHandler`" });
  const scopes = selectScopes({
    challenged: plan.challenge?.scope,
    wished: [...(options.scopes ?? []), ...(plan.scopes ?? [])],
    supported: discovery.scopesSupported,
    serverSupported: discovery.server.scopes_supported,
    askedBefore: plan.askedBefore,
  });
  emit({ type: "login.started", issuer, scopes });

  const isFixed = options.redirectUris !== undefined;
  const registered = isFixed ? options.redirectUris : (await findRegistration(store, issuer))?.redirectUris;
  const tooLate = () => new McpAuthError("login_timeout", { serverUrl, issuer });
  const { signal, stop } = deadline(clock, loginTimeout(options), tooLate, plan.signal);
  const profile = requestProfile(session, issuer);
  const { redirectHost } = profile;
  const receiver = await options.loginHandler.start({ serverUrl, redirectUris: registered, fixed: isFixed, redirectHost, signal });
  let client: ClientRegistration | undefined;
  try {
    const { redirectUris } = receiver;
    client = await obtainClient({ ...options, server: discovery.server, serverUrl, store, http, clock, emit, signal, redirectUris });
    const record = await sendPerson(session, discovery, { client, receiver, profile, scopes, signal, onResponse: stop });
    emit({ type: "login.finished", issuer, scopes: splitScope(record.scope ?? scopes.join(" ")) });
    return record;
  } catch (error) {
    if (codeOf(error) === "login_timeout" && client?.kind === "dynamic") await markUnanswered(store, issuer, client.clientId);
    throw error;
  } finally {
    stop();
    await receiver.close();
  }
}

/** Everything that is settled before the person is sent away. */
interface Authorization {
  client: ClientRegistration;
  receiver: LoginSession;
  profile: Partial<Profile>;
  scopes: readonly string[];
  signal: AbortSignal;
  /** Once the response is there the person's time does not count any more: a code is exchanged to the end. */
  onResponse: () => void;
}

async function sendPerson(
  session: Session,
  discovery: Discovery,
  { client, receiver, profile, scopes, signal, onResponse }: Authorization,
): Promise<TokenRecord> {
  const { http, emit, clock, server: serverUrl } = session;
  const { issuer, server, resource } = discovery;
  const resourceParameter = profile.resourceParameter === false ? undefined : resource;
  const codeVerifier = generateCodeVerifier();
  const pending: PendingAuthorization = {
    state: generateState(),
    codeVerifier,
    issuer,
    issParameterSupported: server.authorization_response_iss_parameter_supported === true,
    redirectUri: redirectUriOf(client, receiver.redirectUris) ?? receiver.redirectUri,
  };
  const url = buildAuthorizationUrl({
    server,
    clientId: client.clientId,
    redirectUri: pending.redirectUri,
    state: pending.state,
    codeChallenge: await generateCodeChallenge(codeVerifier),
    scope: scopes.join(" "),
    resource: resourceParameter,
    parameters: { ...(profile.audienceFromResource && { audience: resource }), ...profile.authorizationParameters },
  });
  // A handler that only listens would wait for ever.
  signal.throwIfAborted();
  emit({ type: "login.opened", issuer, redirectUri: pending.redirectUri });

  let record: TokenRecord | undefined;
  const receive = async (parameters: URLSearchParams) => {
    const { code } = checkAuthorizationResponse(parameters, pending);
    onResponse();
    // A code is used once: the same response again belongs to no login.
    pending.state = generateState();
    const answer = await exchangeCode({
      server,
      client,
      http,
      clock,
      code,
      codeVerifier,
      redirectUri: pending.redirectUri,
      resource: resourceParameter,
    });
    record = await store(session, {
      v: 1,
      resource,
      issuer,
      client,
      requestedScopes: scopes,
      issuedAt: clock.now(),
      ...(scopes.length > 0 && { scope: scopes.join(" ") }),
      ...fromAnswer(answer, clock.now()),
    });
    if (answer.problem) throw answer.problem;
  };
  await receiver.authorize(http.checkUrl(url), receive, signal);
  if (!record) throw new McpAuthError("invalid_authorization_response", { serverUrl, issuer, detail: "there was none" });
  return record;
}

/** Replaces what is stored. The refresh lock keeps a refresh of the old login from overwriting it. */
async function store(session: Session, record: TokenRecord): Promise<TokenRecord> {
  await session.keeper.locked(record.resource, (turn) => turn.save(record));
  // A stored login that cannot be found is asked for again, which is no reason to fail now.
  await session.keeper.index(record.resource).catch(() => {});
  return record;
}
