import { McpAuthError, type McpAuthErrorCode, type McpAuthErrorParty } from "../errors.ts";
import type { ServerSession } from "../tokens/session.ts";

/** A refusal by these holds for all managers. A failure of the app or of this machine holds for one manager only. */
const sharedParties: readonly McpAuthErrorParty[] = ["user", "server", "authorization-server"];
/** Codes that hold for one manager only: it has no user to ask, or needs more scopes than others. */
const unsharedCodes: readonly McpAuthErrorCode[] = ["login_required", "insufficient_scope"];

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

/** The last refusal of each session, in case the store cannot keep it. */
const lastRefusals = new WeakMap<ServerSession, { name: string; at: number; error: McpAuthError }>();

/**
 * Runs `work` under a lock, unless the previous holder of the lock was refused while this caller waited: then the caller
 * gets the same refusal. So no second browser window opens, and no wrong secret is sent again.
 *
 * @param name names the request, and the client where another one may be accepted; a refusal is shared under this name
 * @param waitingSince when the caller began to wait, in ms since 1970
 * @throws McpAuthError the shared refusal; what `work` throws
 */
export async function sharingRefusal<T>(
  session: ServerSession,
  name: string,
  { waitingSince }: { waitingSince: number },
  work: () => Promise<T>,
): Promise<T> {
  const { store, server, clock } = session;
  const key = `refusals/${name}`;
  // A time in the future comes from a wrong clock and does not count.
  const isNew = (refusal: { at: number }) => refusal.at > waitingSince && refusal.at <= clock.now();
  const inMemory = lastRefusals.get(session);
  if (inMemory?.name === name && isNew(inMemory)) throw inMemory.error;
  const stored = (await store.get(key)) as Refusal | undefined;
  if (stored && isNew(stored))
    throw new McpAuthError(stored.code, { ...stored, serverUrl: server, detail: "in another window or process" });
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof McpAuthError)) throw error;
    const { code, party, issuer, transient, status, serverError, serverDescription } = error;
    if (sharedParties.includes(party) && !transient && !unsharedCodes.includes(code)) {
      const refusal: Refusal = { code, issuer, at: clock.now(), status, serverError, serverDescription };
      lastRefusals.set(session, { name, at: refusal.at, error });
      // Stored before the lock is free: the next holder reads it at once.
      await store.set(key, { v: 1, ...refusal }).catch(() => {});
    }
    throw error;
  }
}
