import { text } from "../http/json.ts";
import type { Store } from "../stores/store.ts";

/** Where it is remembered who uses a server when the app does not say it. */
export function defaultKey(serverUrl: string): string {
  return `accounts/${serverUrl}`;
}

/** The account of managers that name none. */
export async function defaultAccount(store: Store, serverUrl: string): Promise<string> {
  return text((await store.get(defaultKey(serverUrl)))?.account) ?? "default";
}
