/**
 * A WebSocket transport for the official SDKs whose handshake carries credentials.
 *
 * @module mcp-client-auth/websocket
 */

export type { Credential } from "../credentials/credential.ts";
