import type { Challenge } from "./discovery/challenge.ts";

/** A request, as a credential sees it. */
export interface CredentialRequest {
  /** HTTP method, in upper case. */
  method: string;
  /** As requested, before redirects. */
  url: URL;
  /** Which call of a shared URL this is (`tools/call add`), where the body could be read. */
  operation?: string | undefined;
  /** What the server has refused of this request before, oldest first: the headers as they were sent. */
  refused?: readonly Readonly<Record<string, string>>[] | undefined;
  /** Ends the caller's waiting, never the refresh or login that others wait for. */
  signal?: AbortSignal | undefined;
}

/**
 * Everything that can authorise requests to one protected server. Transports know only this.
 *
 * Values count, not objects: each call may be given new objects for the same request and the same headers.
 *
 * Implementations: `TokenManager`, those of `mcp-client-auth/credentials`; any object of the app's own.
 */
export interface Credential {
  /** Headers (names in lower case) for one request to the protected server. Resolves without I/O in steady state. */
  headers(request: CredentialRequest): Promise<Record<string, string>>;
  /**
   * The server refused `used`.
   *
   * @returns `retry` when new headers are worth another try, `give-up` when the server's answer is final.
   * @throws McpAuthError when a login was refused or is impossible.
   */
  onChallenge(challenge: Challenge, used: Record<string, string>, request: CredentialRequest): Promise<"retry" | "give-up">;
  /** Whether a response refuses `used`, beside 401 and the 403 for lack of scopes, which always do. */
  isChallenge?(response: Response, used: Record<string, string>): boolean;
  /** Learns from a response that is not a challenge: that these headers were accepted, a DPoP nonce, a cookie. */
  onResponse?(response: Response, used: Record<string, string>): void;
  /** What sends, where the credential is part of the connection: client certificates. */
  send?: typeof globalThis.fetch;
}
