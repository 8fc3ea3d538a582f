import type { Store } from "../stores/store.ts";
import type { Discovery } from "./discovery.ts";

/**
 * Reads an earlier discovery, expired or not: the caller decides whether `validUntil` matters. A record that cannot be read
 * counts as none: it is only a cache.
 *
 * @param serverName the protected server's name in keys
 */
export async function readDiscovery(store: Store, serverName: string): Promise<Discovery | undefined> {
  const record = await store.get(keyOf(serverName));
  if (record?.v !== 1) return undefined;
  const { v: _, ...discovery } = record as unknown as Discovery & { v: number };
  const { serverUrl: url, resource, issuer, server, fetchedAt, validUntil } = discovery;
  const usable =
    [url, resource, issuer, server?.token_endpoint].every((text) => typeof text === "string") &&
    server.issuer === issuer &&
    Number.isFinite(fetchedAt) &&
    Number.isFinite(validUntil);
  return usable ? discovery : undefined;
}

/** Stores a discovery, if it may be kept. */
export async function writeDiscovery(store: Store, serverName: string, discovery: Discovery): Promise<void> {
  if (discovery.validUntil > discovery.fetchedAt) await store.set(keyOf(serverName), { v: 1, ...discovery });
}

function keyOf(serverName: string): string {
  return `servers/${serverName}`;
}
