import { McpAuthError } from "../errors.ts";

/**
 * Checks that a URL can be the ID of a client with a metadata document.
 *
 * @throws McpAuthError `invalid_option`
 * @see draft-ietf-oauth-client-id-metadata-document §3; REQ-REG-02
 */
export function checkClientMetadataUrl(text: string): void {
  const url = URL.parse(text);
  const plain = url?.protocol === "https:" && url.pathname !== "/" && !url.username && !url.password && !text.includes("#");
  // Parsing resolves dot segments, so they are looked for in the text.
  if (!plain || /\/(?:\.|%2e){1,2}(?=[/?]|$)/i.test(text)) {
    const detail = "`clientMetadataUrl` must be an https URL with a path, and without fragment, user name and dot segments";
    throw new McpAuthError("invalid_option", { detail });
  }
}
