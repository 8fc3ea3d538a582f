import type { PendingAuthorization } from "../authorization/pending.ts";
import type { Discovery } from "../discovery/discovery.ts";
import { codeOf, McpAuthError } from "../errors.ts";
import type { ClientRegistration } from "../registration/registration.ts";
import type { Store, StoredRecord } from "../stores/store.ts";

/** Under this prefix every record has `expiresAt`, in ms since 1970. It is of no use afterwards. */
const prefix = "pending/";
/** How many records one sweep reads. */
const sweptAtOnce = 1000;

/** Whose login it is, and which browser may finish it. */
interface HostedLogin {
  v: 1;
  /** The protected server, with its query. */
  serverUrl: string;
  account: string;
  /** SHA-256 of the binding, which the browser has. */
  binding: string;
  /** An absolute URL of the app. */
  returnTo: string;
  /** When the user's time ends, in ms since 1970. */
  expiresAt: number;
}

/** A login whose user is at the authorization server: everything that another machine needs to finish it. */
export interface PendingLogin extends HostedLogin {
  kind: "pending";
  /** When it began, in ms since 1970. */
  begunAt: number;
  /** `state` is left out: who has the store cannot finish a login. */
  authorization: Omit<PendingAuthorization, "state">;
  discovery: Discovery;
  /** Whether an earlier login had stored the discovery: it is checked before the code is sent. */
  isDiscoveryStored: boolean;
  client: ClientRegistration;
  scopes: readonly string[];
  resource: string | undefined;
}

/** A login that has succeeded: the same browser may ask again, such as by a second tap or after a prefetch. */
export interface FinishedLogin extends HostedLogin {
  kind: "finished";
  /** Granted scopes. */
  scopes: readonly string[];
}

/** Where a login waits for its response. The `state` itself is in no key. */
export function pendingKey(stateDigest: string): string {
  return prefix + stateDigest;
}

/** Where it is noted that the user of a login was sent away with a registration. @param login its name */
export function sentAwayKey(login: string): string {
  return `${prefix}sent/${login}`;
}

/** For `Store.set`, whose records are open. */
export function asStored(login: PendingLogin | FinishedLogin): StoredRecord {
  return login as unknown as StoredRecord;
}

/**
 * What is known of a login.
 *
 * @throws McpAuthError `invalid_record` when a newer version of this package wrote it, or it is damaged
 */
export function readLogin(record: StoredRecord | undefined): PendingLogin | FinishedLogin | undefined {
  if (record === undefined) return undefined;
  const { v, kind, serverUrl, account, binding, returnTo, expiresAt } = record as Partial<PendingLogin | FinishedLogin>;
  const texts = [serverUrl, account, binding, returnTo];
  const isWhole = texts.every((text) => typeof text === "string") && typeof expiresAt === "number";
  if (v !== 1 || !isWhole || (kind !== "finished" && !(kind === "pending" && hasRequest(record)))) {
    const hint = "Log in again; if it lasts, all machines must run the same version of this package.";
    throw new McpAuthError("invalid_record", { detail: `a pending login has version ${String(v)}, or is damaged`, hint });
  }
  return record as unknown as PendingLogin | FinishedLogin;
}

function hasRequest({ authorization, discovery, client, begunAt, scopes }: StoredRecord): boolean {
  const { codeVerifier, issuer, redirectUri } = Object(authorization) as Partial<PendingAuthorization>;
  const { resource, server, issuer: discovered } = Object(discovery) as Partial<Discovery>;
  const { clientId } = Object(client) as Partial<ClientRegistration>;
  const texts = [codeVerifier, issuer, redirectUri, resource, clientId];
  const isBound = discovered === issuer && server?.issuer === issuer;
  return texts.every((text) => typeof text === "string") && isBound && typeof begunAt === "number" && Array.isArray(scopes);
}

/** Deletes what has expired, as far as one sweep reaches. Nobody depends on it: a store that fails is tried again later. */
export async function sweep(store: Store, now: number): Promise<void> {
  try {
    for (const key of (await store.keys(prefix)).slice(0, sweptAtOnce)) {
      const expiresAt = (await store.get(key))?.expiresAt;
      if (typeof expiresAt === "number" && expiresAt <= now) await store.delete(key);
    }
  } catch (error) {
    if (codeOf(error) === undefined) throw error;
  }
}
