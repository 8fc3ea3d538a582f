import type { ClientAuth } from "../client-auth/secret.ts";
import type { AuthorizationServerMetadata } from "../discovery/server-metadata.ts";
import type { ClientRegistration } from "../registration/registration.ts";
import type { Session } from "./session.ts";

/**
 * How a client with a private key authenticates in a request to `server`; `undefined` for any other client. What handles keys is
 * loaded with the first such request.
 *
 * @returns its result throws `invalid_option` for a key that is missing or cannot be used, `timeout` and
 *   `credential_unavailable` for a signer that fails or takes too long
 * @see RFC 7523 §2.2
 */
export function keyAuthentication(
  { options: { privateKey, keyId }, clock }: Session,
  { tokenEndpointAuthMethod, clientId }: ClientRegistration,
  server: AuthorizationServerMetadata,
): ClientAuth | undefined {
  if (tokenEndpointAuthMethod !== "private_key_jwt") return undefined;
  return async (...request) => {
    const { privateKeyJwt } = await import("../client-auth/private-key-jwt.ts");
    const authenticate = await privateKeyJwt({ clientId, privateKey, keyId }, server, clock);
    await authenticate(...request);
  };
}
