import { splitScope } from "../authorization/scopes.ts";
import { codeOf } from "../errors.ts";
import { freshness } from "../tokens/freshness.ts";
import { sameTokens, type TokenRecord } from "../tokens/token-record.ts";
import type { AuthorizationPlan } from "./authorization.ts";
import { runLoginFlow } from "./flow.ts";
import { findLoginServer, type LoginServerSearch } from "./login-server.ts";
import { loginTimeout, type Session } from "./session.ts";
import { sharingRefusal } from "./shared-refusal.ts";
import { wantsAuthentication } from "./step-up.ts";

/** What leads to a login. */
export interface LoginPlan extends Omit<AuthorizationPlan, "askedBefore">, LoginServerSearch {
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
export async function logInOnce(session: Session, plan: LoginPlan): Promise<TokenRecord> {
  const { store, server, emit, options, keeper } = session;
  const limits = { signal: plan.signal, waitMs: loginTimeout(options) };
  try {
    const name = `${await keeper.account()}/${server}`;
    return await store.withLock(
      `login/${name}`,
      () => sharingRefusal(session, name, { at: plan.askedAt }, () => reuseOrLogIn(session, plan)),
      limits,
    );
  } catch (error) {
    const code = codeOf(error);
    if (code) emit({ type: "login.failed", code });
    throw error;
  }
}

/** Under the lock: the login that somebody made meanwhile, here or at the resource where the server leads to, else a new one. */
async function reuseOrLogIn(session: Session, plan: LoginPlan): Promise<TokenRecord> {
  const { keeper } = session;
  const stored = await keeper.load();
  if (stored && serves(stored, plan, session)) return stored;

  const discovery = await findLoginServer(session, plan);
  const { issuer, resource } = discovery;
  const elsewhere = await keeper.read(resource);
  if (elsewhere?.issuer === issuer && serves(elsewhere, plan, session)) {
    await keeper.index(resource);
    return elsewhere;
  }
  const askedBefore = stored?.issuer === issuer ? stored.requestedScopes : undefined;
  return runLoginFlow(session, discovery, { ...plan, askedBefore });
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
