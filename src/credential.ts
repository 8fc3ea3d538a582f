import type { Challenge } from "./discovery/challenge.ts";
import type { McpAuthError } from "./errors.ts";

/** A request, as a credential sees it. */
export interface CredentialRequest {
  /** HTTP method, in upper case. */
  method: string;
  /** The requested URL, before redirects. */
  url: URL;
  /** The JSON-RPC call (`tools/call add`), if the body could be read. */
  operation?: string | undefined;
  /** `Mcp-Session-Id` of a request that was refused. */
  sessionId?: string | undefined;
  /** The credential's headers of earlier tries of this request, which the server refused, oldest first. */
  refused?: readonly Readonly<Record<string, string>>[] | undefined;
  /** Ends the caller's waiting. A refresh or login goes on for other callers. */
  signal?: AbortSignal | undefined;
}

/**
 * Authorises requests to one protected server. Transports know only this interface.
 *
 * Compare values, not objects: each call may get new objects for the same request and the same headers.
 *
 * Implementations: `TokenManager`, the classes of `mcp-client-auth/credentials`, or any object of the app.
 */
export interface Credential {
  /** The headers for one request, with names in lower case. Usually resolves without I/O. */
  headers(request: CredentialRequest): Promise<Record<string, string>>;
  /**
   * Handles a refusal of the headers `used`.
   *
   * @returns `retry` to send the request again with new headers, `give-up` to return the server's response to the caller.
   * @throws McpAuthError when a login was refused or is impossible.
   */
  onChallenge(challenge: Challenge, used: Record<string, string>, request: CredentialRequest): Promise<"retry" | "give-up">;
  /**
   * Handles a response to a call that no MCP server gives, such as a redirect to a login page: it may refuse `used`. Default: it
   * is returned to the caller.
   *
   * @param foreign the response's challenge, and the error that says what came instead of an answer
   * @returns as {@link onChallenge}
   */
  onForeignResponse?(
    foreign: { challenge: Challenge; error: McpAuthError },
    used: Record<string, string>,
    request: CredentialRequest,
  ): Promise<"retry" | "give-up">;
  /**
   * Whether a response refuses `used`, beside those that always do: 401, a 4xx with `invalid_token`, the 403 for lack of scopes,
   * and a redirect, or without `used` a 403, that names the metadata of the resource.
   */
  isChallenge?(response: Response, used: Record<string, string>): boolean;
  /** Learns from a response that is not a challenge: that these headers were accepted, a DPoP nonce, a cookie. */
  onResponse?(response: Response, used: Record<string, string>): void;
  /** Sends the requests, if the credential is part of the connection, such as a client certificate. */
  send?: typeof globalThis.fetch;
}
