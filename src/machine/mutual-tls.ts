import type { ClientCertificate, MutualTlsOptions } from "../node/mutual-tls.ts";

/**
 * A `fetch` that presents a client certificate (Node only): what `mutualTls` of `mcp-client-auth/node` is, loaded with the
 * first request. It throws then what that throws at once.
 *
 * @param certificate the certificate, or what reads it: asked again after a minute at the earliest
 * @see RFC 8705
 * @example
 * ```ts
 * const auth = new MachineTokenManager({
 *   serverUrl,
 *   clientId,
 *   tokenEndpointAuthMethod: "tls_client_auth",
 *   fetch: mutualTls({ cert: readFileSync("client.pem"), key: readFileSync("client.key") }),
 * });
 * ```
 */
export function mutualTls(
  certificate: ClientCertificate | (() => ClientCertificate | Promise<ClientCertificate>),
  options?: MutualTlsOptions,
): typeof globalThis.fetch {
  let loaded: Promise<typeof globalThis.fetch> | undefined;
  return async (input, init) => {
    loaded ??= import("../node/mutual-tls.ts").then((node) => node.mutualTls(certificate, options));
    return (await loaded)(input, init);
  };
}
