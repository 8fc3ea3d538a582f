/**
 * Token requests one by one, for those who build their own flow: each function sends one request and checks the response.
 * That of a login by browser, `exchangeCode`, is in `mcp-client-auth`, beside the other steps of such a login.
 *
 * @module mcp-client-auth/grants
 */

export { machineAuthentication, selectEndpoints } from "../client-auth/machine-authentication.ts";
export type { MachineAuthMethod, MachineClient, PrivateJwk, PrivateKey, Signer, SigningCryptoKey } from "../client-auth/machine-client.ts";
export type { ClientAuth, ClientIdentity } from "../client-auth/secret.ts";
export type { AuthorizationServerMetadata } from "../discovery/server-metadata.ts";
export { type ClientCredentialsGrant, requestClientToken } from "./client-credentials.ts";
export {
  type DeviceCode,
  type DeviceCodePoll,
  type DeviceCodePrompt,
  type DeviceCodeRequest,
  pollDeviceCode,
  requestDeviceCode,
} from "./device-code.ts";
export { exchangeAssertion, type JwtBearerGrant } from "./jwt-bearer.ts";
export { type RefreshGrant, refreshTokens } from "./refresh.ts";
export { revokeToken } from "./revocation.ts";
export { type ExchangedToken, exchangeToken, type TokenExchange, tokenTypes } from "./token-exchange.ts";
export type { TokenRequestOptions, TokenResponse } from "./token-request.ts";
