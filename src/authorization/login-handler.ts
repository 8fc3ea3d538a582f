/** What a login handler needs to know before there is an authorization URL. */
export interface LoginHandlerRequest {
  /** The protected server, to be named to the user. */
  serverUrl: string;
  /** Redirect URIs to try first, in order: those of a stored registration, or all that a fixed client has. */
  redirectUris?: readonly string[] | undefined;
  /** Only `redirectUris` will do: the client's registration cannot be changed. */
  fixed: boolean;
  /** Loopback host to send when there is a choice: option or profile. */
  redirectHost?: "127.0.0.1" | "localhost" | undefined;
  /** Aborts when the login is given up. */
  signal: AbortSignal;
}

/** Ready to receive an authorization response. */
export interface LoginSession {
  /** What the authorization request says by default. Always one of `redirectUris`. */
  readonly redirectUri: string;
  /** All at which this session receives responses; these are registered. */
  readonly redirectUris: readonly string[];
  /**
   * Sends the user to `url` and hands every response that comes back to `receive`.
   *
   * `receive` checks the response and exchanges the code before anything is shown to the user. It rejects with
   * `state_mismatch` when the response belongs to another login: that is answered with an error and the session
   * goes on. The first other outcome ends it: `authorize` resolves, or rejects with that error.
   *
   * @param url http or https, already checked
   * @throws McpAuthError what `receive` rejected with; `browser_failed`. `signal.reason` when aborted.
   */
  authorize(url: URL, receive: (parameters: URLSearchParams) => Promise<void>, signal: AbortSignal): Promise<void>;
  /** Frees the port. Safe to call twice. */
  close(): Promise<void>;
}

/**
 * Brings a user to an authorization URL and the response back: loopback listener, paste, hosted callback.
 */
export interface LoginHandler {
  /** @throws McpAuthError `redirect_port_in_use` when `fixed` and none of the URIs can be had. */
  start(request: LoginHandlerRequest): Promise<LoginSession>;
}
