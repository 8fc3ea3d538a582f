import { McpAuthError } from "../errors.ts";
import type { Store, StoredRecord } from "../stores/store.ts";
import type { ClientRegistration } from "./registration.ts";

/** Why a stored registration is not used for another login of a user. */
export type StaleReason = "redirect-uri" | "grant-type" | "scope" | "expired" | "unanswered" | "old";

const day = 24 * 60 * 60 * 1000;
/** Servers forget registrations, some after days, and never say so to the client. */
const longestLifeMs = 30 * day;
/** A secret that expires while the user logs in is of no use. */
const secretMarginMs = 60_000;

export function registrationKey(issuer: string): string {
  return `registrations/${issuer}`;
}

/** A record of the version that is understood here. @throws McpAuthError `invalid_record` for a newer one. */
export async function readRecord(store: Store, key: string): Promise<StoredRecord | undefined> {
  const record = await store.get(key);
  if (record && record.v > 1) throw new McpAuthError("invalid_record", { detail: `${key} has version ${record.v}` });
  return record?.v === 1 ? record : undefined;
}

/**
 * The dynamic registration kept for an issuer, stale or not.
 *
 * @throws McpAuthError `invalid_record` when a newer version of this package wrote it.
 */
export async function findRegistration(store: Store, issuer: string): Promise<ClientRegistration | undefined> {
  const record = await readRecord(store, registrationKey(issuer));
  if (!record) return undefined;
  const { v: _, ...registration } = record as unknown as ClientRegistration & { v: number };
  // A damaged one is none: registering anew is always possible where registering was.
  const { clientId, tokenEndpointAuthMethod, createdAt } = registration;
  const usable = registration.issuer === issuer && typeof clientId === "string" && tokenEndpointAuthMethod && Number.isFinite(createdAt);
  return usable ? registration : undefined;
}

/** Stores it under the lock: a change that compares first does not bring the old one back. */
export async function saveRegistration(store: Store, registration: ClientRegistration): Promise<void> {
  const key = registrationKey(registration.issuer);
  await store.withLock(key, (held) => held.set(key, { v: 1, ...registration }));
}

/** Deletes a registration that the server does not know any more, unless it has been replaced meanwhile. */
export async function forgetRegistration(store: Store, issuer: string, clientId: string): Promise<void> {
  const key = registrationKey(issuer);
  await store.withLock(key, async (held) => {
    if ((await findRegistration(store, issuer))?.clientId === clientId) await held.delete(key);
  });
}

/** Replaces a registration by what is known of it now, unless it has been replaced meanwhile. */
export async function updateRegistration(
  store: Store,
  { issuer, clientId }: ClientRegistration,
  change: (found: ClientRegistration) => ClientRegistration,
): Promise<void> {
  const key = registrationKey(issuer);
  await store.withLock(key, async (held) => {
    const found = await findRegistration(store, issuer);
    if (found?.clientId !== clientId) return;
    const next = change(found);
    if (next !== found) await held.set(key, { v: 1, ...next });
  });
}

/** What a registration must have for a login. */
export interface RegistrationNeeds {
  redirectUris: readonly string[];
  grantTypes?: readonly string[] | undefined;
  scopes?: readonly string[] | undefined;
}

/**
 * Why a dynamic registration must be made anew for a login of a user; refreshing never depends on it.
 *
 * @param needs.redirectUris where a response can be received
 * @param needs.grantTypes those that it must have been asked for
 * @param needs.scopes those that the login asks for
 * @param now milliseconds since 1970
 */
export function staleReason(
  registration: ClientRegistration,
  { redirectUris, grantTypes = [], scopes = [] }: RegistrationNeeds,
  now: number,
): StaleReason | undefined {
  const { clientSecretExpiresAt = Infinity, createdAt, grantTypes: asked, scopes: registered } = registration;
  if (redirectUriOf(registration, redirectUris) === undefined) return "redirect-uri";
  if (!grantTypes.every((grantType) => asked?.includes(grantType))) return "grant-type";
  if (clientSecretExpiresAt - secretMarginMs <= now) return "expired";
  if (registered && !scopes.every((scope) => registered.includes(scope))) return "scope";
  return now - createdAt > longestLifeMs ? "old" : undefined;
}

/** The first of `redirectUris` that may be sent with a registration. One without a list has them all. */
export function redirectUriOf({ redirectUris: registered }: ClientRegistration, redirectUris: readonly string[]): string | undefined {
  return redirectUris.find((uri) => !registered || registered.includes(uri));
}
