import { McpAuthError } from "../errors.ts";
import { defined } from "../http/json.ts";
import { type Profile, profileFor } from "../profiles/profiles.ts";
import { checkClientMetadataUrl } from "../registration/client-metadata-url.ts";
import { createServerSession, type ServerSession } from "../tokens/session.ts";
import { TokenKeeper } from "../tokens/token-keeper.ts";
import type { LoginOptions } from "./options.ts";

/** What the parts of a token manager share: the options, checked and completed. */
export interface Session extends ServerSession {
  readonly options: LoginOptions;
  readonly keeper: TokenKeeper;
}

/** @throws McpAuthError `invalid_url`, `insecure_url` or `invalid_option`. */
export function createSession(options: LoginOptions): Session {
  const { account, clientId, clientSecret } = options;
  if (clientSecret !== undefined && clientId === undefined)
    throw new McpAuthError("invalid_option", { detail: "`clientSecret` needs `clientId`" });
  if (options.clientMetadataUrl !== undefined) checkClientMetadataUrl(options.clientMetadataUrl);
  const session = createServerSession(options);
  const { store, clock, emit, server: serverUrl } = session;
  // Assigned, not spread: the session's own fields change while it lives.
  return Object.assign(session, { options, keeper: new TokenKeeper({ store, clock, emit, serverUrl, account, clientId }) });
}

/** How requests to an authorization server differ from the rule: its profile, overridden by the app's options. */
export function requestProfile({ options, server }: Session, issuer: string): Partial<Profile> {
  const profile = profileFor(issuer, server);
  const { resourceParameter, redirectHost, refreshScope, bearer } = options;
  return {
    ...profile,
    ...defined({ resourceParameter, redirectHost, refreshScope, bearer }),
    authorizationParameters: { ...profile?.authorizationParameters, ...options.authorizationParameters },
  };
}

/** How long a user has for a login, in ms. */
export function loginTimeout(options: LoginOptions): number {
  return options.loginTimeout ?? 300_000;
}
