import { unless } from "../errors.ts";
import { fetchDocument } from "./document.ts";
import {
  type AuthorizationServerMetadata,
  conceding,
  type FoundServer,
  findAuthorizationServer,
  isSameIssuer,
  type ServerSearch,
  validateServer,
} from "./server-metadata.ts";

/**
 * Finds the authorization server of a protected server of 2025-03-26, which has no protected resource metadata: from
 * the metadata at its origin, else at the default endpoints there.
 *
 * @throws McpAuthError as {@link findAuthorizationServer}
 * @see MCP 2025-03-26, Authorization, 2.3.2 and 2.3.3
 */
export async function findLegacyServer({ origin }: URL, options: ServerSearch): Promise<FoundServer> {
  const found = await unless(
    "discovery_failed",
    fetchDocument(`${origin}/.well-known/oauth-authorization-server`, (document) => document, options),
  );
  const issuer = found?.value.json.issuer;
  if (!found || issuer === undefined) return { value: defaultEndpoints(origin), cacheable: true, maxAgeMs: undefined };

  if (typeof issuer === "string" && !isSameIssuer(issuer, origin, options.strictIssuer)) {
    // It may only point (Atlassian): what counts is what that issuer says about itself.
    options.emit({ type: "discovery.concession", concession: "issuer-pointer", issuer, detail: origin });
    return findAuthorizationServer(issuer, { ...options, namedBy: "server" });
  }
  return conceding({ ...found, value: validateServer(found.value, origin, options.http, options.strictIssuer) }, origin, options.emit);
}

/** Such a server cannot say whether it supports PKCE: S256 is sent (REQ-ASM-03). */
function defaultEndpoints(origin: string): AuthorizationServerMetadata {
  return {
    issuer: origin,
    authorization_endpoint: `${origin}/authorize`,
    token_endpoint: `${origin}/token`,
    registration_endpoint: `${origin}/register`,
    response_types_supported: ["code"],
    code_challenge_methods_supported: ["S256"],
  };
}
