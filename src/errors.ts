const askOperator = "Tell the operator of the server.";
const logIn = "Log in again.";
const wait = "Try again later.";
const register = "Register a client there by hand and pass its `clientId`.";

type Text = readonly [what: string, hint: string, transient?: true];

/** What happened, what the user can do, and whether it passes by itself, for every code. */
const texts = {
  // options and requests
  invalid_option: ["An option is wrong", "Correct it."],
  insecure_url: ["The URL is neither https nor on loopback", "Use https, or `allowInsecure` for development."],
  invalid_url: ["The URL cannot be used", "Correct it."],
  body_not_replayable: ["The body was a stream and cannot be sent again", "Pass it as text or bytes."],
  disposed: ["The credential is disposed of", "Create a new one."],
  unsupported_runtime: ["This runtime cannot be used", "Update it; Node must be 22.13 or newer."],
  // network
  network_error: ["The server cannot be reached", "Check network, address, proxy and certificates.", true],
  timeout: ["The server did not answer in time", wait, true],
  server_error: ["The server failed", wait, true],
  rate_limited: ["The server asks to slow down", wait, true],
  response_too_large: ["The answer is too large", askOperator],
  redirect_refused: ["The server redirects elsewhere", "Use the final address."],
  // discovery
  discovery_failed: ["No usable authorization server metadata was found", askOperator],
  invalid_resource_metadata: ["The resource metadata is invalid", askOperator],
  resource_mismatch: ["The resource metadata belongs to another server", "Check the URL; if it is right, do not log in."],
  pkce_unsupported: ["The authorization server lacks PKCE with S256", askOperator],
  // registration
  registration_refused: ["The authorization server refused to register this client", register],
  registration_unsupported: ["The authorization server offers no registration", register],
  client_issuer_mismatch: ["The client belongs to another authorization server", register],
  invalid_client: ["The authorization server does not accept this client", "Check client ID and secret or key, or register again."],
  // login
  login_required: [
    "A login is needed and nobody can be asked",
    "Run `authorize()` where a user has a browser; a program needs credentials of its own.",
  ],
  login_pending: ["A login waits for the user; the request was not sent", "Finish it, then repeat the request."],
  login_timeout: ["The user did not log in in time", logIn],
  redirect_port_in_use: ["No port for the answer is free", "Allow more ports."],
  browser_failed: ["No browser could be opened", "Open the printed address by hand."],
  state_mismatch: ["The authorization response belongs to another login", logIn],
  issuer_mismatch: ["The answer comes from another authorization server", "Do not log in there."],
  invalid_authorization_response: ["The authorization response is invalid", logIn],
  authorization_denied: ["The login was denied", "Log in again and allow access."],
  authorization_error: ["The authorization server refused the login", "Ask an administrator to allow this client."],
  insufficient_scope: ["The operation needs more scopes", "Log in again and allow them."],
  authentication_insufficient: ["The server wants a newer or stronger login", "Log in again, as a user."],
  // tokens
  invalid_grant: ["The authorization server no longer accepts this login", logIn],
  token_request_refused: ["The authorization server refused the token request", "Log in again; for a program, check what it asks for."],
  invalid_token_response: ["The token answer cannot be used", askOperator],
  token_refused: ["The server refuses a token that was just issued", askOperator],
  // programs
  grant_unsupported: ["The authorization server does not offer this grant", "Ask its operator for it, or use another."],
  invalid_assertion: ["The assertion is refused", "Check its issuer, subject, audience and expiry."],
  assertion_unavailable: ["No assertion or credential can be had", "Check its source."],
  clock_skewed: ["This machine's clock is wrong", "Set it."],
  credential_expired: ["The credential has expired", "Replace it."],
  credential_refused: ["The server refuses the credential", "Replace it."],
  invalid_environment: ["Environment variables are missing or contradictory", "Correct them."],
  // stores
  lock_timeout: ["Another process holds the lock", "Continue or end that process.", true],
  lock_lost: ["The lock was lost", wait, true],
  store_failed: ["The store cannot be read or written", "Check disk space and permissions.", true],
  lock_unsupported: ["The file system has no working locks", "Keep the store on a local disk."],
  store_damaged: ["The database cannot be used and was set aside", logIn, true],
  keychain_unavailable: ["There is no keychain", "Install one, or use a key file."],
  keychain_locked: ["The keychain is locked or out of reach", "Unlock it, or run where it is."],
  keychain_refused: ["The keychain refused access", "Allow it, or use a key file."],
  keychain_timeout: ["The keychain did not answer in time", "Answer it, or set MCP_AUTH_KEYCHAIN=off."],
  invalid_record: ["A stored record cannot be understood", "Update this program, or log out and in again."],
} as const satisfies Record<string, Text>;

/** Every way in which this package can fail. Codes are stable; messages may change. */
export type McpAuthErrorCode = keyof typeof texts;

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
  /** For logs; branch on `code`. */
  override readonly name: string = "McpAuthError";
  /** What happened: stable, listed in the README. */
  readonly code: McpAuthErrorCode;
  /** What the user can do about it. */
  readonly hint: string;
  /** The protected MCP server. */
  declare readonly serverUrl: string | undefined;
  /** The authorization server. */
  declare readonly issuer: string | undefined;
  /** HTTP status of the answer that caused it. */
  declare readonly status: number | undefined;
  /** `error` of an OAuth error answer. */
  declare readonly serverError: string | undefined;
  /** `error_description` of an OAuth error answer: text of a stranger. */
  declare readonly serverDescription: string | undefined;
  /** Milliseconds that the server asks to wait. */
  declare readonly retryAfterMs: number | undefined;

  constructor(code: McpAuthErrorCode, { detail, cause, ...facts }: McpAuthErrorDetails = {}) {
    const { serverUrl, issuer, status, serverError, serverDescription, retryAfterMs } = facts;
    // Named one by one: another error may have been spread into the details, whose own code must not replace this one's.
    const clean = {
      serverUrl: serverUrl && withoutQuery(serverUrl),
      issuer,
      status,
      serverError: printable(serverError),
      serverDescription: printable(serverDescription),
      retryAfterMs,
    };
    super(message(code, clean, printable(detail, 1000)), cause === undefined ? undefined : { cause });
    this.code = code;
    this.hint = texts[code][1];
    for (const [name, value] of Object.entries(clean)) if (value !== undefined) Object.assign(this, { [name]: value });
    // Lets our errors pass through the SDK's version probe as they are, instead of being taken for an old server.
    Object.defineProperty(this, Symbol.for("mcp.authSeamEscape"), { value: true });
  }

  /** Whether the same call may succeed later without anybody doing anything. */
  get transient(): boolean {
    const text: Text = texts[this.code];
    return text[2] === true;
  }
}

/** Thrown when a request needs a login and no user can be asked: `code` is `login_required`, `cause` says why. */
export class LoginRequiredError extends McpAuthError {
  /** For logs; branch on `code`. */
  override readonly name = "LoginRequiredError";
  constructor(details: McpAuthErrorDetails = {}) {
    super("login_required", details);
  }
}

/** Thrown when more scopes are needed and cannot be had: `code` is `insufficient_scope`. */
export class InsufficientScopeError extends McpAuthError {
  /** For logs; branch on `code`. */
  override readonly name = "InsufficientScopeError";
  /** The scopes that the server asked for. */
  readonly requiredScopes: readonly string[];
  constructor(requiredScopes: readonly string[], details: McpAuthErrorDetails = {}) {
    super("insufficient_scope", { detail: requiredScopes.join(" ") || undefined, ...details });
    this.requiredScopes = requiredScopes;
  }
}

/** The code of an error of ours. */
export function codeOf(error: unknown): McpAuthErrorCode | undefined {
  return error instanceof McpAuthError ? error.code : undefined;
}

/** A failure that may be gone with the next try. */
export function isTransient(error: unknown): error is McpAuthError {
  return error instanceof McpAuthError && error.transient;
}

/** What is promised; `instead` when it fails with this code. */
export async function unless<T, U = undefined>(code: McpAuthErrorCode, promise: Promise<T>, instead?: U): Promise<T | U> {
  try {
    return await promise;
  } catch (error) {
    if (codeOf(error) !== code) throw error;
    return instead as U;
  }
}

function message(code: McpAuthErrorCode, facts: McpAuthErrorDetails, detail: string | undefined): string {
  const [what, hint] = texts[code];
  const { serverUrl, issuer, status, serverError, serverDescription } = facts;
  const where = [
    serverUrl && `server ${serverUrl}`,
    issuer && `authorization server ${issuer}`,
    status && `status ${status}`,
    serverError && `error ${serverError}`,
    serverDescription && `"${serverDescription}"`,
  ].filter(Boolean);
  return `${what}${detail ? `: ${detail}` : ""}${where.length > 0 ? ` (${where.join(", ")})` : ""}. ${hint}`;
}

/** A URL fit for messages and events: queries may carry secrets. */
export function withoutQuery(url: string): string {
  return url.replace(/[?#].*$/s, "");
}

/** Text of a stranger, fit for a terminal and a log line. */
function printable(text: string | undefined, length = 200): string | undefined {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is removed
  return text?.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, " ").slice(0, length);
}
