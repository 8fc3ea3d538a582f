import { splitScope } from "../authorization/scopes.ts";
import { formerName } from "../discovery/server-name.ts";
import { unless } from "../errors.ts";
import { text } from "../http/json.ts";
import type { Session } from "../login/session.ts";
import type { StoreStatus } from "../stores/store.ts";
import { defaultAccount } from "../tokens/default-account.ts";
import { freshness } from "../tokens/freshness.ts";
import { indexKey, loginOf, type TokenRecord } from "../tokens/token-record.ts";

/** What is known of the login of one account at a server. Nothing in it is secret. */
export interface StoredLogin {
  /** Whose login it is. */
  account: string;
  /** Whether managers that name no account use it. */
  isDefault: boolean;
  /** The authorization server, where known. */
  issuer?: string | undefined;
  /** Granted scopes, where known. */
  scopes?: readonly string[] | undefined;
  /** When the access token expires, in ms since 1970, where known. */
  expiresAt?: number | undefined;
  /** Whether it can be renewed without a user. */
  canRefresh: boolean;
}

/** How a manager's login stands. */
export interface AccountStatus extends StoredLogin {
  /** Whether there is a login that serves requests, or can be made to without a user. */
  isLoggedIn: boolean;
  /** Where logins are stored, as far as the store tells. */
  store?: StoreStatus | undefined;
}

/** @param known the login in memory: what a store that was lost does not have */
export async function statusOf({ store, serverName, keeper, clock }: Session, known: TokenRecord | undefined): Promise<AccountStatus> {
  const record = (await keeper.load()) ?? known;
  const login = describe(await keeper.account(), await defaultAccount(store, await serverName()), record ?? {});
  const isUsable = record !== undefined && freshness(record, clock.now(), 1) !== "expired";
  return { ...login, isLoggedIn: login.canRefresh || isUsable, store: await store.status?.() };
}

/** The logins stored for the server of the session, one an account; without details where a record cannot be read. */
export async function listAccounts(session: Session): Promise<StoredLogin[]> {
  const logins: StoredLogin[] = [];
  const usual = await defaultAccount(session.store, await session.serverName());
  for (const [account, record] of await storedRecords(session)) {
    if (record === "unreadable") logins.push(describe(account, usual, {}));
    else if (loginOf(record)) logins.push(describe(account, usual, record));
  }
  return logins;
}

/** What is stored for the server of the session, by account, also where superseded tokens are all that is left. */
export async function storedRecords({ store, serverName, keeper }: Session): Promise<Map<string, TokenRecord | "unreadable">> {
  const records = new Map<string, TokenRecord | "unreadable">();
  const name = await serverName();
  for (const key of await store.keys("index/")) {
    const account = key.split("/")[1] ?? "";
    if (key !== indexKey(account, name) && key !== indexKey(account, formerName(name))) continue;
    const record = await unless("invalid_record", keeper.stored(account), "unreadable" as const);
    if (record) records.set(account, record);
  }
  return records;
}

function describe(account: string, usual: string, { issuer, scope, expiresAt, refreshToken }: Partial<TokenRecord>): StoredLogin {
  return {
    account,
    isDefault: account === usual,
    issuer: text(issuer),
    scopes: scope === undefined ? undefined : splitScope(scope),
    expiresAt,
    canRefresh: refreshToken !== undefined,
  };
}
