import { type IssuerRules, isSameIssuer } from "../discovery/issuer-names.ts";
import { formerName, isOfQuery, queryOf } from "../discovery/server-name.ts";
import { McpAuthError } from "../errors.ts";
import type { Store } from "../stores/store.ts";
import { readRecord, registrationKey } from "./stored.ts";

/** A client that was registered beforehand, about to be used at an authorization server. */
export interface BoundClient extends Pick<IssuerRules, "issuerAlias"> {
  store: Store;
  clientId: string;
  /** The protected server that leads to the authorization server: its name in keys. */
  serverName: string;
  /** The authorization server that the app has named. Default: the first one that the client was used at. */
  configured: string | undefined;
  /** The authorization server that was found. */
  issuer: string;
}

/**
 * Binds a client to its authorization server, so that its secret is never shown to another one: neither when the protected
 * server is moved nor when it is taken over (REQ-REG-06).
 *
 * Only the app knows where a client was registered. If it does not say so, the first use decides; the same ID at
 * another protected server is another client. A configured issuer comes from the app and replaces what was stored.
 *
 * @throws McpAuthError `client_issuer_mismatch`
 */
export async function bindIssuer({ store, clientId, serverName, configured, issuer, issuerAlias }: BoundClient): Promise<void> {
  const keyAt = (name: string) => registrationKey(`pre-registered/${clientId}/${name}`);
  const [key, formerKey] = [keyAt(serverName), keyAt(formerName(serverName))];
  const remembered = await readRecord(store, key);
  // What former versions have bound stays bound.
  const former = remembered || key === formerKey ? undefined : await readRecord(store, formerKey);
  const bound = configured ?? (remembered ?? (former && isOfQuery(former.query, serverName) ? former : undefined))?.issuer;
  if (bound !== undefined && !isSameIssuer(String(bound), issuer, { issuerAlias })) {
    throw new McpAuthError("client_issuer_mismatch", { issuer, detail: `${clientId} belongs to ${bound}` });
  }
  if (remembered?.issuer !== issuer) await store.set(key, { v: 1, issuer, query: queryOf(serverName) });
}
