import { writeDiscovery } from "../discovery/cache.ts";
import type { Challenge } from "../discovery/challenge.ts";
import { type Discovery, discover, type Speculation } from "../discovery/discovery.ts";
import { isSameIssuer } from "../discovery/issuer-names.ts";
import { McpAuthError } from "../errors.ts";
import { lacksForLogin } from "./needs.ts";
import { requestProfile, type Session } from "./session.ts";
import { refusesSessions } from "./stored-server.ts";

/** Input of {@link findLoginServer}. */
export interface LoginServerSearch {
  /** The protected server's challenge. */
  challenge?: Challenge | undefined;
  /** The request that the server refused without a token. */
  operation?: string | undefined;
  /** Metadata requests that are running already. */
  speculation?: Speculation | undefined;
  /** Aborts the search. */
  signal: AbortSignal;
}

/**
 * Finds the authorization server of a login. Refuses a server where no login is safe.
 *
 * @throws McpAuthError every code of discovery; `pkce_unsupported`; `issuer_mismatch` when it is not the option `issuer`
 */
export async function findLoginServer(
  session: Session,
  { challenge, operation, speculation, signal }: LoginServerSearch,
): Promise<Discovery> {
  const { serverUrl, serverName, http, clock, emit, store, options } = session;
  const discovery = await discover(serverUrl, {
    ...options,
    http,
    clock,
    emit,
    challenge,
    speculation,
    signal,
    lacks: lacksForLogin(session),
  });
  const { issuer, server } = discovery;
  // With a `clientId`, the binding of the client to its issuer reports this.
  if (options.issuer && !options.clientId && !isSameIssuer(options.issuer, issuer, options)) {
    throw new McpAuthError("issuer_mismatch", { issuer, detail: `\`issuer\` is ${options.issuer}` });
  }
  await writeDiscovery(store, await serverName(), { ...discovery, ...(refusesSessions(operation) && { refusesSessions: true }) });
  const profile = requestProfile(session, issuer, server);
  if (profile.name) emit({ type: "discovery.concession", concession: "profile", issuer, detail: profile.name });
  return discovery;
}
