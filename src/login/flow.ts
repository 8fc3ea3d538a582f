import { deadline } from "../async.ts";
import { splitScope } from "../authorization/scopes.ts";
import type { Discovery } from "../discovery/discovery.ts";
import { LoginRequiredError, McpAuthError } from "../errors.ts";
import type { ClientRegistration } from "../registration/registration.ts";
import { findRegistration, forgetRegistration } from "../registration/stored.ts";
import type { TokenRecord } from "../tokens/token-record.ts";
import { type Authorization, type AuthorizationPlan, planAuthorization } from "./authorization.ts";
import { runBrowserFlow } from "./browser-flow.ts";
import { finishDeviceFlow, offersDeviceCode, startDeviceFlow } from "./device-flow.ts";
import { requireSupportedPkce } from "./needs.ts";
import type { Session } from "./session.ts";

/**
 * Runs a login at one authorization server: by device code if the app and the server support it, else by browser. If the
 * server has forgotten the client, the client is registered again, once.
 *
 * @throws McpAuthError `login_required` when there is no way to ask the user, `login_timeout`; every code of registration,
 *   authorization and token requests
 */
export async function runLoginFlow(session: Session, discovery: Discovery, plan: AuthorizationPlan): Promise<TokenRecord> {
  requireWay(session, discovery);
  const startedAt = session.clock.now();
  try {
    return await runWithTimeLimit(session, discovery, plan);
  } catch (error) {
    if (!(await forgetUnknownClient(session, discovery.issuer, startedAt, error))) throw error;
    return runWithTimeLimit(session, discovery, plan);
  }
}

function requireWay(session: Session, { issuer, server }: Discovery): void {
  const { options, server: serverUrl } = session;
  if (options.loginHandler || offersDeviceCode(session, server)) return;
  const detail = options.onDeviceCode ? "no device code there, and no `loginHandler`" : "no `loginHandler`";
  throw new LoginRequiredError({ serverUrl, issuer, party: "app", detail, hint: "Pass a `loginHandler`." });
}

async function runWithTimeLimit(session: Session, discovery: Discovery, plan: AuthorizationPlan): Promise<TokenRecord> {
  const { loginTimeout, emit, server: serverUrl, clock } = session;
  const { issuer } = discovery;
  const parameters = planAuthorization(session, discovery, plan);
  emit({ type: "login.started", issuer, scopes: parameters.scopes });
  const { signal, stop } = deadline(clock, loginTimeout, () => new McpAuthError("login_timeout", { serverUrl, issuer }), plan.signal);
  try {
    const record = await askUser(session, {
      ...parameters,
      signal,
      verified: plan.verified,
      endsAt: clock.now() + loginTimeout,
      onResponse: stop,
    });
    emit({ type: "login.finished", issuer, scopes: splitScope(record.scope) });
    return record;
  } finally {
    stop();
  }
}

async function askUser(session: Session, authorization: Authorization): Promise<TokenRecord> {
  const { server } = authorization.discovery;
  if (offersDeviceCode(session, server)) {
    const startedAt = session.clock.now();
    const started = await startDeviceFlow(session, authorization).catch(async (error: unknown) => {
      // No code was shown yet. The server may not offer device codes to this client, or not now: a browser may still do.
      if (!(error instanceof McpAuthError) || (await isFinal(session, authorization, startedAt, error))) throw error;
      return undefined;
    });
    if (started) return finishDeviceFlow(session, authorization, started);
  }
  requireSupportedPkce(session, server);
  return runBrowserFlow(session, authorization);
}

/** Whether a failed start by device code is final, so that the browser is not tried. */
async function isFinal(session: Session, { discovery, signal }: Authorization, startedAt: number, error: McpAuthError): Promise<boolean> {
  if (!session.options.loginHandler || signal.aborted) return true;
  // A client that the server has forgotten must be registered again first: a browser would show an error page.
  return error.code === "invalid_client" && (await registrationBefore(session, discovery.issuer, startedAt)) !== undefined;
}

/** Deletes the registration of an earlier login if the server does not know it any more. @returns whether it did */
async function forgetUnknownClient(session: Session, issuer: string, startedAt: number, error: unknown): Promise<boolean> {
  const registration = isUnknownClient(error) ? await registrationBefore(session, issuer, startedAt) : undefined;
  if (!registration) return false;
  await forgetRegistration(session.store, issuer, registration.clientId);
  session.emit({ type: "registration.stale", issuer, reason: "refused" });
  return true;
}

function isUnknownClient(error: unknown): boolean {
  if (!(error instanceof McpAuthError)) return false;
  if (error.code === "invalid_client") return true;
  const isRefusal = error.code === "authorization_error" || error.code === "token_request_refused";
  return isRefusal && (error.serverError === "invalid_client" || error.serverError === "unauthorized_client");
}

/** The dynamic registration in use, if an earlier login made it: only then can the server have forgotten it. */
async function registrationBefore({ store, options }: Session, issuer: string, startedAt: number): Promise<ClientRegistration | undefined> {
  const registration = options.clientId === undefined ? await findRegistration(store, issuer) : undefined;
  return registration && registration.createdAt < startedAt ? registration : undefined;
}
