/**
 * For programs without a user: CI pipelines, scheduled jobs, servers that call servers.
 *
 * @module mcp-client-auth/machine
 */

export type { MachineAuthMethod, PrivateJwk, PrivateKey, Signer, SigningCryptoKey } from "../client-auth/machine-client.ts";
export { extensions } from "../extensions.ts";
export type { AssertionRequest, AssertionSource } from "./assertion.ts";
export { type EnterpriseManagedOptions, enterpriseManaged } from "./enterprise-managed.ts";
export { MachineTokenManager } from "./machine-token-manager.ts";
export type { MachineTokenManagerOptions } from "./options.ts";
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
} from "./workload/sources.ts";
