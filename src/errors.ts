/** What happened, and what the user can do, for every code. */
const texts = {
  // options and requests
  invalid_option: ["An option is missing or contradicts another", "Correct the option that is named."],
  insecure_url: ["The URL is neither https nor on loopback", "Use https, or list the host in `allowInsecure` for development."],
  invalid_url: ["The URL cannot be used", "Check the address for typing errors, user names and unusual schemes."],
  body_not_replayable: [
    "The request must be repeated with new credentials, but its body was a stream",
    "Send the request again, or pass the body as a string or bytes.",
  ],
  disposed: ["The credential has been disposed of", "Create a new one."],
  // network
  network_error: ["The server could not be reached", "Check the network, the address and the proxy, then try again."],
  timeout: ["The server did not answer in time", "Try again; the server may be overloaded."],
  server_error: ["The server failed to answer", "Try again later; if it persists, tell the operator of the server."],
  rate_limited: ["The server asks to slow down", "Wait, then try again."],
  response_too_large: ["The answer is larger than any valid one", "Tell the operator of the server."],
  redirect_refused: [
    "The server redirects to a place that is not followed",
    "Configure the final address, or tell the operator of the server.",
  ],
  // discovery
  discovery_failed: [
    "No usable authorization server metadata was found",
    "Tell the operator of the server; `cause` lists each place that was tried.",
  ],
  invalid_resource_metadata: ["The protected resource metadata is not valid", "Tell the operator of the MCP server."],
  resource_mismatch: [
    "The protected resource metadata belongs to another server",
    "Check the server's URL; if it is right, do not log in and tell the operator.",
  ],
  pkce_unsupported: ["The authorization server does not support PKCE with S256", "Tell the operator: MCP requires it."],
  // registration
  registration_refused: [
    "The authorization server refused to register this client",
    "Register a client at the server by hand and pass its `clientId`.",
  ],
  registration_unsupported: [
    "The authorization server offers no way for this client to register",
    "Register a client at the server by hand and pass its `clientId`.",
  ],
  client_issuer_mismatch: [
    "The configured client belongs to another authorization server",
    "Register a client at the new authorization server and pass its `clientId` and `issuer`.",
  ],
  invalid_client: [
    "The authorization server does not accept this client",
    "Check client ID and secret; register the client again if it was deleted.",
  ],
  // login
  login_required: [
    "A login is needed and no person can be asked here",
    "Run `authorize()` where a person can use a browser, then try again.",
  ],
  login_pending: [
    "A login is waiting for the person",
    "Finish the login in the browser, then repeat the request: it was not sent and will not be.",
  ],
  login_timeout: ["The person did not finish the login in time", "Start the login again."],
  redirect_port_in_use: [
    "No port of the registered redirect URIs is free",
    "Close the program that uses the port, or register more redirect URIs.",
  ],
  browser_failed: ["No browser could be opened", "Log in where a browser can be opened, or open the printed address by hand."],
  state_mismatch: [
    "The authorization response belongs to no login of this client",
    "Start the login again and use the newest browser page.",
  ],
  issuer_mismatch: [
    "The answer comes from another authorization server than the one asked",
    "Do not log in; tell the operator of the MCP server.",
  ],
  invalid_authorization_response: [
    "The authorization response is malformed",
    "Start the login again; if it persists, tell the operator of the authorization server.",
  ],
  authorization_denied: ["The login was denied", "Log in again and allow access, or ask an administrator."],
  authorization_error: [
    "The authorization server refused the login",
    "Read the server's reason; an administrator may have to allow this client.",
  ],
  insufficient_scope: ["The token does not have the scopes that this operation needs", "Log in again and allow the scopes that are named."],
  // tokens
  invalid_grant: ["The authorization server no longer accepts this login", "Log in again."],
  token_request_refused: [
    "The authorization server refused the token request",
    "Read the server's reason; log in again if a token is needed now.",
  ],
  invalid_token_response: ["The token answer cannot be used", "Tell the operator of the authorization server."],
  token_refused: [
    "The server refuses tokens that were just issued for it",
    "Tell the operator of the MCP server: it and its authorization server disagree.",
  ],
  // stores
  lock_timeout: ["Another process holds the lock and does not let go", "Continue or end the other process, then try again."],
  lock_lost: ["The lock was lost while it was in use", "Try again."],
  store_failed: [
    "The token store cannot be read or written",
    "Check disk space and permissions; nothing was lost that is still in memory.",
  ],
  invalid_record: [
    "A stored record cannot be understood",
    "Update this program; a newer version may have written it. Otherwise log out and in again.",
  ],
} as const satisfies Record<string, readonly [what: string, hint: string]>;

/** Every way in which this package can fail. Codes are stable; messages may change. */
export type McpAuthErrorCode = keyof typeof texts;

/** Failures that pass by themselves: the same call may succeed later. */
const passing: ReadonlySet<McpAuthErrorCode> = new Set([
  "network_error",
  "timeout",
  "server_error",
  "rate_limited",
  "lock_timeout",
  "lock_lost",
  "store_failed",
]);

/** What is known about a failure. None of it may hold a token, code, verifier or secret. */
export interface McpAuthErrorDetails {
  /** One clause that completes the code's own sentence, for example which option or which URL. */
  detail?: string | undefined;
  /** The protected MCP server. */
  serverUrl?: string | undefined;
  /** The authorization server. */
  issuer?: string | undefined;
  /** HTTP status of the answer that caused it. */
  status?: number | undefined;
  /** `error` of an OAuth error answer (RFC 6749 §5.2, §4.1.2.1). */
  serverError?: string | undefined;
  /** `error_description` of an OAuth error answer. Text of a stranger: shortened and without control characters. */
  serverDescription?: string | undefined;
  /** Milliseconds that the server asks to wait (`Retry-After`). */
  retryAfterMs?: number | undefined;
  /** The failure below this one. */
  cause?: unknown;
}

/**
 * The one error class of this package: what happened (`code`, `message`), where (`serverUrl`, `issuer`), and what
 * the user can do (`hint`).
 *
 * @example
 * ```ts
 * try { await auth.authorize(); }
 * catch (error) {
 *   if (error instanceof McpAuthError && error.code === "authorization_denied") console.log(error.hint);
 * }
 * ```
 */
export class McpAuthError extends Error {
  override readonly name: string = "McpAuthError";
  readonly code: McpAuthErrorCode;
  /** What the user can do about it. */
  readonly hint: string;
  readonly serverUrl: string | undefined;
  readonly issuer: string | undefined;
  readonly status: number | undefined;
  readonly serverError: string | undefined;
  readonly serverDescription: string | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(code: McpAuthErrorCode, details: McpAuthErrorDetails = {}) {
    super(message(code, details), details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.hint = texts[code][1];
    this.serverUrl = details.serverUrl;
    this.issuer = details.issuer;
    this.status = details.status;
    this.serverError = printable(details.serverError);
    this.serverDescription = printable(details.serverDescription);
    this.retryAfterMs = details.retryAfterMs;
  }

  /** Whether the same call may succeed later without anybody doing anything. */
  get passing(): boolean {
    return passing.has(this.code);
  }
}

/** Thrown when a request needs a login and no person can be asked: `code` is `login_required`, `cause` says why. */
export class LoginRequiredError extends McpAuthError {
  override readonly name = "LoginRequiredError";
  constructor(details: McpAuthErrorDetails = {}) {
    super("login_required", details);
  }
}

/** Thrown when more scopes are needed and cannot be had: `code` is `insufficient_scope`. */
export class InsufficientScopeError extends McpAuthError {
  override readonly name = "InsufficientScopeError";
  /** The scopes that the server asked for. */
  readonly requiredScopes: readonly string[];
  constructor(requiredScopes: readonly string[], details: McpAuthErrorDetails = {}) {
    super("insufficient_scope", { detail: requiredScopes.join(" ") || undefined, ...details });
    this.requiredScopes = requiredScopes;
  }
}

function message(code: McpAuthErrorCode, details: McpAuthErrorDetails): string {
  const [what, hint] = texts[code];
  const where = [
    details.serverUrl && `server ${withoutQuery(details.serverUrl)}`,
    details.issuer && `authorization server ${details.issuer}`,
    details.status && `status ${details.status}`,
    details.serverError && `error ${printable(details.serverError)}`,
    details.serverDescription && `"${printable(details.serverDescription)}"`,
  ].filter(Boolean);
  return `${what}${details.detail ? `: ${details.detail}` : ""}${where.length > 0 ? ` (${where.join(", ")})` : ""}. ${hint}`;
}

/** A URL fit for messages: queries may carry secrets. */
export function withoutQuery(url: string): string {
  return url.replace(/[?#].*$/s, "");
}

/** Text of a stranger, fit for a terminal and a log line. */
function printable(text: string | undefined): string | undefined {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is removed
  return text?.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, " ").slice(0, 200);
}
