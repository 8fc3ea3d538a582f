import { deadline } from "../async.ts";
import { selectScopes, splitScope } from "../authorization/scopes.ts";
import type { Challenge } from "../discovery/challenge.ts";
import type { Discovery } from "../discovery/discovery.ts";
import { type AuthorizationServerMetadata, requirePkce } from "../discovery/server-metadata.ts";
import { LoginRequiredError, McpAuthError } from "../errors.ts";
import { defined } from "../http/json.ts";
import type { ClientRegistration } from "../registration/registration.ts";
import { findRegistration } from "../registration/stored.ts";
import type { TokenRecord } from "../tokens/token-record.ts";
import type { Authorization } from "./authorization.ts";
import { logInByBrowser } from "./browser-flow.ts";
import { beginDeviceLogin, finishDeviceLogin, offersDeviceCode } from "./device-flow.ts";
import { loginTimeout, requestProfile, type Session } from "./session.ts";

/** What an authorization asks for. */
export interface AuthorizationPlan {
  challenge?: Challenge | undefined;
  /** Scopes that it must have: a step-up. */
  scopes?: readonly string[] | undefined;
  /** What the login before it had asked for. */
  askedBefore?: readonly string[] | undefined;
  /** Aborts when the login is given up. */
  signal: AbortSignal;
}

/**
 * One authorization, from the wish for it to the stored tokens: by device code where the app and the server have it, else
 * by browser.
 *
 * @throws McpAuthError `login_required` when there is no way to ask the user, `login_timeout`; every code of registration,
 *   authorization and token requests
 */
export async function authorizeAt(session: Session, discovery: Discovery, plan: AuthorizationPlan): Promise<TokenRecord> {
  const { options, emit, server: serverUrl, clock } = session;
  const { issuer, server, resource } = discovery;
  if (!options.loginHandler && !offersDeviceCode(session, server)) {
    const detail = options.onDeviceCode ? "no device code there, and no `loginHandler`" : "no `loginHandler`";
    throw new LoginRequiredError({ serverUrl, issuer, detail });
  }
  const scopes = selectScopes({
    challenged: plan.challenge?.scope,
    wished: [...(options.scopes ?? []), ...(plan.scopes ?? [])],
    supported: discovery.scopesSupported,
    serverSupported: server.scopes_supported,
    askedBefore: plan.askedBefore,
  });
  const authentication = defined({ acr_values: plan.challenge?.acrValues, max_age: plan.challenge?.maxAge });
  // Parameters of OpenID Connect, which some servers refuse without its scope.
  const isOpenId = server.scopes_supported?.includes("openid") && !scopes.includes("openid");
  if (scopes.length > 0 && isOpenId && Object.keys(authentication).length > 0) scopes.push("openid");
  emit({ type: "login.started", issuer, scopes });

  const tooLate = () => new McpAuthError("login_timeout", { serverUrl, issuer });
  const { signal, stop } = deadline(clock, loginTimeout(options), tooLate, plan.signal);
  const profile = requestProfile(session, issuer);
  try {
    const record = await authorize(session, {
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
      signal,
      endsAt: clock.now() + loginTimeout(options),
      onAnswer: stop,
    });
    emit({ type: "login.finished", issuer, scopes: splitScope(record.scope ?? scopes.join(" ")) });
    return record;
  } finally {
    stop();
  }
}

async function authorize(session: Session, authorization: Authorization): Promise<TokenRecord> {
  const { server } = authorization.discovery;
  if (offersDeviceCode(session, server)) {
    const startedAt = session.clock.now();
    const begun = await beginDeviceLogin(session, authorization).catch(async (error: unknown) => {
      // No code was shown yet: the user need not hear of a server that offers them, but not to this client, or not now.
      if (!(error instanceof McpAuthError) || (await isFinal(session, authorization, startedAt, error))) throw error;
      return undefined;
    });
    if (begun) return finishDeviceLogin(session, authorization, begun);
  }
  requirePkce(server);
  return logInByBrowser(session, authorization);
}

/** Whether a login that could not begin by device code need not be tried by browser. */
async function isFinal(session: Session, { discovery, signal }: Authorization, startedAt: number, error: McpAuthError): Promise<boolean> {
  if (!session.options.loginHandler || signal.aborted) return true;
  // A client that the server has forgotten is made anew first: a browser would show an error page.
  return error.code === "invalid_client" && (await registrationBefore(session, discovery.issuer, startedAt)) !== undefined;
}

/** The dynamic registration in use, if it was made for an earlier login: the server may have forgotten it. */
export async function registrationBefore(
  { store, options }: Session,
  issuer: string,
  startedAt: number,
): Promise<ClientRegistration | undefined> {
  const registration = options.clientId === undefined ? await findRegistration(store, issuer) : undefined;
  return registration && registration.createdAt < startedAt ? registration : undefined;
}

/** Refuses a server that no login here can be safe with. @throws McpAuthError `pkce_unsupported` */
export function requireSafeLogin(session: Session, server: AuthorizationServerMetadata): void {
  // A device code is bound to whoever asked for it: there is no redirect that could be intercepted.
  if (!offersDeviceCode(session, server)) requirePkce(server);
}
