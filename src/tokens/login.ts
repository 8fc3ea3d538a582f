import type { LoginSession } from "../authorization/login-handler.ts";
import type { PendingAuthorization } from "../authorization/pending.ts";
import { generateCodeChallenge, generateCodeVerifier, generateState } from "../authorization/pkce.ts";
import { buildAuthorizationUrl } from "../authorization/request.ts";
import { checkAuthorizationResponse } from "../authorization/response.ts";
import { selectScopes, splitScope } from "../authorization/scopes.ts";
import { writeDiscovery } from "../discovery/cache.ts";
import type { Challenge } from "../discovery/challenge.ts";
import { type Discovery, discover, type Speculation } from "../discovery/discovery.ts";
import { requirePkce } from "../discovery/server-metadata.ts";
import { LoginRequiredError, McpAuthError } from "../errors.ts";
import { exchangeCode } from "../grants/authorization-code.ts";
import { obtainClient } from "../registration/client-id.ts";
import type { ClientRegistration } from "../registration/registration.ts";
import { findRegistration, forgetRegistration, markUnanswered, redirectUriOf } from "../registration/stored.ts";
import { freshness } from "./freshness.ts";
import { requestProfile, type Session } from "./session.ts";
import { fromAnswer, readTokens, sameTokens, type TokenRecord, tokenKey } from "./token-record.ts";

/** What leads to a login. */
export interface LoginPlan {
  /** The server's refusal, where there was one. */
  challenge?: Challenge | undefined;
  /** Metadata requests that are under way already. */
  speculation?: Speculation | undefined;
  /** The login that will not do any more. */
  known?: TokenRecord | undefined;
  /** An authorization server that the resource does not name any more: its logins do not count. */
  movedFrom?: string | undefined;
  /** Scopes that the new login must have: a step-up. */
  scopes?: readonly string[] | undefined;
  /** Aborts when the login is given up. */
  signal: AbortSignal;
}

const defaultLoginTimeoutMs = 300_000;

/**
 * Logs a person in, once however many processes want it:
 *
 * 1. takes the login lock; whoever had it before may have logged in already, and that login is used
 * 2. finds the authorization server and its metadata
 * 3. opens a place to receive the response, and gets a client identity that allows it
 * 4. sends the person to the authorization server, checks the response, exchanges the code
 * 5. stores the tokens, then shows the person the outcome
 *
 * @throws McpAuthError any code of discovery, registration, authorization and token requests; `login_timeout`
 */
export async function login(session: Session, plan: LoginPlan): Promise<TokenRecord> {
  const { store, account, server, emit, options } = session;
  const { loginTimeout = defaultLoginTimeoutMs } = options;
  return store
    .withLock(
      `login/${account}/${server}`,
      async () => {
        const stored = await session.keeper.load();
        if (stored && serves(stored, plan, session)) return stored;

        const discovery = await findServers(session, plan);
        const elsewhere = await readTokens(store, tokenKey(account, discovery.resource));
        if (elsewhere?.issuer === discovery.issuer && serves(elsewhere, plan, session)) {
          await session.keeper.index(discovery.resource);
          return elsewhere;
        }
        const askedBefore = (stored?.issuer === discovery.issuer ? stored : undefined)?.requestedScopes;
        const startedAt = session.clock.now();
        try {
          return await loginAt(session, discovery, plan, askedBefore);
        } catch (error) {
          if (!(await isForgottenClient(session, discovery.issuer, startedAt, error))) throw error;
          // A registration that the server has forgotten is made anew, once.
          return await loginAt(session, discovery, plan, askedBefore);
        }
      },
      { signal: plan.signal, waitMs: loginTimeout },
    )
    .catch((error: unknown) => {
      if (error instanceof McpAuthError) emit({ type: "login.failed", serverUrl: server, code: error.code });
      throw error;
    });
}

/** Whether a login that somebody else made meanwhile is what this one is for. */
function serves(record: TokenRecord, plan: LoginPlan, { clock }: Session): boolean {
  if (sameTokens(record, plan.known) || record.issuer === plan.movedFrom || freshness(record, clock.now(), 1) === "expired") return false;
  const granted = splitScope(record.scope);
  return plan.scopes?.every((scope) => granted.includes(scope) || record.requestedScopes.includes(scope)) ?? true;
}

async function findServers(session: Session, { challenge, speculation, signal }: LoginPlan): Promise<Discovery> {
  const { serverUrl, http, clock, emit, store, options } = session;
  const { chooseAuthorizationServer, strictIssuer, issuer } = options;
  const discovery = await discover(serverUrl, {
    http,
    clock,
    emit,
    challenge,
    speculation,
    signal,
    chooseAuthorizationServer,
    strictIssuer,
    issuer,
  });
  requirePkce(discovery.server);
  await writeDiscovery(store, discovery);
  const profile = requestProfile(session, discovery.issuer);
  if (profile.name) emit({ type: "discovery.concession", concession: "profile", issuer: discovery.issuer, detail: profile.name });
  return discovery;
}

async function loginAt(
  session: Session,
  discovery: Discovery,
  plan: LoginPlan,
  askedBefore: readonly string[] | undefined,
): Promise<TokenRecord> {
  const { options, emit, server: serverUrl, store } = session;
  const { issuer } = discovery;
  if (!options.loginHandler) throw new LoginRequiredError({ serverUrl, issuer, detail: "there is no `loginHandler`" });
  const scopes = selectScopes({
    challenged: plan.challenge?.scope,
    wished: [...(options.scopes ?? []), ...(plan.scopes ?? [])],
    supported: discovery.scopesSupported,
    serverSupported: discovery.server.scopes_supported,
    askedBefore,
  });
  emit({ type: "login.started", serverUrl, issuer, scopes });

  const isFixed = options.redirectUris !== undefined;
  const registered = isFixed ? options.redirectUris : (await findRegistration(store, issuer))?.redirectUris;
  const { timeout, stop } = personsTime(session);
  const signal = AbortSignal.any([plan.signal, timeout]);
  const { redirectHost } = requestProfile(session, issuer);
  const receiver = await options.loginHandler.start({ serverUrl, redirectUris: registered, fixed: isFixed, redirectHost, signal });
  try {
    const client = await clientFor(session, discovery, receiver, signal);
    try {
      const record = await authorize(session, discovery, { client, receiver, scopes, signal, onResponse: stop });
      if (client.unanswered) await markUnanswered(store, issuer, client.clientId, false);
      emit({ type: "login.finished", serverUrl, issuer, scopes: splitScope(record.scope ?? scopes.join(" ")) });
      return record;
    } catch (error) {
      if (!timeout.aborted || error instanceof McpAuthError) throw error;
      if (client.kind === "dynamic") await markUnanswered(store, issuer, client.clientId);
      throw new McpAuthError("login_timeout", { serverUrl, issuer });
    }
  } finally {
    stop();
    await receiver.close();
  }
}

/** The person's time. Once the response is there it does not count any more: a code is exchanged to the end. */
function personsTime({ clock, options }: Session): { timeout: AbortSignal; stop: () => void } {
  const over = new AbortController();
  const answered = new AbortController();
  clock.sleep(options.loginTimeout ?? defaultLoginTimeoutMs, { signal: answered.signal, background: true }).then(
    () => over.abort(),
    () => {},
  );
  return { timeout: over.signal, stop: () => answered.abort() };
}

function clientFor(
  { options, store, http, clock, emit, serverUrl }: Session,
  { server }: Discovery,
  receiver: LoginSession,
  signal: AbortSignal,
): Promise<ClientRegistration> {
  const { clientId, clientSecret, tokenEndpointAuthMethod, clientMetadataUrl, clientName, clientMetadata, issuer } = options;
  return obtainClient({
    server,
    serverUrl,
    store,
    http,
    clock,
    emit,
    signal,
    clientId,
    clientSecret,
    tokenEndpointAuthMethod,
    clientMetadataUrl,
    clientName,
    clientMetadata,
    issuer,
    redirectUris: receiver.redirectUris,
  });
}

interface Authorization {
  client: ClientRegistration;
  receiver: LoginSession;
  scopes: readonly string[];
  signal: AbortSignal;
  onResponse: () => void;
}

async function authorize(
  session: Session,
  discovery: Discovery,
  { client, receiver, scopes, signal, onResponse }: Authorization,
): Promise<TokenRecord> {
  const { http, emit, server: serverUrl } = session;
  const { issuer, server, resource } = discovery;
  const profile = requestProfile(session, issuer);
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
  emit({ type: "login.opened", serverUrl, issuer, redirectUri: pending.redirectUri });

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
      issuedAt: session.clock.now(),
      ...(scopes.length > 0 && { scope: scopes.join(" ") }),
      ...fromAnswer(answer, session.clock.now()),
    });
    if (answer.problem) throw answer.problem;
  };
  await receiver.authorize(http.checkUrl(url), receive, signal);
  if (!record) throw new McpAuthError("invalid_authorization_response", { serverUrl, issuer, detail: "the login handler received none" });
  return record;
}

/** Replaces what is stored. The refresh lock keeps a refresh of the old login from overwriting it. */
async function store(session: Session, record: TokenRecord): Promise<TokenRecord> {
  await session.keeper.locked(record.resource, (turn) => turn.save(record));
  // A stored login that cannot be found is asked for again, which is no reason to fail now.
  await session.keeper.index(record.resource).catch(() => {});
  return record;
}

/** Whether the server does not know a registration that was made for an earlier login. It is forgotten then. */
async function isForgottenClient({ store, emit }: Session, issuer: string, startedAt: number, error: unknown): Promise<boolean> {
  if (!(error instanceof McpAuthError)) return false;
  const refused =
    error.code === "invalid_client" ||
    (error.code === "authorization_error" && /^(invalid|unauthorized)_client$/.test(error.serverError ?? ""));
  const registration = refused ? await findRegistration(store, issuer) : undefined;
  if (!registration || registration.createdAt >= startedAt) return false;
  await forgetRegistration(store, issuer, registration.clientId);
  emit({ type: "registration.stale", issuer, reason: "refused" });
  return true;
}
