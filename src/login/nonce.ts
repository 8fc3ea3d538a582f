import type { PendingAuthorization } from "../authorization/pending.ts";
import { McpAuthError } from "../errors.ts";
import type { Emit } from "../events.ts";
import { readJwtClaims } from "../grants/jwt-claims.ts";
import type { TokenResponse } from "../grants/token-request.ts";

/**
 * Checks that an ID token was made for this login. An encrypted ID token cannot be checked. An ID token without `nonce` is
 * accepted, because PKCE already binds the code to this login.
 *
 * @throws McpAuthError `invalid_token_response` for another login's ID token
 * @see OpenID Connect Core 1.0 §3.1.2.1, §3.1.3.7
 */
export function checkNonce({ idToken }: TokenResponse, { issuer, nonce }: PendingAuthorization, emit: Emit): void {
  const claims = nonce === undefined || idToken === undefined ? undefined : readJwtClaims(idToken);
  if (!claims || claims.nonce === nonce) return;
  if (claims.nonce !== undefined) {
    throw new McpAuthError("invalid_token_response", { issuer, detail: "the ID token belongs to another login (`nonce`)" });
  }
  emit({ type: "discovery.concession", concession: "id-token-without-nonce", issuer, detail: "the ID token has no `nonce`" });
}
