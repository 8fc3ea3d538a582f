/**
 * For web applications whose users log in at protected servers: on whatever machine a login begins, any other may finish it.
 *
 * @module mcp-client-auth/hosted
 */

export {
  type ClientMetadataDocument,
  type ClientMetadataDocumentOptions,
  clientMetadataDocument,
  type PublicKeySet,
  publicKeySet,
} from "../registration/client-document.ts";
export { type ClientMetadataProblem, checkClientMetadataDocument } from "../registration/client-document-problems.ts";
export { clientMetadataHandler } from "./client-metadata.ts";
export { type HostedHandlers, type HostedHandlersOptions, hostedHandlers, type WebHandler } from "./handlers.ts";
export { type BegunAuthorization, type FinishedAuthorization, HostedLogin } from "./hosted-login.ts";
export { type NodeHandlerOptions, type NodeRequest, type NodeResponse, nodeHandler, nodeRequestOf } from "./node-handler.ts";
export type { BeginAuthorization, FinishAuthorization, HostedLoginOptions, HostedServerOptions } from "./options.ts";
