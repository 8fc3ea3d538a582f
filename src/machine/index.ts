/**
 * For programs without a person: CI pipelines, scheduled jobs, servers that call servers.
 *
 * @module mcp-client-auth/machine
 */

export type { MachineAuthMethod, MachineClient, PrivateKey, Signer } from "../client-auth/machine-client.ts";
export type { AssertionRequest, AssertionSource } from "../grants/assertion.ts";
export { type ClientCredentialsGrant, clientCredentialsGrant } from "../grants/client-credentials.ts";
export { type JwtBearerGrant, jwtBearerGrant } from "../grants/jwt-bearer.ts";
export type { MachineTokenManagerOptions } from "../tokens/machine-options.ts";
