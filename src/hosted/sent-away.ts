/**
 * Whether an authorization server still knows a registration that many users share. A server that has forgotten it shows the
 * user an error page, and no response ever comes. But that one user has not come back says little: users close windows.
 */
import { unless } from "../errors.ts";
import { text } from "../http/json.ts";
import type { Session } from "../login/session.ts";
import type { ClientRegistration } from "../registration/registration.ts";
import { findRegistration, forgetRegistration, updateRegistration } from "../registration/stored.ts";
import { sentAwayKey } from "./pending-login.ts";

/** How long a note counts, in ms. */
const noteLifetimeMs = 24 * 60 * 60 * 1000;
/** How old what is written of the last answer may become, in ms: not every login writes. */
const answerAgeMs = 10 * 60 * 1000;

/** Notes that a user was sent away with a client. A store that fails costs an error page more. */
export async function noteSentAway({ store, clock }: Session, login: string, { kind, clientId }: ClientRegistration): Promise<void> {
  if (kind !== "dynamic") return;
  const now = clock.now();
  await store.set(sentAwayKey(login), { v: 1, clientId, at: now, expiresAt: now + noteLifetimeMs }).catch(() => {});
}

/** The authorization server has answered: it knows the client. */
export async function noteAnswer({ store, clock }: Session, login: string, client: ClientRegistration): Promise<void> {
  if (client.kind !== "dynamic") return;
  const now = clock.now();
  const isRecent = ({ answeredAt = 0 }: ClientRegistration) => now - answeredAt < answerAgeMs;
  await store.delete(sentAwayKey(login)).catch(() => {});
  await updateRegistration(store, client, (found) => (isRecent(found) ? found : { ...found, answeredAt: now })).catch(() => {});
}

/**
 * Forgets a registration that this login was sent away with in vain, unless another user has been answered with it since: the
 * next request registers anew. Tokens keep their own copy.
 */
export async function forgetUnanswered({ store, emit, clock, options }: Session, login: string, issuer: string): Promise<void> {
  if (options.clientId !== undefined) return;
  const note = await unless("invalid_record", store.get(sentAwayKey(login)));
  const registration = note && (await findRegistration(store, issuer));
  if (!registration || text(note.clientId) !== registration.clientId) return;
  const at = Number(note.at);
  if ((registration.answeredAt ?? 0) + answerAgeMs > at || at + noteLifetimeMs < clock.now()) return;
  await forgetRegistration(store, issuer, registration.clientId);
  emit({ type: "registration.stale", issuer, reason: "unanswered" });
}
