/**
 * For programs without a person: CI pipelines, scheduled jobs, servers that call servers.
 *
 * @module mcp-client-auth/machine
 */

export { machineAuthentication, machineEndpoints } from "../client-auth/machine-authentication.ts";
export type { MachineAuthMethod, MachineClient, PrivateKey, Signer } from "../client-auth/machine-client.ts";
export { extensions } from "../extensions.ts";
export type { AssertionRequest, AssertionSource } from "../grants/assertion.ts";
export { type ClientCredentialsGrant, clientCredentialsGrant } from "../grants/client-credentials.ts";
export {
  type DeviceCode,
  type DeviceCodePoll,
  type DeviceCodePrompt,
  type DeviceCodeRequest,
  pollDeviceCode,
  requestDeviceCode,
} from "../grants/device-code.ts";
export { type EnterpriseManagedOptions, enterpriseManaged } from "../grants/enterprise-managed.ts";
export { type JwtBearerGrant, jwtBearerGrant } from "../grants/jwt-bearer.ts";
export { type ExchangedToken, type TokenExchange, tokenExchange, tokenTypes } from "../grants/token-exchange.ts";
export type { CertificateBytes, ClientCertificate, MutualTlsOptions } from "../node/mutual-tls.ts";
export {
  type AssertionCommandOptions,
  assertionCommand,
  assertionFile,
  type GitHubActionsOptions,
  type GitLabOptions,
  gitHubActions,
  gitLab,
  type KubernetesOptions,
  kubernetes,
} from "../node/workload/sources.ts";
export type { MachineTokenManagerOptions } from "../tokens/machine/options.ts";
export { MachineTokenManager } from "../tokens/machine-token-manager.ts";
export { mutualTls } from "./mutual-tls.ts";
