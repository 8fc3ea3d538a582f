/**
 * Token requests one by one, for those who build their own flow: each function sends one request and checks the response.
 *
 * @module mcp-client-auth/grants
 */

export { machineAuthentication, machineEndpoints } from "../client-auth/machine-authentication.ts";
export type { MachineAuthMethod, MachineClient, PrivateJwk, PrivateKey, Signer, SigningCryptoKey } from "../client-auth/machine-client.ts";
export type { ClientIdentity } from "../client-auth/secret.ts";
export { type CodeExchange, exchangeCode } from "./authorization-code.ts";
export { type ClientCredentialsGrant, clientCredentialsGrant } from "./client-credentials.ts";
export {
  type DeviceCode,
  type DeviceCodePoll,
  type DeviceCodePrompt,
  type DeviceCodeRequest,
  pollDeviceCode,
  requestDeviceCode,
} from "./device-code.ts";
export { type JwtBearerGrant, jwtBearerGrant } from "./jwt-bearer.ts";
export { type RefreshGrant, refreshGrant } from "./refresh.ts";
export { revokeToken } from "./revocation.ts";
export { type ExchangedToken, type TokenExchange, tokenExchange, tokenTypes } from "./token-exchange.ts";
export type { TokenRequestOptions, TokenResponse } from "./token-request.ts";
