import { type Clock, systemClock } from "../clock.ts";
import type { AuthorizationServerMetadata } from "../discovery/server-metadata.ts";
import { McpAuthError } from "../errors.ts";
import { checkOptions, clock as clockRule, needed, serverMetadata } from "../options.ts";
import { type MachineAuthMethod, type MachineClient, machineClientRules } from "./machine-client.ts";
import { type ClientAuth, clientAuthentication, loaded } from "./secret.ts";

/** What each method needs, the preferred one first. A certificate is part of the connection. */
const needs: Readonly<Record<MachineAuthMethod, "privateKey" | "clientSecret" | undefined>> = {
  private_key_jwt: "privateKey",
  client_secret_basic: "clientSecret",
  client_secret_post: "clientSecret",
  none: undefined,
  tls_client_auth: undefined,
  self_signed_tls_client_auth: undefined,
};
const methods = Object.keys(needs) as MachineAuthMethod[];

/**
 * How a program authenticates in token requests. Keep the result: a key is imported once for it, when it is first used.
 *
 * @param clock dates client assertions. Default: `systemClock`
 * @returns adds the authentication to a request; it throws `invalid_option` for a key that cannot be used, `timeout` and
 *   `credential_unavailable` for a signer that fails or takes too long
 * @throws McpAuthError `invalid_option` when the method, what it needs and what the server lists do not fit together
 * @see RFC 6749 §2.3, RFC 7523 §2.2, RFC 8705 §2; REQ-CC-02
 */
export function machineAuthentication(client: MachineClient, server: AuthorizationServerMetadata, clock: Clock = systemClock): ClientAuth {
  checkOptions({ server, clock }, { server: needed(serverMetadata), clock: needed(clockRule()) });
  checkOptions(client, machineClientRules());
  return authenticationOf(client, server, clock);
}

/** {@link machineAuthentication}, unchecked. */
export function authenticationOf(client: MachineClient, server: AuthorizationServerMetadata, clock: Clock): ClientAuth {
  const { clientId, clientSecret } = client;
  const method = authenticationMethod(client, server);
  // The assertion of the grant is enough: not even a client ID is sent.
  if (clientId === undefined) return () => {};
  switch (method) {
    case "private_key_jwt":
      return byKey(client, server, clock);
    case "tls_client_auth":
    case "self_signed_tls_client_auth":
      return loaded(({ TlsClientAuth }) => TlsClientAuth());
    case "none":
      return loaded(({ None }) => None());
    default:
      return clientAuthentication({ clientId, clientSecret, tokenEndpointAuthMethod: method });
  }
}

/**
 * The method that a program authenticates with: the one that is given, else what its credentials allow and the server
 * lists, a key before a secret. No list means `client_secret_basic` for a secret and `private_key_jwt` for a key.
 *
 * @throws McpAuthError `invalid_option`
 * @see RFC 8414 §2
 */
export function authenticationMethod(client: MachineClient, server: AuthorizationServerMetadata): MachineAuthMethod {
  const { clientId, clientSecret, privateKey, tokenEndpointAuthMethod: given } = client;
  const wrong = (detail: string, hint?: string) => new McpAuthError("invalid_option", { issuer: server.issuer, detail, hint });
  if (clientId === undefined && (clientSecret ?? privateKey ?? given) !== undefined) {
    throw wrong("`clientSecret`, `privateKey` and `tokenEndpointAuthMethod` need `clientId`");
  }
  if (given !== undefined) {
    const need = needs[given];
    if (need && client[need] === undefined) throw wrong(`\`tokenEndpointAuthMethod\` ${given} needs \`${need}\``);
    return given;
  }
  const listed = server.token_endpoint_auth_methods_supported;
  const isListed = (method: MachineAuthMethod) => listed?.includes(method) ?? true;
  const possible = methods.filter((method) => {
    const need = needs[method];
    return need && client[need] !== undefined;
  });
  // A client without credentials: the server decides whether it takes one.
  if (possible.length === 0) return methods.find((method) => !needs[method] && isListed(method)) ?? "none";
  const method = possible.find(isListed);
  if (method) return method;
  const list = listed?.join(", ") || "no method";
  throw wrong(`the server lists ${list}, and this client can do ${possible.join(", ")}`, "Pass the method as `tokenEndpointAuthMethod`.");
}

/**
 * The server as this client has to use it: at its endpoints for certificates where it authenticates by one.
 *
 * @throws McpAuthError `invalid_option` as {@link machineAuthentication}
 */
export function selectEndpoints(client: MachineClient, server: AuthorizationServerMetadata): AuthorizationServerMetadata {
  checkOptions({ server }, { server: needed(serverMetadata) });
  checkOptions(client, machineClientRules());
  return endpointsFor(client, server);
}

/** {@link selectEndpoints}, unchecked. */
export function endpointsFor(client: MachineClient, server: AuthorizationServerMetadata): AuthorizationServerMetadata {
  return authenticationMethod(client, server).endsWith("tls_client_auth") ? withMtlsAliases(server) : server;
}

/**
 * The metadata with the endpoints that ask for a client certificate in place of those that do not, as far as there are any.
 *
 * @see RFC 8705 §5
 */
export function withMtlsAliases(server: AuthorizationServerMetadata): AuthorizationServerMetadata {
  const aliases = Object.entries(server.mtls_endpoint_aliases ?? {}).filter(([name]) => name.endsWith("_endpoint"));
  return { ...server, ...Object.fromEntries(aliases) };
}

/** Loads what handles keys with the first token request, and only where there is a key. */
function byKey(client: MachineClient, server: AuthorizationServerMetadata, clock: Clock): ClientAuth {
  let authentication: Promise<ClientAuth> | undefined;
  return async (...request) => {
    authentication ??= import("./private-key-jwt.ts").then(({ privateKeyJwt }) => privateKeyJwt(client, server, clock));
    await (await authentication)(...request);
  };
}
