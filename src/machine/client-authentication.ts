import { authenticationOf } from "../client-auth/machine-authentication.ts";
import type { MachineClient } from "../client-auth/machine-client.ts";
import type { ClientAuth } from "../client-auth/secret.ts";
import type { Clock } from "../clock.ts";
import type { AuthorizationServerMetadata } from "../discovery/server-metadata.ts";

/** A program's client authentication. Kept until the server or the secret changes, so that a key is imported once. */
export class ClientAuthentication {
  readonly #clock: Clock;
  #last: { serverKey: string; clientSecret: string | undefined; authentication: ClientAuth } | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @throws McpAuthError `invalid_option`, as {@link authenticationOf} */
  at(server: AuthorizationServerMetadata, client: MachineClient): ClientAuth {
    const { issuer, token_endpoint_auth_methods_supported: methods, token_endpoint_auth_signing_alg_values_supported: algorithms } = server;
    const serverKey = JSON.stringify([issuer, methods, algorithms]);
    if (this.#last?.serverKey !== serverKey || this.#last.clientSecret !== client.clientSecret) {
      this.#last = { serverKey, clientSecret: client.clientSecret, authentication: authenticationOf(client, server, this.#clock) };
    }
    return this.#last.authentication;
  }
}
