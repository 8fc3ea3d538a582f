import type { Clock } from "../clock.ts";
import type { AuthorizationServerMetadata } from "../discovery/server-metadata.ts";
import type { MachineClient } from "./machine-client.ts";
import type { ClientAuth } from "./secret.ts";
import { signingKey } from "./signing-key.ts";

/** Seconds until a client assertion expires. */
const lifetime = 60;

/**
 * Authentication by a JWT that the client signs for each request.
 *
 * @throws McpAuthError `invalid_option` for a key that cannot be used; the result also `timeout` and
 *   `credential_unavailable` for a signer that fails or takes too long
 * @see RFC 7523 §2.2, §3; REQ-CC-03
 */
export async function privateKeyJwt(client: MachineClient, server: AuthorizationServerMetadata, clock: Clock): Promise<ClientAuth> {
  const { algorithm, keyId, sign } = await signingKey(client, server, clock);
  const header = { alg: algorithm, typ: "JWT", ...(keyId === undefined ? {} : { kid: keyId }) };
  return async ({ issuer }, { client_id }, body) => {
    const now = Math.floor(clock.now() / 1000);
    const claims = {
      iss: client_id,
      sub: client_id,
      aud: client.clientAssertionAudience ?? issuer,
      // No `nbf`: it would refuse what a clock that is a little ahead has made.
      iat: now,
      exp: now + lifetime,
      jti: crypto.randomUUID(),
    };
    body.set("client_id", client_id);
    body.set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    body.set("client_assertion", await sign(header, claims));
  };
}
