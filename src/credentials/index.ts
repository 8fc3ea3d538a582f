/**
 * Credentials other than OAuth, with the same interface: one `fetch` for each protected server.
 *
 * @module mcp-client-auth/credentials
 */

export type { Credential, CredentialRequest } from "../credential.ts";
export type { AuthenticateChallenge, Challenge } from "../discovery/challenge.ts";
export { ApiKeyCredential, type ApiKeyOptions } from "./api-key.ts";
export { BasicCredential, type BasicOptions } from "./basic.ts";
export { BearerCredential, type BearerOptions } from "./bearer.ts";
export type { CookieJar } from "./cookies.ts";
export { SessionCookieCredential, type SessionCookieOptions } from "./session-cookie.ts";
export type { SessionLogin, SessionLoginRequest } from "./session-login.ts";
