import { abortable } from "../async.ts";
import type { Discovery } from "../discovery/discovery.ts";
import { type IssuerRules, isSameIssuer } from "../discovery/issuer-names.ts";
import { findLegacyServer } from "../discovery/legacy.ts";
import { findProtectedResource } from "../discovery/resource-metadata.ts";
import { type AuthorizationServerMetadata, findAuthorizationServer } from "../discovery/server-metadata.ts";
import { isTransient } from "../errors.ts";
import { lacksForLogin } from "./needs.ts";
import type { Session } from "./session.ts";

/**
 * Whether what is stored of a server still holds: one round trip, beside the user's. A server that fails for the moment says
 * nothing.
 */
export async function stillHolds(session: Session, stored: Discovery, signal: AbortSignal): Promise<boolean> {
  const { serverUrl, http, clock, emit, options } = session;
  const { strictIssuer, issuerAlias } = options;
  const search = { http, clock, emit, signal, strictIssuer, issuerAlias, lacks: lacksForLogin(session) };
  const { resourceMetadataUrl } = stored;
  // As if the server had named it: that is the one request which is needed where it is still there.
  const challenge = resourceMetadataUrl === undefined ? undefined : { status: 401, challenges: [], resourceMetadata: resourceMetadataUrl };
  try {
    const [resource, server] = await abortable(
      Promise.all([
        findProtectedResource(serverUrl, { ...search, challenge }),
        stored.legacy && options.issuer === undefined
          ? findLegacyServer(serverUrl, search)
          : findAuthorizationServer(stored.issuer, search),
      ]),
      signal,
    );
    return (resource ? isNamed(stored, resource.value, options) : stored.legacy) && areEqual(stored.server, server.value);
  } catch (error) {
    signal.throwIfAborted();
    return isTransient(error);
  }
}

function isNamed(
  { resource, issuer }: Discovery,
  found: { resource: string; authorizationServers: readonly string[] },
  rules: IssuerRules,
): boolean {
  return found.resource === resource && found.authorizationServers.some((name) => isSameIssuer(name, issuer, rules));
}

/** What the safety of a login rests on: where user and code are sent, and how the answer is checked. */
const vital = [
  "issuer",
  "authorization_endpoint",
  "token_endpoint",
  "device_authorization_endpoint",
  "code_challenge_methods_supported",
  "authorization_response_iss_parameter_supported",
] as const;

function areEqual(a: AuthorizationServerMetadata, b: AuthorizationServerMetadata): boolean {
  return vital.every((name) => JSON.stringify(a[name]) === JSON.stringify(b[name]));
}
