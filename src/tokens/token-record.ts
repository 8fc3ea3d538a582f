import { McpAuthError } from "../errors.ts";
import type { TokenResponse } from "../grants/token-request.ts";
import { defined } from "../http/json.ts";
import type { ClientRegistration } from "../registration/registration.ts";
import type { Store, StoredRecord } from "../stores/store.ts";
import type { Lifetime } from "./freshness.ts";

/** What any token record has. */
export interface IssuedToken extends Lifetime {
  /** The authorization server that issued it. */
  issuer: string;
  refreshToken?: string | undefined;
}

/** One login: what the authorization server gave, and everything a refresh needs. Times in ms since 1970. */
export interface TokenRecord extends IssuedToken {
  v: 1;
  /** Identifier of the protected resource. */
  resource: string;
  /** The authorization server that issued the tokens; no other ever sees them. */
  issuer: string;
  /** The registration to which the tokens were issued, so that a newer one orphans nothing. */
  client: ClientRegistration;
  accessToken?: string | undefined;
  refreshToken?: string | undefined;
  idToken?: string | undefined;
  /** Granted scopes, space-separated, where known. */
  scope?: string | undefined;
  /** All scopes that were asked for so far. */
  requestedScopes: readonly string[];
  /** When the user logged in; refreshes do not change it. Absent for tokens that were given. */
  loggedInAt?: number | undefined;
  issuedAt: number;
  expiresAt?: number | undefined;
  /** Set before a refresh token is sent: a refresh that began and may have been lost with its process. */
  refreshStartedAt?: number;
}

/** Keys of one account's login at one server. */
export function tokenKey(account: string, resource: string): string {
  return `tokens/${account}/${resource}`;
}

/** Where it is remembered to which resource a server URL leads. */
export function indexKey(account: string, serverUrl: string): string {
  return `index/${account}/${serverUrl}`;
}

/**
 * A record from the store.
 *
 * @throws McpAuthError `invalid_record` when a newer version of this package wrote it, or it is damaged.
 */
export async function readTokens(store: Store, key: string): Promise<TokenRecord | undefined> {
  const record = await store.get(key);
  if (record === undefined) return undefined;
  const { v, issuer, resource, client, issuedAt } = record as Partial<TokenRecord>;
  if (
    v !== 1 ||
    typeof issuer !== "string" ||
    typeof resource !== "string" ||
    typeof client?.clientId !== "string" ||
    typeof issuedAt !== "number"
  ) {
    throw new McpAuthError("invalid_record", { detail: `${key} has version ${String(v)}, or is damaged` });
  }
  return record as unknown as TokenRecord;
}

/** Tokens are the same login state when none of them differs. */
export function sameTokens(a: IssuedToken | undefined, b: IssuedToken | undefined): boolean {
  return a?.accessToken === b?.accessToken && a?.refreshToken === b?.refreshToken && a?.issuer === b?.issuer;
}

/** The parts of a token response that a record holds. */
export function fromAnswer(answer: TokenResponse, now: number): Partial<TokenRecord> {
  const { accessToken, refreshToken, idToken, expiresIn, scope } = answer;
  const received = accessToken ? now : undefined;
  return defined({
    accessToken,
    issuedAt: received,
    expiresAt: received && expiresIn && received + expiresIn * 1000,
    refreshToken,
    idToken,
    scope,
  });
}

/** The record after a refresh: what the answer leaves out stays, except the lifetime of the old access token. */
export function afterRefresh(record: TokenRecord, answer: TokenResponse, now: number): TokenRecord {
  const { refreshStartedAt: _, ...kept } = record;
  if (answer.accessToken) delete kept.expiresAt;
  return { ...kept, ...fromAnswer(answer, now) };
}

/** The record without what was refused; `undefined` when no token is left. */
export function without(record: TokenRecord, names: readonly ("accessToken" | "refreshToken")[]): TokenRecord | undefined {
  const { refreshStartedAt: _, ...kept } = record;
  for (const name of names) delete kept[name];
  return kept.accessToken || kept.refreshToken ? kept : undefined;
}

/** For `Store.set`, whose records are open. */
export function asStored(record: TokenRecord): StoredRecord {
  return record as unknown as StoredRecord;
}
