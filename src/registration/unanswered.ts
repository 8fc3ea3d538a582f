import { codeOf } from "../errors.ts";
import type { Store } from "../stores/store.ts";
import type { ClientRegistration } from "./registration.ts";
import { updateRegistration } from "./stored.ts";

/** The lock that a login holds from beginning to end. @param login its name */
export function loginLock(login: string): string {
  return `login/${login}`;
}

/** How long the lock of another login is waited for, in ms: just long enough to see that it is free. */
const glanceMs = 50;

/**
 * Notes, before a user is sent away with a registration, that there is no answer yet. A server that has forgotten the client
 * shows the user an error page that the client never hears of, and whatever ends the wait for it, the note stays.
 */
export function markUnanswered(store: Store, client: ClientRegistration, login: string): Promise<void> {
  return updateRegistration(store, client, (found) => ({ ...found, unanswered: login }));
}

/** An answer has come: the server knows the client. */
export function markAnswered(store: Store, client: ClientRegistration, login: string): Promise<void> {
  return updateRegistration(store, client, (found) => (found.unanswered === login ? withoutNote(found) : found));
}

export function withoutNote({ unanswered: _, ...registration }: ClientRegistration): ClientRegistration {
  return registration;
}

/**
 * Whether a user was sent away with a registration, and the login is over without an answer. One that still runs, in whatever
 * process, may get its answer.
 *
 * @param login the one that asks: it holds its own lock
 */
export async function isUnanswered(store: Store, { unanswered }: ClientRegistration, login: string): Promise<boolean> {
  if (unanswered === undefined) return false;
  // Earlier versions noted no name.
  if (unanswered === login || typeof unanswered !== "string") return true;
  try {
    await store.withLock(loginLock(unanswered), async () => {}, { lockTimeout: glanceMs });
    return true;
  } catch (error) {
    if (codeOf(error) === "lock_timeout") return false;
    throw error;
  }
}
