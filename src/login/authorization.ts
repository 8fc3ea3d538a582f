import { selectScopes, splitScope } from "../authorization/scopes.ts";
import type { Challenge } from "../discovery/challenge.ts";
import type { Discovery } from "../discovery/discovery.ts";
import type { TokenResponse } from "../grants/token-request.ts";
import { defined } from "../http/json.ts";
import type { Profile } from "../profiles/profiles.ts";
import type { ClientRegistration } from "../registration/registration.ts";
import { fromAnswer, replacing, type TokenRecord } from "../tokens/token-record.ts";
import { requestProfile, type Session } from "./session.ts";

/** The reasons for an authorization, and what it must get. */
export interface AuthorizationPlan {
  /** The protected server's challenge. */
  challenge?: Challenge | undefined;
  /** Scopes that the tokens must have: a step-up. */
  scopes?: readonly string[] | undefined;
  /** Scopes that the previous login requested. */
  askedBefore?: readonly string[] | undefined;
  /** Aborts the login. */
  signal: AbortSignal;
  /** Settles when it is known that the stored metadata still hold; aborts `signal` where they don't. Default: they are new. */
  verified?: Promise<void> | undefined;
}

/** The contents of an authorization request, by browser or by device code. */
export interface AuthorizationParameters {
  discovery: Discovery;
  profile: Partial<Profile>;
  scopes: readonly string[];
  /** Resource indicator (RFC 8707); `undefined` if the server refuses the parameter. */
  resource: string | undefined;
  /** Further parameters of the request. */
  parameters: Readonly<Record<string, string>>;
}

/** A running authorization. */
export interface Authorization extends AuthorizationParameters {
  signal: AbortSignal;
  /** As in {@link AuthorizationPlan}: awaited before anything is sent to the token endpoint. */
  verified: Promise<void> | undefined;
  /** When the user's time ends, in ms since 1970. */
  endsAt: number;
  /** Stops the time limit, when the response has arrived. */
  onResponse: () => void;
}

/** Decides the contents of the request: from the server's challenge, the app's options, and the previous login. */
export function planAuthorization(session: Session, discovery: Discovery, plan: AuthorizationPlan): AuthorizationParameters {
  const { server, resource } = discovery;
  const profile = requestProfile(session, discovery.issuer, server);
  const scopes = selectScopes({
    challenged: plan.challenge?.scope,
    wished: [...(session.options.scopes ?? []), ...(plan.scopes ?? [])],
    supported: discovery.scopesSupported,
    serverSupported: server.scopes_supported,
    askedBefore: plan.askedBefore,
  });
  const authentication = defined({ acr_values: plan.challenge?.acrValues, max_age: plan.challenge?.maxAge });
  // Some servers refuse these OpenID Connect parameters without the scope `openid`.
  const isOpenId = server.scopes_supported?.includes("openid") && !scopes.includes("openid");
  if (scopes.length > 0 && isOpenId && Object.keys(authentication).length > 0) scopes.push("openid");
  return {
    discovery,
    profile,
    scopes,
    resource: profile.resourceParameter === false ? undefined : resource,
    parameters: {
      ...(profile.audienceFromResource && { audience: resource }),
      ...profile.authorizationParameters,
      // The server's demand overrides the app's option.
      ...authentication,
    },
  };
}

/** What the request asks for; an app's own parameter wins. */
export function requestedScopes({ scopes, parameters: { scope } }: AuthorizationParameters): readonly string[] {
  return scope === undefined ? scopes : splitScope(scope);
}

/**
 * Stores the tokens of a login. The refresh lock keeps a refresh of the old login from overwriting them.
 *
 * @throws McpAuthError `invalid_token_response` when the response has no access token; its refresh token is stored first
 */
export async function storeLogin(
  { clock, keeper }: Session,
  { discovery: { resource, issuer }, scopes }: Pick<AuthorizationParameters, "discovery" | "scopes">,
  client: ClientRegistration,
  response: TokenResponse,
): Promise<TokenRecord> {
  const now = clock.now();
  const record: TokenRecord = {
    v: 1,
    resource,
    issuer,
    client,
    requestedScopes: scopes,
    loggedInAt: now,
    issuedAt: now,
    ...(scopes.length > 0 && { scope: scopes.join(" ") }),
    ...fromAnswer(response, now),
  };
  const former = await keeper.former(resource).catch(() => undefined);
  await keeper.locked(resource, (login) => login.save(replacing([former, login.current], record)));
  try {
    await keeper.index(resource);
    await keeper.deleteFormer(former);
  } catch {
    // Without its index entry the login is not found later and the user is asked again. That is no reason to fail now.
  }
  if (response.problem) throw response.problem;
  return record;
}
