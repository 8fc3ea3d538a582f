import { McpAuthError, type McpAuthErrorCode } from "../errors.ts";
import type { ServerSession } from "./server-session.ts";

/** What holds for one manager alone: its options, its person, or what it wanted more than others. */
const ownCodes: readonly McpAuthErrorCode[] = ["login_required", "invalid_option", "assertion_unavailable", "insufficient_scope"];

/** A refusal as it is stored. */
interface Refusal {
  code: McpAuthErrorCode;
  issuer: string;
  /** In ms since 1970. */
  at: number;
  status?: number | undefined;
  serverError?: string | undefined;
  serverDescription?: string | undefined;
}

/**
 * Whoever waited for a lock while its holder was refused shares that outcome, too: no second window opens, no wrong secret
 * is sent again.
 *
 * @param name of what was asked for, and of who asks, where others may fare better: each keeps a refusal of its own
 * @param at since when it is waited for, in ms since 1970
 * @param work what is done under the lock
 * @throws McpAuthError the refusal, as far as it is known; what `work` throws
 */
export async function sharingRefusal<T>(
  { store, server, clock }: ServerSession,
  name: string,
  { at }: { at: number },
  work: () => Promise<T>,
): Promise<T> {
  const key = `refusals/${name}`;
  const last = (await store.get(key)) as Refusal | undefined;
  // One from the future is of a clock that is wrong.
  if (last && last.at > at && last.at <= clock.now())
    throw new McpAuthError(last.code, { ...last, serverUrl: server, detail: "in another window or process" });
  try {
    return await work();
  } catch (error) {
    const { code, issuer, passing, status, serverError, serverDescription } = error instanceof McpAuthError ? error : {};
    // What a server or person said holds for all. What only this manager met (no browser, disposed of) names no issuer.
    if (code && issuer && !passing && !ownCodes.includes(code)) {
      const refusal: Refusal = { code, issuer, at: clock.now(), status, serverError, serverDescription };
      // Before the lock is free: the next in line reads it at once.
      await store.set(key, { v: 1, ...refusal }).catch(() => {});
    }
    throw error;
  }
}
