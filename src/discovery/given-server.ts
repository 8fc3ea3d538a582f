import { codeOf, factsOf, McpAuthError } from "../errors.ts";
import type { Http } from "../http/http.ts";
import { fetchDocument } from "./document.ts";
import {
  type AuthorizationServerMetadata,
  conceding,
  type FoundServer,
  isFlawed,
  type ServerSearch,
  validateServer,
} from "./server-metadata.ts";

/** An authorization server as the app describes it, because it publishes nothing, or elsewhere. */
export interface GivenServer {
  issuer?: string | undefined;
  authorizationEndpoint?: string | undefined;
  tokenEndpoint?: string | undefined;
  metadataUrl?: string | undefined;
}

/** Whether the app says itself where the authorization server is. */
export function isGiven({ authorizationEndpoint, tokenEndpoint, metadataUrl }: GivenServer): boolean {
  return (authorizationEndpoint ?? tokenEndpoint ?? metadataUrl) !== undefined;
}

/** @throws McpAuthError `invalid_option`, `invalid_url`, `insecure_url` */
export function checkGiven({ issuer, authorizationEndpoint, tokenEndpoint, metadataUrl }: GivenServer, http: Http): void {
  const isWhole = authorizationEndpoint !== undefined && tokenEndpoint !== undefined && issuer !== undefined;
  if (!isWhole && (authorizationEndpoint ?? tokenEndpoint) !== undefined)
    throw new McpAuthError("invalid_option", { detail: "`authorizationEndpoint`, `tokenEndpoint` and `issuer` need each other" });
  for (const url of [authorizationEndpoint, tokenEndpoint, metadataUrl]) if (url !== undefined) http.checkUrl(url);
}

/** The server of a user's login whose endpoints the app gives. It cannot say whether it supports PKCE: S256 is sent. */
export function givenEndpoints({ issuer, authorizationEndpoint, tokenEndpoint }: GivenServer): AuthorizationServerMetadata | undefined {
  if (issuer === undefined || authorizationEndpoint === undefined || tokenEndpoint === undefined) return undefined;
  return {
    issuer,
    authorization_endpoint: authorizationEndpoint,
    token_endpoint: tokenEndpoint,
    response_types_supported: ["code"],
    code_challenge_methods_supported: ["S256"],
  };
}

/**
 * Gets the metadata document that the app names.
 *
 * @throws McpAuthError `issuer_mismatch` when it is about another issuer than the configured one; `discovery_failed`,
 *   `pkce_unsupported` and the codes of {@link Http}; `signal.reason`
 */
export async function findGivenServer(metadataUrl: string, search: ServerSearch & GivenServer): Promise<FoundServer> {
  const { http, clock, signal, emit, issuer } = search;
  const { href } = http.checkUrl(metadataUrl);
  try {
    const validate = (document: Parameters<typeof validateServer>[0]) =>
      validateServer(document, issuer ?? String(document.json.issuer), search);
    return conceding(await fetchDocument(href, validate, { http, clock, signal }), emit);
  } catch (error) {
    if (!(error instanceof McpAuthError) || codeOf(error) !== "discovery_failed" || isFlawed(error)) throw error;
    const detail = "no document at `metadataUrl`";
    throw new McpAuthError("discovery_failed", { ...factsOf(error), party: "app", detail, hint: "Correct `metadataUrl`.", cause: error });
  }
}

/** What can be done about a configured issuer that has no metadata. */
export function hintFor({ metadataUrl }: GivenServer): string {
  return metadataUrl === undefined
    ? "Check `issuer`. If it publishes no metadata, pass `tokenEndpoint`, for a user's login `authorizationEndpoint` as well; if elsewhere, `metadataUrl`."
    : "Check `issuer` and `metadataUrl`.";
}
