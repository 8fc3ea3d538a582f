import { machineAuthentication, machineEndpoints } from "../../client-auth/machine-authentication.ts";
import { codeOf, McpAuthError } from "../../errors.ts";
import { assertionClaims } from "../../grants/assertion.ts";
import { clientCredentialsGrant } from "../../grants/client-credentials.ts";
import { jwtBearerGrant, jwtBearerGrantType } from "../../grants/jwt-bearer.ts";
import type { TokenAnswer } from "../../grants/token-request.ts";
import { attempts } from "../attempts.ts";
import { explained, watchingTime } from "./refusal.ts";
import type { MachineSession } from "./session.ts";
import type { Target } from "./target.ts";

/**
 * Asks for a token with the program's own credentials.
 *
 * A secret that the server refuses is asked for again, once: it may have been rotated. An assertion that it refuses is
 * neither repeated nor replaced.
 *
 * @throws McpAuthError `grant_unsupported`, `invalid_client`, `invalid_assertion`, `assertion_unavailable`, `clock_skewed`,
 *   `insufficient_scope`, `token_request_refused`, `invalid_option`, and what passes, after bounded repetition
 */
export async function requestToken(session: MachineSession, target: Target, scopes: readonly string[]): Promise<TokenAnswer> {
  const { options } = session;
  const { issuer, grant_types_supported: grants } = target.server;
  const grantType = options.assertion ? jwtBearerGrantType : "client_credentials";
  // A list that is not there says nothing: many servers have none.
  if (grants && !grants.includes(grantType)) throw new McpAuthError("grant_unsupported", { issuer, detail: grantType });

  const secret = await clientSecretOf(session);
  try {
    return await send(session, target, scopes, secret);
  } catch (error) {
    if (codeOf(error) !== "invalid_client" || typeof options.clientSecret !== "function") throw error;
    const rotated = await clientSecretOf(session);
    if (rotated === secret) throw error;
    return send(session, target, scopes, rotated);
  }
}

async function clientSecretOf({ options: { clientSecret } }: MachineSession): Promise<string | undefined> {
  if (typeof clientSecret !== "function") return clientSecret;
  const secret = await clientSecret();
  if (typeof secret !== "string" || secret === "") throw new McpAuthError("invalid_option", { detail: "`clientSecret` gave nothing" });
  return secret;
}

function send(session: MachineSession, target: Target, scopes: readonly string[], clientSecret: string | undefined): Promise<TokenAnswer> {
  const { options, http, clock } = session;
  const { clientId = "" } = options;
  const { issuer } = target.server;
  const credentials = { ...options, clientSecret };
  const server = machineEndpoints(credentials, target.server);
  const authentication = machineAuthentication(credentials, server, clock);
  const grant = {
    server,
    client: { clientId, clientSecret, tokenEndpointAuthMethod: "none" as const },
    authentication,
    clock,
    resource: options.resourceParameter === false ? undefined : target.resource,
    scope: scopes.join(" "),
    parameters: options.tokenParameters,
  };
  return attempts(session, issuer, async (signal) => {
    const watch = watchingTime(http);
    // Anew for each attempt: servers accept an assertion once.
    const assertion = await assertionFor(session, target, grant.scope, signal);
    if (assertion !== undefined && assertion === session.refused?.assertion) throw session.refused.error;
    try {
      const request = { ...grant, http: watch.http, signal };
      return await (assertion === undefined ? clientCredentialsGrant(request) : jwtBearerGrant({ ...request, assertion }));
    } catch (error) {
      throw explained(error, { session, scopes, assertion, serverTime: watch.serverTime() });
    }
  });
}

/** The assertion for this server. @throws McpAuthError `assertion_unavailable`, `invalid_assertion` when it is for somebody else */
async function assertionFor(session: MachineSession, target: Target, scope: string, signal: AbortSignal): Promise<string | undefined> {
  const { options, http, clock } = session;
  if (!options.assertion) return undefined;
  const { issuer, token_endpoint: tokenEndpoint = "" } = target.server;
  const { resource } = target;
  let assertion: string;
  try {
    assertion = await options.assertion({ issuer, tokenEndpoint, resource, scope: scope || undefined, http, clock, signal });
  } catch (cause) {
    throw cause instanceof McpAuthError ? cause : new McpAuthError("assertion_unavailable", { issuer, cause });
  }
  if (typeof assertion !== "string" || !assertion.trim())
    throw new McpAuthError("assertion_unavailable", { issuer, detail: "there was none" });
  // The protected server has led here. Whoever it names must not get what was made for another server.
  const audience = assertionClaims(assertion)?.audience;
  const isNamed = options.issuer !== undefined || options.tokenEndpoint !== undefined;
  const bare = (url: string) => url.replace(/\/$/, "");
  if (!isNamed && audience && !audience.some((name) => [issuer, tokenEndpoint].map(bare).includes(bare(name))))
    throw new McpAuthError("invalid_assertion", {
      issuer,
      detail: "it was made for another audience, and was not sent; if it is right, pass `issuer`",
    });
  return assertion.trim();
}
