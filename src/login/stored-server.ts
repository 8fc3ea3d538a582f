import { readDiscovery } from "../discovery/cache.ts";
import type { Discovery } from "../discovery/discovery.ts";
import { isGiven } from "../discovery/given-server.ts";
import { isSameIssuer } from "../discovery/issuer-names.ts";
import type { Session } from "./session.ts";

/** The first requests of a session: a server that refuses these without a token refuses every request. */
const firstRequests: readonly (string | undefined)[] = ["initialize", "server/discover"];

/** Whether a refusal of this request, sent without a token, shows that there is no session without one. */
export function refusesSessions(operation: string | undefined): boolean {
  return firstRequests.includes(operation);
}

/**
 * The server at which an earlier login was made, while what is stored of it is valid: a login can begin there at once.
 *
 * @throws McpAuthError what reading the store throws
 */
export async function storedLoginServer({ store, serverName, clock, options }: Session): Promise<Discovery | undefined> {
  // Where the app wants to be asked, or wants requests in the specification's order, it is; what it says itself is stored nowhere.
  if (options.chooseAuthorizationServer || options.speculate === false || isGiven(options)) return undefined;
  const stored = await readDiscovery(store, await serverName());
  if (!stored || stored.validUntil <= clock.now()) return undefined;
  return options.issuer === undefined || isSameIssuer(options.issuer, stored.issuer, options) ? stored : undefined;
}
