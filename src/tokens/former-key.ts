import { codeOf, McpAuthError, unless } from "../errors.ts";
import type { LockOptions, Store } from "../stores/store.ts";
import { asStored, readTokens } from "./token-record.ts";

/** A login that a former version may have stored, whose keys did not know the query of the server's URL. */
export interface FormerLogin {
  store: Store;
  /** Where former versions kept it. */
  from: string;
  /** Where it belongs. */
  to: string;
  /** What the server's name in keys says of its query. */
  query: string;
  /** Writes that the server leads to its resource. */
  index: (resource: string) => Promise<void>;
}

/**
 * Moves a login to where it belongs, so that it has one owner: the first of all queries that spends it. No refresh token is
 * spent twice, whoever else comes:
 *
 * - A former version, or another query, looks for the login under the lock of its old place, which is held here. Afterwards
 *   nothing is there.
 * - A process that dies in the middle leaves a login that says whose it is: nobody else uses it, and the next process of this
 *   query begins anew with what is at the old place, which is the newer one if a former version has used it meanwhile.
 *
 * Both locks are held, the new place's first; nobody takes them in the other order.
 *
 * @throws McpAuthError `lock_timeout`, `store_failed`; nothing is lost then
 */
export async function takeOverLogin(login: FormerLogin, options: LockOptions): Promise<void> {
  const { store, from, to } = login;
  if (from === to || !(await findFormer(login))) return;
  const lock = `refresh/${to}`;
  try {
    await store.withLock(lock, (held) => store.withLock(`refresh/${from}`, (former) => move(login, held, former), options), options);
  } catch (error) {
    // The old place's key shows a query.
    throw codeOf(error) === "lock_timeout" ? new McpAuthError("lock_timeout", { detail: lock }) : error;
  }
}

async function move(login: FormerLogin, held: Pick<Store, "set">, former: Pick<Store, "set" | "delete">): Promise<void> {
  const { from, to, query, index } = login;
  const found = await findFormer(login);
  if (!found) return;
  const claimed = asStored({ ...found, query });
  await former.set(from, claimed);
  await held.set(to, claimed);
  await index(found.resource);
  await former.delete(from);
}

/** What is at the old place: this query's own, by a move that has not ended; else one of a former version, where there is no newer. */
async function findFormer({ store, from, to, query }: FormerLogin) {
  const found = await unless("invalid_record", readTokens(store, from));
  if (found === undefined || found.query === query) return found;
  return found.query === undefined && (await readTokens(store, to)) === undefined ? found : undefined;
}
