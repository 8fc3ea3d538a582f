import { formerName, isOfQuery, queryOf } from "../discovery/server-name.ts";
import { text } from "../http/json.ts";
import type { Store } from "../stores/store.ts";

const usual = "default";

/** Where it is remembered who uses a server when the app does not say it. */
function defaultKey(serverName: string): string {
  return `accounts/${serverName}`;
}

/** The account of managers that name none. What former versions have chosen holds for every query, until one chooses its own. */
export async function defaultAccount(store: Store, serverName: string): Promise<string> {
  for (const name of new Set([serverName, formerName(serverName)])) {
    const chosen = await store.get(defaultKey(name));
    const account = chosen && isOfQuery(chosen.query, serverName) ? text(chosen.account) : undefined;
    if (account !== undefined) return account;
  }
  return usual;
}

/** @throws McpAuthError `store_failed` */
export async function chooseAccount(store: Store, serverName: string, account: string): Promise<void> {
  await store.set(defaultKey(serverName), { v: 1, account, query: queryOf(serverName) });
}

/** Nobody is led to an account that has no login. @throws McpAuthError `store_failed` */
export async function forgetAccount(store: Store, serverName: string, account: string): Promise<void> {
  if ((await defaultAccount(store, serverName)) !== account) return;
  await store.delete(defaultKey(serverName));
  // The choice of a former version is not this server's alone.
  if (account !== usual && (await defaultAccount(store, serverName)) === account) await chooseAccount(store, serverName, usual);
}
