import { deadline } from "../async.ts";
import { splitScope } from "../authorization/scopes.ts";
import type { Discovery } from "../discovery/discovery.ts";
import { LoginRequiredError, McpAuthError } from "../errors.ts";
import { isUnknownClient } from "../registration/unknown-client.ts";
import type { TokenRecord } from "../tokens/token-record.ts";
import { type Authorization, type AuthorizationPlan, planAuthorization } from "./authorization.ts";
import { runBrowserFlow } from "./browser-flow.ts";
import { finishDeviceFlow, offersDeviceCode, startDeviceFlow } from "./device-flow.ts";
import { requireSupportedPkce } from "./needs.ts";
import { dropRefusedClient, type LoginAttempt, registrationBefore } from "./refused-client.ts";
import type { Session } from "./session.ts";

/**
 * Runs a login at one authorization server: by device code if the app and the server support it, else by browser. If the
 * server has forgotten the client, or refuses its metadata document, the client is registered again, once.
 *
 * @throws McpAuthError `login_required` when there is no way to ask the user, `login_timeout`; every code of registration,
 *   authorization and token requests
 */
export async function runLoginFlow(session: Session, discovery: Discovery, plan: AuthorizationPlan): Promise<TokenRecord> {
  requireWay(session, discovery);
  const attempt: LoginAttempt = { startedAt: session.clock.now(), isAnswered: false };
  try {
    return await runWithTimeLimit(session, discovery, plan, attempt);
  } catch (error) {
    await dropRefusedClient(session, discovery.server, attempt, error);
    return runWithTimeLimit(session, discovery, plan, attempt);
  }
}

function requireWay(session: Session, { issuer, server }: Discovery): void {
  const { options, server: serverUrl } = session;
  if (options.loginHandler || offersDeviceCode(session, server)) return;
  const detail = options.onDeviceCode ? "no device code there, and no `loginHandler`" : "no `loginHandler`";
  throw new LoginRequiredError({ serverUrl, issuer, party: "app", detail, hint: "Pass a `loginHandler`." });
}

async function runWithTimeLimit(
  session: Session,
  discovery: Discovery,
  plan: AuthorizationPlan,
  attempt: LoginAttempt,
): Promise<TokenRecord> {
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
      onResponse: () => {
        attempt.isAnswered = true;
        stop();
      },
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
  return isUnknownClient(error) && (await registrationBefore(session, discovery.issuer, startedAt)) !== undefined;
}
