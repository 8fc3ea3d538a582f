import { codeOf, McpAuthError, unless } from "../errors.ts";
import { revokeToken } from "../grants/revocation.ts";
import type { Session } from "../login/session.ts";
import { defaultAccount, defaultKey } from "../tokens/default-account.ts";
import { serverMetadata } from "../tokens/known-server.ts";
import type { LockedLogin } from "../tokens/token-keeper.ts";
import { readTokens, type TokenRecord, tokenKey } from "../tokens/token-record.ts";
import { listAccounts } from "./accounts.ts";

/** What a logout did to the login of one account. */
export interface LogoutResult {
  /** Whose login it was. */
  account: string;
  /** Whether there was a login to end. */
  wasLoggedIn: boolean;
  /** Whether the authorization server confirmed that the login cannot be refreshed any more. */
  refreshTokenRevoked: boolean;
  /** Whether it confirmed the same of the access token; many servers cannot revoke these, and let them expire. */
  accessTokenRevoked: boolean;
  /** Of `logoutEverywhere()`: why this login could not be deleted. It is still stored then; without an error it is deleted in any case. */
  error?: McpAuthError | undefined;
}

type Revoked = Pick<LogoutResult, "refreshTokenRevoked" | "accessTokenRevoked">;

const nothing: Revoked = { refreshTokenRevoked: false, accessTokenRevoked: false };

/**
 * Ends the login of one account: revokes the refresh token, then the access token, as far as the server lets us, then
 * deletes both. One that cannot be read is deleted all the same.
 *
 * @param known the session's own login in memory
 * @param account default: the session's own
 * @throws McpAuthError `lock_timeout`, `store_failed`
 * @see RFC 7009
 */
export async function logout(session: Session, known: TokenRecord | undefined, account?: string): Promise<LogoutResult> {
  const { emit, keeper, store, server } = session;
  const own = await keeper.account();
  account ??= own;
  const revoked = await (account === own ? endOwn(session, known) : endStored(session, account));
  // Nobody is led to an account that has no login.
  if ((await defaultAccount(store, server)) === account) await store.delete(defaultKey(server));
  if (revoked) {
    emit({ type: "tokens.deleted", reason: "logout" });
    emit({ type: "logout.finished", revoked: revoked.refreshTokenRevoked });
  }
  return { account, wasLoggedIn: revoked !== undefined, ...(revoked ?? nothing) };
}

/** Ends the logins of all accounts at the server, the session's own first. One that fails does not keep the others. */
export async function logoutEverywhere(session: Session, known: TokenRecord | undefined): Promise<LogoutResult[]> {
  const own = await session.keeper.account();
  const accounts = new Set([own, ...(await listAccounts(session)).map(({ account }) => account)]);
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
async function endOwn(session: Session, known: TokenRecord | undefined): Promise<Revoked | undefined> {
  const { keeper } = session;
  try {
    const record = known ?? (await keeper.load());
    if (!record) return undefined;
    const end = async ({ current, save }: LockedLogin) => {
      const revoked = current && (await revoke(session, current));
      await save(undefined);
      return revoked;
    };
    return await keeper.locked(record.resource, end, known);
  } catch (error) {
    if (codeOf(error) !== "invalid_record") throw error;
    return await endStored(session, await keeper.account());
  }
}

/** As it is stored, readable or not. */
async function endStored(session: Session, account: string): Promise<Revoked | undefined> {
  const { store, keeper } = session;
  const resource = await keeper.resource(account);
  if (resource === undefined) return undefined;
  const key = tokenKey(account, resource);
  return store.withLock(`refresh/${key}`, async (held) => {
    const record = await unless("invalid_record", readTokens(store, key));
    const revoked = record ? await revoke(session, record) : nothing;
    await held.delete(key);
    return revoked;
  });
}

/** Revokes the refresh token, then the access token, as far as the server lets us. */
export async function revoke(session: Session, record: TokenRecord): Promise<Revoked> {
  const { http } = session;
  const { client, refreshToken, accessToken } = record;
  const server = await serverMetadata(session, record).catch(() => undefined);
  if (!server) return nothing;
  return {
    refreshTokenRevoked: refreshToken !== undefined && (await revokeToken(refreshToken, "refresh_token", { server, client, http })),
    accessTokenRevoked: accessToken !== undefined && (await revokeToken(accessToken, "access_token", { server, client, http })),
  };
}
