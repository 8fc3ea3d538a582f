import { readDiscovery } from "../discovery/cache.ts";
import { codeOf, McpAuthError, unless } from "../errors.ts";
import type { Session } from "../login/session.ts";
import type { ClientRegistration } from "../registration/registration.ts";
import { findRegistration, forgetRegistration } from "../registration/stored.ts";
import { forgetAccount } from "../tokens/default-account.ts";
import type { LockedLogin } from "../tokens/token-keeper.ts";
import { loginOf, readTokens, type TokenRecord } from "../tokens/token-record.ts";
import { storedRecords } from "./accounts.ts";
import { type Revoked, revokeAll } from "./revoke.ts";

/** What a logout did to the login of one account. */
export interface LogoutResult {
  /** Whose login it was. */
  account: string;
  /** Whether there was a login to end. */
  wasLoggedIn: boolean;
  /** Whether it was confirmed that nothing can be refreshed any more: neither this login nor those that it had replaced. */
  refreshTokenRevoked: boolean;
  /** Whether it confirmed the same of the access token; many servers cannot revoke these, and let them expire. */
  accessTokenRevoked: boolean;
  /** Of `logoutEverywhere()`: why this login could not be deleted. It is still stored then; without an error it is deleted in any case. */
  error?: McpAuthError | undefined;
}

/** What was there to end, and what of it the server has ended. */
interface Ended extends Revoked {
  wasLoggedIn: boolean;
  /** To whom the login was issued. */
  client?: ClientRegistration | undefined;
}

const nothing: Revoked = { refreshTokenRevoked: false, accessTokenRevoked: false };

/**
 * Ends the login of one account: revokes the refresh token, the access token, and the refresh tokens of the logins that
 * it had replaced, as far as the servers let us; then deletes them. One that cannot be read is deleted all the same.
 *
 * @param known the session's own login in memory
 * @param account default: the session's own
 * @throws McpAuthError `lock_timeout`, `store_failed`
 * @see RFC 7009
 */
export async function logout(session: Session, known: TokenRecord | undefined, account?: string): Promise<LogoutResult> {
  const { emit, keeper, store, serverName } = session;
  const own = await keeper.account();
  const whose = account ?? own;
  const ended = await (whose === own ? endOwn(session, known) : endStored(session, whose)).catch((error: unknown) => {
    const code = codeOf(error);
    if (code) emit({ type: "logout.failed", account: whose, code });
    throw error;
  });
  await forgetClient(session, ended?.client);
  await forgetAccount(store, await serverName(), whose);
  if (ended) {
    emit({ type: "tokens.deleted", reason: "logout" });
    emit({ type: "logout.finished", account: whose, revoked: ended.refreshTokenRevoked });
  }
  const { wasLoggedIn = false, refreshTokenRevoked = false, accessTokenRevoked = false } = ended ?? {};
  return { account: whose, wasLoggedIn, refreshTokenRevoked, accessTokenRevoked };
}

/**
 * Forgets the registration, so that a logout also helps where the server has lost it and no login is possible. Other logins keep
 * their own copy.
 */
async function forgetClient({ store, serverName }: Session, client: ClientRegistration | undefined): Promise<void> {
  const issuer = client?.issuer ?? (await readDiscovery(store, await serverName()))?.issuer;
  const registration = issuer === undefined ? undefined : await findRegistration(store, issuer);
  if (registration && registration.clientId === (client?.clientId ?? registration.clientId)) {
    await forgetRegistration(store, registration.issuer, registration.clientId);
  }
}

/** Ends the logins of all accounts at the server, the session's own first. One that fails does not keep the others. */
export async function logoutEverywhere(session: Session, known: TokenRecord | undefined): Promise<LogoutResult[]> {
  const own = await session.keeper.account();
  const accounts = new Set([own, ...(await storedRecords(session)).keys()]);
  return Promise.all(
    [...accounts].map(async (account) => {
      try {
        return await logout(session, known, account);
      } catch (error) {
        if (!(error instanceof McpAuthError)) throw error;
        return { account, wasLoggedIn: true, ...nothing, error };
      }
    }),
  );
}

/** By the keeper: what it could not store yet counts. */
async function endOwn(session: Session, known: TokenRecord | undefined): Promise<Ended | undefined> {
  const { keeper } = session;
  try {
    const record = known ?? (await keeper.newest());
    if (!record) return undefined;
    const end = async ({ current, save }: LockedLogin) => {
      const ended = current && {
        wasLoggedIn: loginOf(current) !== undefined,
        client: current.client,
        ...(await revokeAll(session, current)),
      };
      await save(undefined);
      return ended;
    };
    return await keeper.locked(record.resource, end, known);
  } catch (error) {
    if (codeOf(error) !== "invalid_record") throw error;
    return endStored(session, await keeper.account());
  }
}

/** As it is stored, readable or not. */
async function endStored(session: Session, account: string): Promise<Ended | undefined> {
  const { store, keeper } = session;
  const resource = await keeper.resource(account);
  if (resource === undefined) return undefined;
  // What cannot be moved stays where it is: no other login depends on it.
  await keeper.takeOver(account, resource).catch(() => {});
  const key = await keeper.key(account, resource);
  return store.withLock(`refresh/${key}`, async (held) => {
    const record = await unless("invalid_record", readTokens(store, key));
    const revoked = record ? await revokeAll(session, record) : nothing;
    await held.delete(key);
    return { wasLoggedIn: !record || loginOf(record) !== undefined, client: record?.client, ...revoked };
  });
}
