import type { Challenge } from "../discovery/challenge.ts";
import { type Discovery, type Speculation, speculate } from "../discovery/discovery.ts";
import { McpAuthError, unless } from "../errors.ts";
import { planAuthorization, requestedScopes } from "../login/authorization.ts";
import { requestByBrowser } from "../login/browser-request.ts";
import { loginName } from "../login/login-name.ts";
import { findLoginServer } from "../login/login-server.ts";
import { lacksForLogin, requireSupportedPkce } from "../login/needs.ts";
import { probe } from "../login/probe.ts";
import type { Session } from "../login/session.ts";
import { storedLoginServer } from "../login/stored-server.ts";
import { obtainClient } from "../registration/client-id.ts";
import type { ClientRegistration } from "../registration/registration.ts";
import { hasMetadata } from "../user/own-metadata.ts";
import { digestOf } from "./binding.ts";
import { asStored, type PendingLogin, pendingKey } from "./pending-login.ts";
import { forgetUnanswered, noteSentAway } from "./sent-away.ts";

/** What a login is to get, and from where it may be finished. */
export interface HostedRequest {
  redirectUri: string;
  /** An absolute URL of the app. */
  returnTo: string;
  binding: string;
  scopes?: readonly string[] | undefined;
  signal: AbortSignal;
}

/** Where the user is to be sent. */
export interface SentAway {
  url: URL;
  stateDigest: string;
  /** When the user's time ends, in ms since 1970. */
  expiresAt: number;
}

/** Where a login can begin. */
interface LoginServer {
  discovery: Discovery;
  challenge: Challenge | undefined;
  isStored: boolean;
}

/**
 * Prepares a login of a user elsewhere:
 *
 * 1. finds the authorization server; what an earlier login has stored is used at once, and checked before a code is exchanged
 * 2. gets a client with the app's redirect URI
 * 3. stores what whoever finishes it needs
 *
 * @throws McpAuthError every code of discovery and registration; `token_not_required`; `store_failed`
 */
export async function prepareLogin(session: Session, request: HostedRequest): Promise<SentAway> {
  const { store, clock, emit, loginTimeout, keeper } = session;
  const { redirectUri, returnTo, binding, scopes, signal } = request;
  const begunAt = clock.now();
  const { discovery, challenge, isStored } = (await storedServer(session)) ?? (await findServer(session, request));
  const { issuer, server } = discovery;
  requireSupportedPkce(session, server);
  const former = await unless("invalid_record", keeper.load());
  const askedBefore = former?.issuer === issuer ? former.requestedScopes : undefined;
  const parameters = planAuthorization(session, discovery, { challenge, scopes, askedBefore, signal });
  emit({ type: "login.started", issuer, scopes: parameters.scopes });

  const client = await sharedClient(session, discovery, { redirectUris: [redirectUri], scopes: requestedScopes(parameters), signal });
  const { url, pending } = await requestByBrowser(session, parameters, client, { redirectUri, redirectUris: [redirectUri] });
  const { state, ...authorization } = pending;
  const login: PendingLogin = {
    v: 1,
    kind: "pending",
    serverUrl: session.serverUrl.href,
    account: await keeper.account(),
    binding: await digestOf(binding),
    returnTo,
    expiresAt: clock.now() + loginTimeout,
    begunAt,
    authorization,
    discovery,
    isDiscoveryStored: isStored,
    client,
    scopes: parameters.scopes,
    resource: parameters.resource,
  };
  const stateDigest = await digestOf(state);
  await store.set(pendingKey(stateDigest), asStored(login));
  await noteSentAway(session, await loginName(session), client);
  emit({ type: "login.opened", issuer, redirectUri: authorization.redirectUri });
  return { url, stateDigest, expiresAt: login.expiresAt };
}

async function storedServer(session: Session): Promise<LoginServer | undefined> {
  const discovery = await storedLoginServer(session);
  if (!discovery || lacksForLogin(session)(discovery.server).length > 0) return undefined;
  const { challengedScope: scope } = discovery;
  return { discovery, challenge: scope === undefined ? undefined : { status: 401, challenges: [], scope }, isStored: true };
}

/** Asks the protected server, with its metadata beside it where the app lets us. */
async function findServer(session: Session, { scopes, signal }: HostedRequest): Promise<LoginServer> {
  const { options, serverUrl, server, http, clock } = session;
  const over = new AbortController();
  const isGuessing = options.speculate !== false && options.authorizationEndpoint === undefined;
  const speculation: Speculation = isGuessing ? speculate(serverUrl, { http, clock, signal: over.signal }) : new Map();
  try {
    const challenge = await probe(session, signal);
    if (!challenge && !scopes && !(await hasMetadata(session, speculation)))
      throw new McpAuthError("token_not_required", { serverUrl: server });
    const operation = challenge && "server/discover";
    const discovery = await findLoginServer(session, { challenge, operation, speculation, signal });
    return { discovery, challenge, isStored: false };
  } finally {
    over.abort(new McpAuthError("network_error"));
  }
}

/** The client of all users. Where it has to be registered, one machine does it, and the others wait. */
async function sharedClient(
  session: Session,
  { server }: Discovery,
  needs: { redirectUris: readonly string[]; scopes: readonly string[]; signal: AbortSignal },
): Promise<ClientRegistration> {
  const { options, store, http, clock, emit } = session;
  const { issuer } = server;
  const [serverName, login] = [await session.serverName(), await loginName(session)];
  const obtain = () => obtainClient({ ...options, ...needs, server, serverName, store, http, clock, emit, login });
  if (options.clientId !== undefined) return obtain();
  return store.withLock(`registering/${issuer}`, async () => {
    await forgetUnanswered(session, login, issuer);
    return obtain();
  });
}
