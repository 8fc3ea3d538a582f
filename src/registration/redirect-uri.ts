import { McpAuthError } from "../errors.ts";
import { isLoopback } from "../http/http.ts";

/**
 * @throws McpAuthError `invalid_option`
 * @see MCP 2026-07-28, Open Redirection (REQ-AUTHZ-06)
 */
export function checkRedirectUri(uri: string): URL {
  const url = URL.parse(uri);
  if (!url || url.hash || !(url.protocol === "https:" || (url.protocol === "http:" && isLoopback(url)))) {
    throw new McpAuthError("invalid_option", { detail: "a redirect URI must be https, or http on loopback, without fragment" });
  }
  return url;
}
