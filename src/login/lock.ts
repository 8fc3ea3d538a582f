import { splitScope } from "../authorization/scopes.ts";
import type { Discovery } from "../discovery/discovery.ts";
import { codeOf, McpAuthError } from "../errors.ts";
import { loginLock } from "../registration/unanswered.ts";
import { freshness } from "../tokens/freshness.ts";
import { sameTokens, type TokenRecord } from "../tokens/token-record.ts";
import type { AuthorizationPlan } from "./authorization.ts";
import { runLoginFlow } from "./flow.ts";
import { loginName } from "./login-name.ts";
import { findLoginServer, type LoginServerSearch } from "./login-server.ts";
import { lacksForLogin } from "./needs.ts";
import { probe } from "./probe.ts";
import { stillHolds } from "./server-check.ts";
import type { Session } from "./session.ts";
import { sharingRefusal } from "./shared-refusal.ts";
import { wantsAuthentication } from "./step-up.ts";

/** Why a login is needed, and what it must get. */
export interface LoginPlan extends Omit<AuthorizationPlan, "askedBefore">, LoginServerSearch {
  /** What is stored of the server: the login begins there at once, and it is looked meanwhile whether that still holds. */
  stored?: Discovery | undefined;
  /** The login to replace. */
  known?: TokenRecord | undefined;
  /** The former authorization server of the resource. Its logins do not count any more. */
  movedFrom?: string | undefined;
  /** When the caller began to wait, in ms since 1970. A refusal of another process since then is shared. */
  waitingSince: number;
}

/**
 * Logs the user in. All processes that need it share a single login:
 *
 * 1. takes the login lock; uses the login that the previous holder of the lock has stored, if there is one
 * 2. finds the authorization server and its metadata; those that an earlier login has stored are used at once, and checked
 *    before a code is exchanged
 * 3. starts to listen for the response (not for a device code), and gets a client with that redirect URI
 * 4. sends the user to the authorization server, checks the response, exchanges the code
 * 5. stores the tokens, then shows the user the outcome
 *
 * @throws McpAuthError any code of discovery, registration, authorization and token requests; `login_timeout`
 */
export async function logInOnce(session: Session, plan: LoginPlan): Promise<TokenRecord> {
  const { store, emit, loginTimeout } = session;
  const limits = { signal: plan.signal, lockTimeout: loginTimeout };
  try {
    const name = await loginName(session);
    return await store.withLock(
      loginLock(name),
      () => sharingRefusal(session, name, { waitingSince: plan.waitingSince }, () => reuseOrLogIn(session, plan)),
      limits,
    );
  } catch (error) {
    const code = codeOf(error);
    if (code) emit({ type: "login.failed", code });
    throw error;
  }
}

/** Under the lock: a login that another process has stored, under the known or the discovered resource; else a new one. */
async function reuseOrLogIn(session: Session, plan: LoginPlan): Promise<TokenRecord> {
  const { keeper } = session;
  const stored = await keeper.load();
  if (stored && meetsPlan(stored, plan, session)) return stored;

  // What a refresh has stored need not serve a login.
  const known = plan.stored && lacksForLogin(session)(plan.stored.server).length === 0 ? plan.stored : undefined;
  const record = known && (await logInAtStored(session, plan, known, stored));
  if (record) return record;
  const challenge = plan.stored ? await probe(session, plan.signal) : plan.challenge;
  const discovery = await findLoginServer(session, { ...plan, challenge });
  return (
    (await findElsewhere(session, plan, discovery)) ??
    runLoginFlow(session, discovery, { ...plan, challenge, askedBefore: askedBefore(stored, discovery) })
  );
}

/** A login of another process that is stored under the discovered resource, but is not found by the server's URL. */
async function findElsewhere(session: Session, plan: LoginPlan, { issuer, resource }: Discovery): Promise<TokenRecord | undefined> {
  const { keeper } = session;
  const elsewhere = await keeper.read(resource);
  if (elsewhere?.issuer !== issuer || !meetsPlan(elsewhere, plan, session)) return undefined;
  await keeper.index(resource);
  return elsewhere;
}

/** @returns `undefined` where the server has moved meanwhile: no code was exchanged, and it has to be found anew */
async function logInAtStored(
  session: Session,
  plan: LoginPlan,
  discovery: Discovery,
  former: TokenRecord | undefined,
): Promise<TokenRecord | undefined> {
  const elsewhere = await findElsewhere(session, plan, discovery);
  if (elsewhere) return elsewhere;
  const moved = new AbortController();
  // Apart from the login's own signal: that its check ends must not end the page that the user may still load.
  const over = new AbortController();
  const signal = AbortSignal.any([plan.signal, moved.signal]);
  const verified = stillHolds(session, discovery, AbortSignal.any([signal, over.signal])).then((holds) => {
    if (!holds) moved.abort(new McpAuthError("state_mismatch", { detail: "the server has moved to another authorization server" }));
  });
  verified.catch(() => {});
  try {
    const challenge =
      discovery.challengedScope === undefined ? undefined : { status: 401, challenges: [], scope: discovery.challengedScope };
    return await runLoginFlow(session, discovery, { ...plan, challenge, askedBefore: askedBefore(former, discovery), signal, verified });
  } catch (error) {
    if (!moved.signal.aborted || plan.signal.aborted) throw error;
    return undefined;
  } finally {
    over.abort();
  }
}

/** A step-up must not lose what an earlier login at the same server asked for. */
function askedBefore(stored: TokenRecord | undefined, { issuer }: Discovery): readonly string[] | undefined {
  return stored?.issuer === issuer ? stored.requestedScopes : undefined;
}

/** Whether a login of another process meets this plan. */
function meetsPlan(record: TokenRecord, plan: LoginPlan, { clock }: Session): boolean {
  const { known } = plan;
  if (sameTokens(record, known) || record.issuer === plan.movedFrom) return false;
  // One that has expired while this process waited is refreshed: nobody has refused that.
  if (freshness(record, clock.now(), 1) === "expired" && !record.refreshToken) return false;
  // Refreshed tokens belong to the same, too weak or too old, authentication.
  if (wantsAuthentication(plan.challenge) && !((record.loggedInAt ?? 0) > (known?.loggedInAt ?? 0))) return false;
  const granted = splitScope(record.scope);
  return plan.scopes?.every((scope) => granted.includes(scope) || record.requestedScopes.includes(scope)) ?? true;
}
