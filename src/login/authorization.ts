import { selectScopes } from "../authorization/scopes.ts";
import type { Challenge } from "../discovery/challenge.ts";
import type { Discovery } from "../discovery/discovery.ts";
import type { TokenResponse } from "../grants/token-request.ts";
import { defined } from "../http/json.ts";
import type { Profile } from "../profiles/profiles.ts";
import type { ClientRegistration } from "../registration/registration.ts";
import { fromAnswer, type TokenRecord } from "../tokens/token-record.ts";
import { requestProfile, type Session } from "./session.ts";

/** What an authorization asks for. */
export interface AuthorizationPlan {
  /** The protected server's refusal. */
  challenge?: Challenge | undefined;
  /** Scopes that it must have: a step-up. */
  scopes?: readonly string[] | undefined;
  /** What the login before it had asked for. */
  askedBefore?: readonly string[] | undefined;
  /** Aborts when the login is given up. */
  signal: AbortSignal;
}

/** What an authorization request says, in whatever way the user is asked. */
export interface AuthorizationParameters {
  discovery: Discovery;
  profile: Partial<Profile>;
  scopes: readonly string[];
  /** Resource indicator; `undefined` where the server refuses the parameter. */
  resource: string | undefined;
  /** Parameters of the request beyond the protocol's own. */
  parameters: Readonly<Record<string, string>>;
}

/** An authorization that runs: everything that is settled before the user is asked. */
export interface Authorization extends AuthorizationParameters {
  signal: AbortSignal;
  /** When the user's time is over, in ms since 1970. */
  endsAt: number;
  /** Once the response is there the user's time does not count any more. */
  onResponse: () => void;
}

/** Settles what the request says: the server's wishes, the app's, and what the login before it had. */
export function planAuthorization(session: Session, discovery: Discovery, plan: AuthorizationPlan): AuthorizationParameters {
  const { server, resource } = discovery;
  const profile = requestProfile(session, discovery.issuer);
  const scopes = selectScopes({
    challenged: plan.challenge?.scope,
    wished: [...(session.options.scopes ?? []), ...(plan.scopes ?? [])],
    supported: discovery.scopesSupported,
    serverSupported: server.scopes_supported,
    askedBefore: plan.askedBefore,
  });
  const authentication = defined({ acr_values: plan.challenge?.acrValues, max_age: plan.challenge?.maxAge });
  // Parameters of OpenID Connect, which some servers refuse without its scope.
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
      // What the server insists on wins over what the app likes.
      ...authentication,
    },
  };
}

/**
 * Stores what a user's decision brought. The refresh lock keeps a refresh of the old login from overwriting it.
 *
 * @throws McpAuthError `invalid_token_response` when there is no access token: a refresh token that came alone is stored all the same
 */
export async function storeLogin(
  { clock, keeper }: Session,
  { discovery: { resource, issuer }, scopes }: Authorization,
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
  await keeper.locked(resource, (login) => login.save(record));
  // A stored login that cannot be found is asked for again, which is no reason to fail now.
  await keeper.index(resource).catch(() => {});
  if (response.problem) throw response.problem;
  return record;
}
