import { withoutQuery } from "../errors.ts";
import { base64url } from "../http/base64url.ts";

/** Enough that no two queries ever meet. */
const digestBytes = 12;

/**
 * A URL as keys of the store, which are readable, name it: as it is, but a query, which may be secret and tells resources
 * behind one URL apart, only as the beginning of its SHA-256.
 */
export async function nameInKeys(url: string): Promise<string> {
  const start = url.indexOf("?");
  if (start < 0) return url;
  const [bare, query] = [url.slice(0, start), url.slice(start + 1)];
  if (query === "") return bare;
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(query));
  return `${bare}?${base64url(new Uint8Array(digest, 0, digestBytes))}`;
}

/** How former versions named a server in keys: without its query. */
export function formerName(serverName: string): string {
  return withoutQuery(serverName);
}

/**
 * What a server's name says of its query; empty where there is none. Records carry it, so that those of former versions, which
 * do not, differ from those of the same URL without query: only the former are anybody's.
 */
export function queryOf(serverName: string): string {
  return serverName.slice(formerName(serverName).length);
}

/** Whether a record that says this of its query may be used under a server's name. */
export function isOfQuery(query: unknown, serverName: string): boolean {
  return query === undefined || query === queryOf(serverName);
}
