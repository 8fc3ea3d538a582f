import { joinScopes } from "../authorization/scopes.ts";
import { McpAuthError } from "../errors.ts";
import { presentable } from "../grants/token-request.ts";
import type { Session } from "../login/session.ts";
import { needed, type Rules, scopes as scopesRule, seconds, text } from "../options.ts";
import { lifetimeOf } from "../tokens/lifetime.ts";
import { replacing, type TokenRecord } from "../tokens/token-record.ts";

/** Tokens that were obtained elsewhere. */
export interface GivenTokens {
  /** Presented to the protected server. */
  accessToken: string;
  /** Without one, the login ends with the access token. */
  refreshToken?: string | undefined;
  /** Only for servers that want it instead of the access token. */
  idToken?: string | undefined;
  /** Remaining lifetime of the access token, in seconds. Unknown: as the token says, if it is a JWT; it is used until refused. */
  expiresIn?: number | undefined;
  /** Granted scopes, where known. */
  scopes?: readonly string[] | undefined;
  /** The authorization server that issued them. Needed with a refresh token. */
  issuer?: string | undefined;
  /** The client that they were issued to. Default: the manager's own `clientId`. Needed with a refresh token. */
  clientId?: string | undefined;
  /** Default: the manager's own, for its own `clientId`. */
  clientSecret?: string | undefined;
  /** Identifier of the protected resource. Default: the server's URL without query. */
  resource?: string | undefined;
}

export const givenTokensRules = (): Rules<GivenTokens> => ({
  accessToken: needed(text),
  refreshToken: text,
  idToken: text,
  expiresIn: seconds,
  scopes: scopesRule,
  issuer: text,
  clientId: text,
  clientSecret: text,
  resource: text,
});

/** Stores given tokens as the login of the session. @throws McpAuthError `invalid_option`, `lock_timeout` */
export async function giveTokens(session: Session, tokens: GivenTokens): Promise<TokenRecord> {
  const { options, clock, emit, keeper, serverUrl } = session;
  const {
    accessToken,
    refreshToken,
    idToken,
    expiresIn,
    scopes,
    issuer = options.issuer ?? "",
    clientId = options.clientId ?? "",
  } = tokens;
  const clientSecret = tokens.clientSecret ?? (tokens.clientId === undefined ? options.clientSecret : undefined);
  if (!presentable(accessToken))
    throw new McpAuthError("invalid_option", { detail: "`accessToken` is empty, or has characters that a header cannot carry" });
  if (options.clientId && clientId !== options.clientId)
    throw new McpAuthError("invalid_option", { detail: "`clientId` is not the one of this manager" });
  // A refresh token is shown to nobody but the server that issued it, so that must be known.
  if (refreshToken && !(issuer && clientId)) {
    throw new McpAuthError("invalid_option", { detail: "`refreshToken` needs `issuer` and `clientId`" });
  }
  const now = clock.now();
  const record: TokenRecord = {
    v: 1,
    resource: tokens.resource ?? serverUrl.origin + serverUrl.pathname.replace(/^\/$/, ""),
    issuer,
    client: {
      issuer,
      kind: "pre-registered",
      clientId,
      clientSecret,
      tokenEndpointAuthMethod: options.tokenEndpointAuthMethod ?? (clientSecret ? "client_secret_basic" : "none"),
      createdAt: now,
    },
    accessToken,
    refreshToken,
    idToken,
    scope: joinScopes(scopes),
    requestedScopes: scopes ?? [],
    issuedAt: now,
    ...lifetimeOf(accessToken, expiresIn, now),
  };
  const former = await keeper.former(record.resource);
  await keeper.locked(record.resource, (login) => login.save(replacing([former, login.current], record)));
  await keeper.index(record.resource);
  await keeper.deleteFormer(former);
  emit({ type: "tokens.given", issuer: issuer || undefined, scopes: record.requestedScopes });
  return record;
}
