import { checkGiven } from "../discovery/given-server.ts";
import type { AuthorizationServerMetadata } from "../discovery/server-metadata.ts";
import { McpAuthError } from "../errors.ts";
import { defined } from "../http/json.ts";
import { type Profile, profileFor } from "../profiles/profiles.ts";
import { checkClientMetadataUrl } from "../registration/client-metadata-url.ts";
import { createServerAccess, createServerSession, type ServerAccess, type ServerSession } from "../tokens/session.ts";
import { TokenKeeper } from "../tokens/token-keeper.ts";
import type { LoginOptions } from "./options.ts";

/** What the parts of a token manager share, such as the checked options. */
export interface Session extends ServerSession {
  readonly options: LoginOptions;
  readonly keeper: TokenKeeper;
  /** How long the user has for a login, in ms. */
  readonly loginTimeout: number;
}

/** What the managers of all accounts share, where the app has given its options once. */
export interface LoginAccess extends ServerAccess {
  readonly options: LoginOptions;
}

/** @throws McpAuthError `invalid_url`, `insecure_url` or `invalid_option`. */
export function createLoginAccess(options: LoginOptions): LoginAccess {
  const { clientId, clientSecret, clientMetadataUrl } = options;
  if (clientSecret !== undefined && clientId === undefined)
    throw new McpAuthError("invalid_option", { detail: "`clientSecret` needs `clientId`" });
  if (options.privateKey !== undefined && clientId === undefined && clientMetadataUrl === undefined)
    throw new McpAuthError("invalid_option", { detail: "`privateKey` needs `clientId` or `clientMetadataUrl`" });
  if (options.keyId !== undefined && options.privateKey === undefined)
    throw new McpAuthError("invalid_option", { detail: "`keyId` needs `privateKey`" });
  if (clientMetadataUrl !== undefined) checkClientMetadataUrl(clientMetadataUrl);
  const access = createServerAccess(options);
  checkGiven(options, access.http);
  return { ...access, options };
}

/**
 * @param access what is there already, for the same options
 * @throws McpAuthError `invalid_url`, `insecure_url` or `invalid_option`.
 */
export function createSession(options: LoginOptions, access = createLoginAccess(options), account = options.account): Session {
  const { clientId, requestTimeout, loginTimeout = 300_000 } = options;
  const session = createServerSession(options, access, account);
  const { store, clock, emit, serverName } = session;
  const keeper = new TokenKeeper({ store, clock, emit, serverName, account, clientId, requestTimeout });
  // Assigned, not spread: a copy would miss later changes of the session's fields.
  return Object.assign(session, { options, loginTimeout, keeper });
}

/**
 * Deviations that an authorization server needs: its profile, overridden by the app's options.
 *
 * @param metadata where they are at hand: some are recognised by them
 */
export function requestProfile(
  { options, server }: Session,
  issuer: string,
  metadata?: AuthorizationServerMetadata | undefined,
): Partial<Profile> {
  const profile = profileFor(issuer, server, metadata);
  const { resourceParameter, redirectHost, refreshScope, bearer } = options;
  return {
    ...profile,
    ...defined({ resourceParameter, redirectHost, refreshScope, bearer }),
    authorizationParameters: { ...profile?.authorizationParameters, ...options.authorizationParameters },
  };
}
