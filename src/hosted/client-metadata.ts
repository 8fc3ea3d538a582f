import { checkOptions, needed, record } from "../options.ts";
import { type ClientMetadataDocument, checkedDocument } from "../registration/client-document.ts";
import type { WebHandler } from "./handlers.ts";

/** How long servers may keep the document, in seconds: after that a new key may be used. */
const maxAge = 600;

/**
 * Serves a client ID metadata document, for the route of its URL.
 *
 * @throws McpAuthError `invalid_option` for what `checkClientMetadataDocument` finds
 * @see draft-ietf-oauth-client-id-metadata-document §4
 */
export function clientMetadataHandler(document: ClientMetadataDocument): WebHandler {
  checkOptions({ document }, { document: needed(record) });
  const body = JSON.stringify(checkedDocument(document, document.client_id));
  const headers = {
    "content-type": "application/json",
    "cache-control": `public, max-age=${maxAge}`,
    "x-content-type-options": "nosniff",
    // It is public: pages of authorization servers may read it, too.
    "access-control-allow-origin": "*",
  };
  return async ({ method }) => {
    if (method === "GET") return new Response(body, { headers });
    if (method === "HEAD") return new Response(null, { headers });
    return new Response(null, { status: 405, headers: { allow: "GET, HEAD" } });
  };
}
