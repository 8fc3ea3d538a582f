import type { AuthorizationServer } from "oauth4webapi";
import { McpAuthError } from "../errors.ts";
import type { Http } from "../http/http.ts";
import { strings } from "../http/json.ts";

/**
 * The members of a document, as far as they can be used: those of a wrong type, and endpoints that cannot be used for OAuth, are
 * left out, so that no later check is needed. The endpoints are named in `unusable_endpoints`.
 */
export function usableMembers(json: Readonly<Record<string, unknown>>, http: Http): Record<string, unknown> {
  const metadata: Record<string, unknown> = { ...json };
  const unusable: string[] = [];
  for (const [name, value] of Object.entries(json)) {
    if (name.endsWith("_supported") && typeof value !== "boolean") metadata[name] = strings(value);
    if (name.endsWith("_endpoint") && !isUsable(value, http)) {
      delete metadata[name];
      if (value !== null) unusable.push(name);
    }
    if (metadata[name] === undefined) delete metadata[name];
  }
  delete metadata.mtls_endpoint_aliases;
  delete metadata.unusable_endpoints;
  const aliases = Object.entries(Object(json.mtls_endpoint_aliases) as object).filter(([, value]) => isUsable(value, http));
  if (aliases.length > 0) metadata.mtls_endpoint_aliases = Object.fromEntries(aliases);
  if (unusable.length > 0) metadata.unusable_endpoints = unusable;
  return metadata;
}

function isUsable(value: unknown, http: Http): boolean {
  try {
    return typeof value === "string" && http.checkUrl(value) !== undefined;
  } catch (error) {
    if (error instanceof McpAuthError) return false;
    throw error;
  }
}

/** Why a server has no such endpoint, in words that complete "its metadata: ". */
export function noEndpoint(server: AuthorizationServer, name: string): string {
  const unusable = server.unusable_endpoints;
  return Array.isArray(unusable) && unusable.includes(name) ? `\`${name}\` is not usable` : `no \`${name}\``;
}
