import { McpAuthError } from "../errors.ts";
import type { TokenResponse } from "../grants/token-request.ts";
import { defined } from "../http/json.ts";
import type { ClientRegistration } from "../registration/registration.ts";
import type { Store, StoredRecord } from "../stores/store.ts";
import type { Lifetime } from "./freshness.ts";
import { lifetimeOf } from "./lifetime.ts";
import type { RefreshHistory } from "./refresh-history.ts";
import { readSuperseded, type SupersededToken, supersededBy } from "./superseded.ts";

/** What any token record has. */
export interface IssuedToken extends Lifetime {
  /** The authorization server that issued it. */
  issuer: string;
  refreshToken?: string | undefined;
  /** Absent when the last refresh has succeeded, or there was none. */
  refreshHistory?: RefreshHistory | undefined;
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
  /** Which token the protected server takes, where that had to be tried. */
  bearer?: "access_token" | "id_token" | undefined;
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
  /** What the server's name in keys says of its query; empty: none. Absent: a former version has stored it, for whatever query. */
  query?: string | undefined;
  /** Refresh tokens of the logins before this one: a logout revokes them too. Earlier would be wrong: some servers end the new login with the old token. */
  superseded?: readonly SupersededToken[];
}

/** Where the tokens of one account's login are. @param resource as keys name it */
export function tokenKey(account: string, resource: string): string {
  return `tokens/${account}/${resource}`;
}

/** Where it is remembered to which resource a server URL leads. */
export function indexKey(account: string, serverName: string): string {
  return `index/${account}/${serverName}`;
}

/**
 * A record from the store.
 *
 * @throws McpAuthError `invalid_record` when a newer version of this package wrote it, or it is damaged.
 */
export async function readTokens(store: Store, key: string): Promise<TokenRecord | undefined> {
  const record = await store.get(key);
  if (record === undefined) return undefined;
  const { superseded, ...login } = record;
  const { v, issuer, resource, client, issuedAt } = login as Partial<TokenRecord>;
  if (
    v !== 1 ||
    typeof issuer !== "string" ||
    typeof resource !== "string" ||
    typeof client?.clientId !== "string" ||
    typeof issuedAt !== "number"
  ) {
    throw new McpAuthError("invalid_record", { detail: `${key} has version ${String(v)}, or is damaged` });
  }
  const left = readSuperseded(superseded);
  return { ...login, ...(left && { superseded: left }) } as unknown as TokenRecord;
}

/** The record, if it is a login: not when superseded tokens are all that it has. */
export function loginOf<R extends Pick<TokenRecord, "accessToken" | "refreshToken">>(record: R | undefined): R | undefined {
  return record?.accessToken || record?.refreshToken ? record : undefined;
}

/** Tokens are the same login state when none of them differs. */
export function sameTokens(a: IssuedToken | undefined, b: IssuedToken | undefined): boolean {
  return a?.accessToken === b?.accessToken && a?.refreshToken === b?.refreshToken && a?.issuer === b?.issuer;
}

/** The parts of a token response that a record holds. */
export function fromAnswer(answer: TokenResponse, now: number): Partial<TokenRecord> {
  const { accessToken, refreshToken, idToken, expiresIn, scope } = answer;
  return defined({
    accessToken,
    issuedAt: accessToken ? now : undefined,
    ...(accessToken && lifetimeOf(accessToken, expiresIn, now)),
    refreshToken,
    idToken,
    scope,
  });
}

/** The record after a refresh: what the answer leaves out stays, except the lifetime of the old access token. */
export function afterRefresh(record: TokenRecord, answer: TokenResponse, now: number): TokenRecord {
  const { refreshStartedAt: _, refreshHistory: __, ...kept } = record;
  if (answer.accessToken) {
    delete kept.expiresAt;
    delete kept.expiryIsAssumed;
  }
  return { ...kept, ...fromAnswer(answer, now) };
}

/** The record of a new login, which also keeps the refresh tokens of those that it replaces, and what was found out with them. */
export function replacing(previous: readonly (TokenRecord | undefined)[], record: TokenRecord): TokenRecord {
  const logins = previous.filter((login) => login !== undefined);
  const superseded = supersededBy(record, logins);
  const bearer = logins.findLast(({ issuer }) => issuer === record.issuer)?.bearer;
  return { ...record, ...(bearer && { bearer }), ...(superseded.length > 0 && { superseded }) };
}

/** The record without what was refused; `undefined` when no token is left, superseded ones included. */
export function without(record: TokenRecord, names: readonly ("accessToken" | "refreshToken")[]): TokenRecord | undefined {
  const { refreshStartedAt: _, refreshHistory: __, ...kept } = record;
  for (const name of names) delete kept[name];
  return loginOf(kept) ?? (kept.superseded ? kept : undefined);
}

/** For `Store.set`, whose records are open. */
export function asStored(record: TokenRecord): StoredRecord {
  return record as unknown as StoredRecord;
}
