import { factsOf, McpAuthError } from "../errors.ts";
import { canAsk } from "../login/prompt.ts";
import type { Session } from "../login/session.ts";
import { forgetRegistration } from "../registration/stored.ts";
import { isUnknownClient } from "../registration/unknown-client.ts";
import type { RefreshDemand, RefreshOutcome } from "../tokens/cached-token.ts";
import { freshness } from "../tokens/freshness.ts";
import { historyOf, holdingBack, withFailure, withRefusal } from "../tokens/refresh-history.ts";
import type { LockedLogin } from "../tokens/token-keeper.ts";
import { afterRefresh, loginOf, sameTokens, type TokenRecord, without } from "../tokens/token-record.ts";
import { tokenRequests } from "../tokens/token-requests.ts";
import { requestRefresh } from "./refresh-request.ts";
import { revoke } from "./revoke.ts";

/** The usual reason for a refusal after a refresh that its process did not finish: the answer was lost with it. */
const interrupted = "an earlier refresh was interrupted";

const loginHelps = "Try again later; if it lasts, log in again: call `authorize()` where there is a user.";

/**
 * Refreshes a login once, however many processes want it.
 *
 * 1. Waits until it may take a lock: few are held at once, however many logins expire together.
 * 2. Takes the lock and reads the login again: if another holder has refreshed it, that result is used.
 * 3. Notes durably that the refresh token is about to be sent, so that a full disk costs nothing.
 * 4. Sends it, and stores the answer before anybody gets the new access token.
 *
 * @throws McpAuthError a transient fault, `lock_timeout`, `store_failed`; nothing is deleted then.
 * @see RFC 6749 §6, §10.4
 */
export async function refreshLogin(session: Session, known: TokenRecord, demand: RefreshDemand): Promise<RefreshOutcome<TokenRecord>> {
  const outcome = await tokenRequests(session, known.issuer).whileLocked(session, (onLock) => {
    const refresh = (login: LockedLogin) => {
      onLock();
      return refreshOnce(session, login, known, demand);
    };
    return session.keeper.locked(known.resource, refresh, known);
  });
  return { ...outcome, record: loginOf(outcome.record) };
}

async function refreshOnce(
  session: Session,
  login: LockedLogin,
  known: TokenRecord,
  demand: RefreshDemand,
): Promise<RefreshOutcome<TokenRecord>> {
  const { clock, emit } = session;
  const { current } = login;
  if (!current || current.issuer !== known.issuer) return { record: current, isShared: true };
  const { issuer, refreshToken } = current;
  if (!sameTokens(current, known) && serves(current, known, demand, clock.now())) {
    emit({ type: "refresh.shared", issuer });
    return { record: current, isShared: true };
  }
  if (!refreshToken) return { record: current, isShared: true };
  const held = canAsk(session) ? undefined : holdingBack(current, isNeeded(current, demand, clock.now()), clock.now());
  if (held) return { record: current, error: held, isShared: true };

  await login.markRefresh();
  emit({ type: "refresh.started", issuer, reason: demand.reason });
  try {
    const { answer, client } = await requestRefresh(session, { ...current, refreshToken }, login.check);
    const next = afterRefresh({ ...current, client }, answer, clock.now());
    if (await isReplaced(login)) return await discard(session, login, next);
    await login.save(next);
    if (answer.problem) {
      emit({ type: "refresh.failed", issuer, code: answer.problem.code, transient: false });
      return { record: next, error: answer.problem };
    }
    emit({ type: "refresh.finished", issuer, rotated: next.refreshToken !== refreshToken });
    return { record: next };
  } catch (error) {
    if (!(error instanceof McpAuthError)) throw error;
    emit({ type: "refresh.failed", issuer, code: error.code, transient: error.transient });
    if (error.transient) throw await afterFailure(session, login, current, error);
    return afterRefusal(session, login, current, demand, error);
  }
}

/** Whether what another holder left serves this demand. */
function serves(record: TokenRecord, known: TokenRecord, { reason }: RefreshDemand, now: number): boolean {
  if (reason === "refused" && record.accessToken === known.accessToken) return false;
  const fresh = freshness(record, now, 1);
  return fresh !== "expired" && fresh !== "leeway";
}

/** A store that cannot be read now does not say that the login was replaced. */
function isReplaced(login: LockedLogin): Promise<boolean> {
  return login.isReplaced().catch(() => false);
}

/** The login was deleted or replaced while the refresh ran: what it brought belongs to nobody. */
async function discard(session: Session, login: LockedLogin, unwanted: TokenRecord): Promise<RefreshOutcome<TokenRecord>> {
  const record = await session.keeper.load();
  // Servers end a whole login with one of its refresh tokens, the one of the next holder included.
  if (!isOfLogin(record, unwanted, isLost(login))) await revoke(session, unwanted);
  return { record, isShared: true };
}

/** Whether the tokens are of the login that is stored now: another holder, or a server with a grace window, has refreshed it, too. */
function isOfLogin(stored: TokenRecord | undefined, { issuer, loggedInAt, refreshToken }: TokenRecord, isLost: boolean): boolean {
  if (stored?.issuer !== issuer || stored.loggedInAt !== loggedInAt) return false;
  // Tokens that the app gave do not say when the user logged in.
  return loggedInAt !== undefined || isLost || stored.refreshToken === refreshToken;
}

/** Whether another may have held the lock since, and have refreshed the same login. */
function isLost({ check }: LockedLogin): boolean {
  try {
    check();
    return false;
  } catch {
    return true;
  }
}

/** A login that the authorization server cannot refresh is as good as none, if that lasts: processes count its failures together. */
async function afterFailure({ clock }: Session, login: LockedLogin, current: TokenRecord, error: McpAuthError): Promise<McpAuthError> {
  const refreshHistory = withFailure(historyOf(current), error, clock.now());
  if (!refreshHistory) return error;
  // The refresh token may have been spent: the note that it was sent stays.
  const { refreshStartedAt = clock.now() } = current;
  if (!(await isReplaced(login))) await login.note({ refreshHistory, refreshStartedAt });
  return error.code === "rate_limited" ? error : Object.assign(error, { hint: loginHelps });
}

/** Whether a token is needed now. */
function isNeeded(current: TokenRecord, { reason }: RefreshDemand, now: number): boolean {
  const fresh = freshness(current, now, 1);
  return reason !== "ahead" || fresh === "expired" || fresh === "leeway";
}

/** Deletes exactly what the server has finally refused, and only when it was needed. */
async function afterRefusal(
  session: Session,
  login: LockedLogin,
  current: TokenRecord,
  demand: RefreshDemand,
  error: McpAuthError,
): Promise<RefreshOutcome<TokenRecord>> {
  const { clock, emit } = session;
  const fresh = freshness(current, clock.now(), 1);
  const needed = isNeeded(current, demand, clock.now());
  const isUnknown = isUnknownClient(error) && current.client.kind === "dynamic";
  // Before a refusal is believed: has another holder rotated the token meanwhile?
  if (await isReplaced(login)) return { record: await session.keeper.load(), isShared: true };
  // As at a login: the next one registers anew.
  if (needed && isUnknown) await forgetClient(session, current);
  // Some servers say `unauthorized_client` of a refresh token: only of a client that is not known it is certain that its login is over.
  const clientRefused = isUnknown && error.code === "invalid_client";
  if (!needed || !(error.code === "invalid_grant" || clientRefused)) {
    const refreshHistory = withRefusal(historyOf(current), error, !needed, clock.now());
    return { record: refreshHistory ? await login.note({ refreshHistory }) : current, error };
  }

  const dead = fresh === "expired" || demand.reason === "refused";
  const next = without(current, dead ? ["refreshToken", "accessToken"] : ["refreshToken"]);
  await login.save(next);
  emit({ type: "tokens.deleted", reason: clientRefused ? "client-refused" : "refused" });
  return {
    record: next,
    error: current.refreshStartedAt === undefined ? error : new McpAuthError(error.code, { ...factsOf(error), detail: interrupted }),
  };
}

async function forgetClient({ store, emit }: Session, { issuer, client }: TokenRecord): Promise<void> {
  await forgetRegistration(store, issuer, client.clientId);
  emit({ type: "registration.stale", issuer, reason: "refused" });
}
