import { isSameIssuer } from "../discovery/issuer-names.ts";
import { type AuthorizationServerMetadata, type Need, requirePkce } from "../discovery/server-metadata.ts";
import { offersDeviceCode } from "./device-flow.ts";
import { requestProfile, type Session } from "./session.ts";

/** What a server lacks for a user's login: with a device code less is needed than with a browser. */
export function lacksForLogin(session: Session): (server: AuthorizationServerMetadata) => readonly Need[] {
  return (server) => {
    const needs: Record<Need, boolean> = {
      token_endpoint: true,
      authorization_endpoint: !offersDeviceCode(session, server),
      // A device code needs no PKCE: there is no redirect that could be intercepted.
      code_challenge_methods_supported: !offersDeviceCode(session, server),
    };
    const has = (need: Need) => (need === "code_challenge_methods_supported" ? pkceGround(session, server) : server[need]) !== undefined;
    return (Object.keys(needs) as Need[]).filter((need) => needs[need] && !has(need));
  };
}

/**
 * Refuses servers that do not support PKCE with S256. An event says what is assumed.
 *
 * @throws McpAuthError `pkce_unsupported`
 */
export function requireSupportedPkce(session: Session, server: AuthorizationServerMetadata): void {
  const ground = pkceGround(session, server);
  if (ground === undefined) requirePkce(server);
  else if (ground !== "listed")
    session.emit({ type: "discovery.concession", concession: "pkce-not-listed", issuer: server.issuer, detail: ground });
}

/** Why a server counts as one that supports S256: it lists it, its profile says so, or the app. */
function pkceGround(session: Session, server: AuthorizationServerMetadata): string | undefined {
  const { options } = session;
  const { issuer } = server;
  if (server.code_challenge_methods_supported?.includes("S256")) return "listed";
  if (options.assumePkce?.some((assumed) => isSameIssuer(assumed, issuer, options))) return "`assumePkce`";
  const { name, pkceNotListed } = requestProfile(session, issuer, server);
  return pkceNotListed ? name : undefined;
}
