/**
 * Identifiers of the protocol's extensions for authorization. A client says in its capabilities which ones it can do.
 *
 * @see MCP, Extensions; REQ-EXT-01
 * @example
 * ```ts
 * const client = new Client(info, { capabilities: { extensions: { [extensions.clientCredentials]: {} } } });
 * ```
 */
export const extensions = {
  /** A program with client ID and secret, key or certificate. */
  clientCredentials: "io.modelcontextprotocol/oauth-client-credentials",
  /** A user's sign-on at the company's identity provider. */
  enterpriseManagedAuthorization: "io.modelcontextprotocol/enterprise-managed-authorization",
  /** A workload that its platform speaks for. */
  workloadIdentity: "io.modelcontextprotocol/auth/wif",
} as const;
