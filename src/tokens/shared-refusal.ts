import { McpAuthError, type McpAuthErrorCode } from "../errors.ts";
import type { ServerSession } from "./server-session.ts";

/**
 * Whoever waited for a lock while its holder was refused shares that outcome, too: no second window opens, no wrong secret
 * is sent again.
 *
 * @param name of what was asked for
 * @param askedAt when the waiting began, in ms since 1970
 * @param work what is done under the lock
 * @throws McpAuthError the refusal, as far as it is known; what `work` throws
 */
export async function sharingRefusal<T>(
  { store, server, clock }: ServerSession,
  name: string,
  askedAt: number,
  work: () => Promise<T>,
): Promise<T> {
  const key = `refusals/${name}`;
  const last = (await store.get(key)) as { code: McpAuthErrorCode; issuer: string; at: number } | undefined;
  if (last && last.at > askedAt)
    throw new McpAuthError(last.code, { serverUrl: server, issuer: last.issuer, detail: "in another window or process" });
  try {
    return await work();
  } catch (error) {
    const { code, issuer, passing } = error instanceof McpAuthError ? error : {};
    // What a server or person said holds for all. What only this manager met (no browser, disposed of) names no issuer.
    if (issuer && !passing && code !== "login_required") {
      // Before the lock is free: the next in line reads it at once.
      await store.set(key, { v: 1, code, issuer, at: clock.now() }).catch(() => {});
    }
    throw error;
  }
}
