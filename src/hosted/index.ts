/**
 * For web applications whose users log in at protected servers: on whatever machine a login begins, any other may finish it.
 *
 * @module mcp-client-auth/hosted
 */

export { type BegunAuthorization, type FinishedAuthorization, HostedLogin } from "./hosted-login.ts";
export type { BeginAuthorization, FinishAuthorization, HostedLoginOptions, HostedServerOptions } from "./options.ts";
