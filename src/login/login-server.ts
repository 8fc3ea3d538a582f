import { writeDiscovery } from "../discovery/cache.ts";
import type { Challenge } from "../discovery/challenge.ts";
import { type Discovery, discover, type Speculation } from "../discovery/discovery.ts";
import { isSameIssuer, requirePkce } from "../discovery/server-metadata.ts";
import { McpAuthError } from "../errors.ts";
import { offersDeviceCode } from "./device-flow.ts";
import { requestProfile, type Session } from "./session.ts";

/** Where the search for the authorization server begins. */
export interface LoginServerSearch {
  /** The protected server's refusal. */
  challenge?: Challenge | undefined;
  /** Metadata requests that are under way already. */
  speculation?: Speculation | undefined;
  /** Aborts when the login is given up. */
  signal: AbortSignal;
}

/**
 * Finds the authorization server of a login, and refuses one that no login can be safe with.
 *
 * @throws McpAuthError every code of discovery; `pkce_unsupported`; `issuer_mismatch` when it is not the app's `issuer`
 */
export async function findLoginServer(session: Session, { challenge, speculation, signal }: LoginServerSearch): Promise<Discovery> {
  const { serverUrl, http, clock, emit, store, options } = session;
  const discovery = await discover(serverUrl, { ...options, http, clock, emit, challenge, speculation, signal });
  const { issuer, server } = discovery;
  // A device code is bound to whoever asked for it: there is no redirect that could be intercepted.
  if (!offersDeviceCode(session, server)) requirePkce(server);
  // A client that was registered there has an error of its own.
  if (options.issuer && !options.clientId && !isSameIssuer(options.issuer, issuer, options.strictIssuer)) {
    throw new McpAuthError("issuer_mismatch", { issuer, detail: `\`issuer\` is ${options.issuer}` });
  }
  await writeDiscovery(store, discovery);
  const profile = requestProfile(session, issuer);
  if (profile.name) emit({ type: "discovery.concession", concession: "profile", issuer, detail: profile.name });
  return discovery;
}
