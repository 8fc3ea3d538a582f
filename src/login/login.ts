import { splitScope } from "../authorization/scopes.ts";
import { writeDiscovery } from "../discovery/cache.ts";
import { type Discovery, discover, type Speculation } from "../discovery/discovery.ts";
import { isSameIssuer } from "../discovery/server-metadata.ts";
import { codeOf, McpAuthError } from "../errors.ts";
import { forgetRegistration } from "../registration/stored.ts";
import { freshness } from "../tokens/freshness.ts";
import { sameTokens, type TokenRecord } from "../tokens/token-record.ts";
import { type AuthorizationPlan, authorizeAt, registrationBefore, requireSafeLogin } from "./flow.ts";
import { loginTimeout, requestProfile, type Session } from "./session.ts";
import { sharingRefusal } from "./shared-refusal.ts";
import { wantsAuthentication } from "./step-up.ts";

/** What leads to a login. */
export interface LoginPlan extends Omit<AuthorizationPlan, "askedBefore"> {
  /** Metadata requests that are under way already. */
  speculation?: Speculation | undefined;
  /** The login that will not do any more. */
  known?: TokenRecord | undefined;
  /** An authorization server that the resource does not name any more: its logins do not count. */
  movedFrom?: string | undefined;
  /** Milliseconds since 1970: what was refused to others since then is refused to this one. */
  askedAt: number;
}

/**
 * Logs a user in, once however many processes want it:
 *
 * 1. takes the login lock; whoever had it before may have logged in already, and that login is used
 * 2. finds the authorization server and its metadata
 * 3. opens a place to receive the response (none for a device code), and gets a client identity that allows it
 * 4. sends the user to the authorization server, checks the response, exchanges the code
 * 5. stores the tokens, then shows the user the outcome
 *
 * @throws McpAuthError any code of discovery, registration, authorization and token requests; `login_timeout`
 */
export async function login(session: Session, plan: LoginPlan): Promise<TokenRecord> {
  const { store, server, emit, options, keeper } = session;
  const limits = { signal: plan.signal, waitMs: loginTimeout(options) };
  try {
    const name = `${await keeper.account()}/${server}`;
    return await store.withLock(
      `login/${name}`,
      () => sharingRefusal(session, name, { at: plan.askedAt }, () => logIn(session, plan)),
      limits,
    );
  } catch (error) {
    const code = codeOf(error);
    if (code) emit({ type: "login.failed", code });
    throw error;
  }
}

async function logIn(session: Session, plan: LoginPlan): Promise<TokenRecord> {
  const { keeper, clock } = session;
  const stored = await keeper.load();
  if (stored && serves(stored, plan, session)) return stored;

  const discovery = await findServers(session, plan);
  const { issuer, resource } = discovery;
  const elsewhere = await keeper.read(resource);
  if (elsewhere?.issuer === issuer && serves(elsewhere, plan, session)) {
    await keeper.index(resource);
    return elsewhere;
  }
  const askedBefore = (stored?.issuer === issuer ? stored : undefined)?.requestedScopes;
  const startedAt = clock.now();
  try {
    return await authorizeAt(session, discovery, { ...plan, askedBefore });
  } catch (error) {
    if (!(await isForgottenClient(session, issuer, startedAt, error))) throw error;
    // A registration that the server has forgotten is made anew, once.
    return await authorizeAt(session, discovery, { ...plan, askedBefore });
  }
}

/** Whether a login that somebody else made meanwhile is what this one is for. */
function serves(record: TokenRecord, plan: LoginPlan, { clock }: Session): boolean {
  const { known } = plan;
  if (sameTokens(record, known) || record.issuer === plan.movedFrom || freshness(record, clock.now(), 1) === "expired") return false;
  // Refreshed tokens stand for the same authentication.
  if (wantsAuthentication(plan.challenge) && !((record.loggedInAt ?? 0) > (known?.loggedInAt ?? 0))) return false;
  const granted = splitScope(record.scope);
  return plan.scopes?.every((scope) => granted.includes(scope) || record.requestedScopes.includes(scope)) ?? true;
}

async function findServers(session: Session, { challenge, speculation, signal }: LoginPlan): Promise<Discovery> {
  const { serverUrl, http, clock, emit, store, options } = session;
  const discovery = await discover(serverUrl, { ...options, http, clock, emit, challenge, speculation, signal });
  requireSafeLogin(session, discovery.server);
  // A client that was registered there has an error of its own.
  if (options.issuer && !options.clientId && !isSameIssuer(options.issuer, discovery.issuer, options.strictIssuer)) {
    throw new McpAuthError("issuer_mismatch", { issuer: discovery.issuer, detail: `\`issuer\` is ${options.issuer}` });
  }
  await writeDiscovery(store, discovery);
  const profile = requestProfile(session, discovery.issuer);
  if (profile.name) emit({ type: "discovery.concession", concession: "profile", issuer: discovery.issuer, detail: profile.name });
  return discovery;
}

/** Whether the server does not know a registration that was made for an earlier login. It is forgotten then. */
async function isForgottenClient(session: Session, issuer: string, startedAt: number, error: unknown): Promise<boolean> {
  if (!(error instanceof McpAuthError)) return false;
  const refused =
    error.code === "invalid_client" ||
    (/^(authorization_error|token_request_refused)$/.test(error.code) && /^(invalid|unauthorized)_client$/.test(error.serverError ?? ""));
  const registration = refused ? await registrationBefore(session, issuer, startedAt) : undefined;
  if (!registration) return false;
  await forgetRegistration(session.store, issuer, registration.clientId);
  session.emit({ type: "registration.stale", issuer, reason: "refused" });
  return true;
}
