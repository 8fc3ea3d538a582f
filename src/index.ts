/**
 * For every runtime: the {@link TokenManager}, what it is made of, and the steps of a login as single functions.
 *
 * @module mcp-client-auth
 */

export { type AuditAction, type AuditRecord, type AuditTrailOptions, auditTrail } from "./audit.ts";
export type { LoginHandler, LoginHandlerRequest, LoginSession } from "./authorization/login-handler.ts";
export type { PendingAuthorization } from "./authorization/pending.ts";
export { generateCodeChallenge, generateCodeVerifier, generateState } from "./authorization/pkce.ts";
export { type AuthorizationRequest, buildAuthorizationUrl } from "./authorization/request.ts";
export { type AuthorizationResponse, checkAuthorizationResponse } from "./authorization/response.ts";
export type { PrivateJwk, PrivateKey, Signer, SigningCryptoKey } from "./client-auth/machine-client.ts";
export type { ClientAuth, ClientIdentity } from "./client-auth/secret.ts";
export { type Clock, type SleepOptions, systemClock } from "./clock.ts";
export type { Credential, CredentialRequest } from "./credential.ts";
export { type AuthenticateChallenge, type Challenge, parseChallenges, readChallenge } from "./discovery/challenge.ts";
export type { IssuerAlias } from "./discovery/issuer-names.ts";
export {
  type DiscoverProtectedResourceOptions,
  discoverProtectedResource,
  type ProtectedResource,
} from "./discovery/resource-metadata.ts";
export {
  type AuthorizationServerMetadata,
  type DiscoverAuthorizationServerOptions,
  discoverAuthorizationServer,
  requirePkce,
} from "./discovery/server-metadata.ts";
export {
  InsufficientScopeError,
  LoginRequiredError,
  McpAuthError,
  type McpAuthErrorCode,
  type McpAuthErrorDetails,
  type McpAuthErrorParty,
} from "./errors.ts";
export type { AppNameSpace, AuthEvent, AuthEventFacts, AuthEventListener, IssuerConcession, StoreEvent } from "./events.ts";
export { type CodeExchange, exchangeCode } from "./grants/authorization-code.ts";
export type { DeviceCodePrompt } from "./grants/device-code.ts";
export type { TokenRequestOptions, TokenResponse } from "./grants/token-request.ts";
export { createHttp, type Http, type HttpOptions } from "./http/http.ts";
export { type RegisterClientOptions, registerClient } from "./registration/dynamic.ts";
export type { ClientRegistration, TokenEndpointAuthMethod } from "./registration/registration.ts";
export { MemoryStore } from "./stores/memory.ts";
export type { HeldLock, LockOptions, Store, StoredRecord, StoreStatus } from "./stores/store.ts";
export { type AuthFetchOptions, authFetch } from "./transports/fetch.ts";
export type { LiveRequestInit } from "./transports/request-init.ts";
export type { AccountStatus, StoredLogin } from "./user/accounts.ts";
export type { GivenTokens } from "./user/given-tokens.ts";
export type { LogoutResult } from "./user/logout.ts";
export type { TokenManagerOptions } from "./user/options.ts";
export { TokenManager } from "./user/token-manager.ts";
export { TokenManagers, type TokenManagersOptions } from "./user/token-managers.ts";
