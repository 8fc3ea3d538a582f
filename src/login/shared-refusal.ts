import { McpAuthError, type McpAuthErrorCode, type McpAuthErrorParty } from "../errors.ts";
import type { ServerSession } from "../tokens/session.ts";

/** What these have decided holds for everybody; what failed at the app or on this machine holds for one manager alone. */
const deciding: readonly McpAuthErrorParty[] = ["user", "server", "authorization-server"];
/** Of one manager alone, too: there is no user, or it wanted more than others. */
const ownCodes: readonly McpAuthErrorCode[] = ["login_required", "insufficient_scope"];

/** A refusal as it is stored. */
interface Refusal {
  code: McpAuthErrorCode;
  issuer?: string | undefined;
  /** In ms since 1970. */
  at: number;
  status?: number | undefined;
  serverError?: string | undefined;
  serverDescription?: string | undefined;
}

/** What a session has met itself, last: holds also where the store does not keep it. */
const own = new WeakMap<ServerSession, { name: string; at: number; error: McpAuthError }>();

/**
 * Whoever waited for a lock while its holder was refused shares that outcome, too: no second window opens, no wrong secret
 * is sent again.
 *
 * @param name of what was asked for, and of who asks, where others may fare better: each keeps a refusal of its own
 * @param at since when it is waited for, in ms since 1970
 * @param work what is done under the lock
 * @throws McpAuthError the refusal, as far as it is known; what `work` throws
 */
export async function sharingRefusal<T>(session: ServerSession, name: string, { at }: { at: number }, work: () => Promise<T>): Promise<T> {
  const { store, server, clock } = session;
  const key = `refusals/${name}`;
  // One from the future is of a clock that is wrong.
  const isNews = (refusal: { at: number }) => refusal.at > at && refusal.at <= clock.now();
  const mine = own.get(session);
  if (mine?.name === name && isNews(mine)) throw mine.error;
  const last = (await store.get(key)) as Refusal | undefined;
  if (last && isNews(last)) throw new McpAuthError(last.code, { ...last, serverUrl: server, detail: "in another window or process" });
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof McpAuthError)) throw error;
    const { code, party, issuer, transient, status, serverError, serverDescription } = error;
    if (deciding.includes(party) && !transient && !ownCodes.includes(code)) {
      const refusal: Refusal = { code, issuer, at: clock.now(), status, serverError, serverDescription };
      own.set(session, { name, at: refusal.at, error });
      // Before the lock is free: the next in line reads it at once.
      await store.set(key, { v: 1, ...refusal }).catch(() => {});
    }
    throw error;
  }
}
