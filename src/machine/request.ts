import { authenticationMethod, endpointsFor } from "../client-auth/machine-authentication.ts";
import { McpAuthError } from "../errors.ts";
import { sendClientCredentials } from "../grants/client-credentials.ts";
import { jwtBearerGrantType, sendAssertion } from "../grants/jwt-bearer.ts";
import type { TokenResponse } from "../grants/token-request.ts";
import { attempts } from "../tokens/attempts.ts";
import { explainRefusal, watchServerTime } from "./refusal.ts";
import type { RequestSession } from "./request-session.ts";
import { assertAudience, suppliedAssertion, suppliedSecret } from "./supplied.ts";
import type { Target } from "./target.ts";

/**
 * Requests a token with the program's own credentials.
 *
 * When the server refuses the secret, the app's function is called once more: the secret may have been rotated. A refused
 * assertion is neither sent again nor replaced.
 *
 * @throws McpAuthError `grant_unsupported`, `invalid_client`, `invalid_assertion`, `assertion_unavailable`,
 *   `credential_unavailable`, `clock_skewed`, `insufficient_scope`, `token_request_refused`, `invalid_option`; transient
 *   errors after a bounded number of retries
 */
export async function requestToken(session: RequestSession, target: Target, scopes: readonly string[]): Promise<TokenResponse> {
  const { options } = session;
  const { issuer, grant_types_supported: grants } = target.server;
  const grantType = options.assertion ? jwtBearerGrantType : "client_credentials";
  // Many servers leave this list out.
  if (grants && !grants.includes(grantType)) throw new McpAuthError("grant_unsupported", { issuer, detail: grantType });

  const secret = await suppliedSecret(session);
  requireAuthentication(session, target, secret);
  try {
    return await send(session, target, scopes, secret);
  } catch (error) {
    if (!isClientRefused(error) || typeof options.clientSecret !== "function") throw error;
    const rotated = await suppliedSecret(session);
    if (rotated === secret) throw error;
    const response = await send(session, target, scopes, rotated);
    session.emit({ type: "credential.renewed", kind: "secret" });
    return response;
  }
}

/**
 * The client credentials grant needs a client that authenticates. Missing credentials are mostly an empty variable; an app
 * that means it sets `tokenEndpointAuthMethod`.
 *
 * @see RFC 6749 §4.4
 */
function requireAuthentication({ options }: RequestSession, { server }: Target, clientSecret: string | undefined): void {
  const isIntended = options.assertion !== undefined || options.tokenEndpointAuthMethod !== undefined;
  if (isIntended || authenticationMethod({ ...options, clientSecret }, server) !== "none") return;
  const detail = "`clientSecret` or `privateKey` is missing";
  const hint = "Pass one of them; for a client that has neither, pass its `tokenEndpointAuthMethod`.";
  throw new McpAuthError("invalid_option", { issuer: server.issuer, detail, hint });
}

/** Whether the server refused the client. Some servers send 401 without an error code. */
function isClientRefused(error: unknown): boolean {
  return error instanceof McpAuthError && (error.code === "invalid_client" || error.status === 401);
}

function send(
  session: RequestSession,
  target: Target,
  scopes: readonly string[],
  clientSecret: string | undefined,
): Promise<TokenResponse> {
  const { options, clock } = session;
  const { clientId = "" } = options;
  const { issuer } = target.server;
  const credentials = { ...options, clientSecret };
  const server = endpointsFor(credentials, target.server);
  const authentication = session.authentication.at(server, credentials);
  assertAudience(session, server);
  const grant = {
    server,
    client: { clientId, clientSecret, tokenEndpointAuthMethod: "none" as const },
    authentication,
    clock,
    resource: options.resourceParameter === false ? undefined : target.resource,
    scopes,
    parameters: options.tokenParameters,
  };
  return attempts(session, issuer, async (http) => {
    const watch = watchServerTime(http);
    // A new one for each attempt: servers accept an assertion once.
    const assertion = await suppliedAssertion(session, { ...target, server }, grant.scopes);
    if (assertion !== undefined) session.refusedAssertion.throwIfRefused(assertion);
    try {
      const request = { ...grant, http: watch.http };
      return await (assertion === undefined ? sendClientCredentials(request) : sendAssertion({ ...request, assertion }));
    } catch (error) {
      const explanation = explainRefusal(error, { session, scopes, assertion, serverTime: watch.serverTime() });
      if (assertion !== undefined) session.refusedAssertion.note(assertion, explanation, error);
      throw explanation;
    }
  });
}
