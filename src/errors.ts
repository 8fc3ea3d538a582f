/**
 * At which party something failed: whose options, decision, answer or machine it was.
 * - `app`: the program that uses this package, its options and functions
 * - `user`: whoever logs in
 * - `machine`: this computer, its store, keychain, clock and environment
 * - `network`: between here and a server; nobody has answered
 * - `server`: the protected MCP server
 * - `authorization-server`: the authorization server, or an identity provider
 */
export type McpAuthErrorParty = "app" | "user" | "machine" | "network" | "server" | "authorization-server";

const askOperator = "Tell the operator of the server.";
const logIn = "Log in again.";
const wait = "Try again later.";
const register = "Register a client there by hand and pass its `clientId`.";
const as = "authorization-server";

type Text = readonly [what: string, hint: string, party: McpAuthErrorParty, transient?: true];

/** For every code: what happened, what can be done, at which party, and whether it is transient. */
const texts = {
  // options and requests
  invalid_option: ["An option is wrong", "Correct the option.", "app"],
  insecure_url: ["A URL uses plain http to another machine", "Use https; for development, name the host in `allowInsecure`.", "app"],
  invalid_url: ["A URL is not valid", "Correct the URL.", "app"],
  body_not_replayable: ["The request cannot be repeated: its body is a stream", "Pass the body as text or bytes.", "app"],
  disposed: ["The credential was used after `dispose()`", "Create a new one.", "app"],
  unsupported_runtime: ["This runtime cannot be used", "Update it; Node must be 22.13 or newer.", "machine"],
  // network
  network_error: ["The server cannot be reached", "Check the network, the address, the proxy and the certificates.", "network", true],
  timeout: ["There was no response in time", wait, "network", true],
  server_error: ["The server failed", wait, "server", true],
  rate_limited: ["The server asks for fewer requests", wait, "server", true],
  response_too_large: ["The response is too large", askOperator, as],
  redirect_refused: [
    "The server redirects to another place",
    "If the URL is yours, use the final one; else tell the operator of the server.",
    as,
  ],
  // discovery
  discovery_failed: ["No usable metadata of an authorization server was found", askOperator, as],
  invalid_resource_metadata: ["The protected resource metadata is not valid", askOperator, "server"],
  resource_mismatch: [
    "The protected resource metadata belongs to another server",
    "Check the server's URL; if it is right, do not log in.",
    "server",
  ],
  pkce_unsupported: [
    "The authorization server does not list PKCE with S256",
    "Ask its operator; if it supports S256 without listing it, name its issuer in `assumePkce`.",
    as,
  ],
  // registration
  registration_refused: ["The authorization server did not register this client", register, as],
  registration_unsupported: ["The authorization server offers no client registration", register, as],
  client_issuer_mismatch: ["The client belongs to another authorization server", register, "server"],
  invalid_client: ["The authorization server does not accept this client", "Check client ID and secret or key, or register again.", as],
  // login
  login_required: [
    "A login is needed",
    "Log in once where this user has a browser or a terminal; a program without a user needs credentials of its own.",
    "user",
  ],
  login_pending: ["The login is not finished; the request was not sent", "Finish the login, then repeat the request.", "user"],
  login_timeout: ["The login was not finished in time", logIn, "user"],
  redirect_port_in_use: ["No port for the login's redirect URI is free", "End the program that uses it, or allow more ports.", "machine"],
  browser_failed: ["No browser could be opened", "Log in from a terminal, which shows the address, or pass `openBrowser`.", "machine"],
  state_mismatch: ["The authorization response belongs to another login", logIn, "user"],
  issuer_mismatch: ["The response comes from another authorization server", "Do not log in there.", as],
  invalid_authorization_response: ["The authorization response is not valid", logIn, as],
  authorization_denied: ["The login was denied", "Log in again and allow access.", "user"],
  authorization_error: ["The authorization server refused the login", "Ask an administrator to allow this client.", as],
  insufficient_scope: ["The operation needs more scopes", "Log in again and allow them.", "server"],
  authentication_insufficient: ["The server wants a newer or stronger login", "Log in again, as a user.", "server"],
  // tokens
  invalid_grant: ["The authorization server no longer accepts this login", logIn, as],
  token_request_refused: ["The authorization server refused the token request", "Log in again; for a program, check what it asks for.", as],
  invalid_token_response: ["The token response cannot be used", askOperator, as],
  token_refused: ["The server refuses a token that was just issued", askOperator, "server"],
  not_an_mcp_response: [
    "What answers is no MCP server",
    "Check the server's URL; if it is right, a proxy before it wants a login of its own.",
    "server",
  ],
  token_not_required: ["The server wants no token", "Send requests without one.", "server"],
  // programs
  grant_unsupported: ["The authorization server does not offer this grant", "Ask its operator for it, or use another.", as],
  invalid_assertion: ["The assertion was refused", "Check its issuer, subject, audience and expiry.", as],
  assertion_unavailable: ["There is no assertion", "Check its source.", "app"],
  credential_unavailable: ["There is no credential", "Check its source.", "app"],
  clock_skewed: ["This machine's clock is wrong", "Set the clock.", "machine"],
  credential_expired: ["The credential has expired", "Replace it.", "app"],
  credential_refused: ["The server refuses the credential", "Replace it.", "server"],
  invalid_environment: ["Environment variables are missing or wrong", "Correct the variables.", "machine"],
  // stores
  lock_timeout: ["Another process holds the lock", "Continue or end that process.", "machine", true],
  lock_lost: ["The lock was lost", wait, "machine", true],
  store_failed: ["The store cannot be read or written now", "Check disk space, then try again.", "machine", true],
  store_denied: ["The store may not be read or written", "Give this user access to it, or use another folder.", "machine"],
  store_unusable: ["What is in the store's place cannot be used", "Restore it or move it away, or use another folder.", "machine"],
  lock_unsupported: ["The file system has no working locks", "Keep the store on a local disk.", "machine"],
  store_damaged: ["The database cannot be used and was set aside", logIn, "machine", true],
  keychain_unavailable: ["There is no keychain", "Install one, or use a key file.", "machine"],
  keychain_locked: ["The keychain is locked or out of reach", "Unlock it, or run where it is.", "machine"],
  keychain_refused: ["The keychain refused access", "Allow it, or use a key file.", "machine"],
  keychain_timeout: ["The keychain did not answer in time", "Answer it, or set MCP_AUTH_KEYCHAIN=off.", "machine"],
  invalid_record: ["A stored record cannot be read", "Update this program, or log out and in again.", "machine"],
} as const satisfies Record<string, Text>;

/** Every way in which this package can fail. Codes are stable; messages may change. */
export type McpAuthErrorCode = keyof typeof texts;

/** The clause that completes an error's sentence. Kept beside the class, so that bundlers can leave out an unused one. */
const clauses = new WeakMap<McpAuthError, string | undefined>();

/** What is known about a failure. None of it may hold a token, code, verifier or secret. */
export interface McpAuthErrorDetails {
  /** One clause that completes the code's own sentence, for example which option or which URL. */
  detail?: string | undefined;
  /** What can be done about it. Default: the code's own hint. */
  hint?: string | undefined;
  /** At which party it failed. Default: the code's own. */
  party?: McpAuthErrorParty | undefined;
  /** The protected MCP server. */
  serverUrl?: string | undefined;
  /** The authorization server. */
  issuer?: string | undefined;
  /** HTTP status of the response that caused it. */
  status?: number | undefined;
  /** `error` of an OAuth error response (RFC 6749 §5.2, §4.1.2.1). */
  serverError?: string | undefined;
  /** `error_description` of an OAuth error response. Untrusted text: shortened, without control characters. */
  serverDescription?: string | undefined;
  /** Milliseconds that the server asks to wait (`Retry-After`). */
  retryAfterMs?: number | undefined;
  /** The failure below this one. */
  cause?: unknown;
}

/**
 * The one error class of this package: what happened (`code`, `message`), where (`serverUrl`, `issuer`, `party`), and what
 * can be done about it (`hint`).
 *
 * `message` does not hold the hint. Printed as a whole (`String(error)`, `console.error(error)`, an uncaught error), an error
 * shows both.
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
  /** What can be done about it: a sentence for whoever can do it, the developer or the user. */
  readonly hint: string;
  /** At which party it failed: whom the hint is about. */
  readonly party: McpAuthErrorParty;
  /** The protected MCP server. */
  declare readonly serverUrl: string | undefined;
  /** The authorization server. */
  declare readonly issuer: string | undefined;
  /** HTTP status of the response that caused it. */
  declare readonly status: number | undefined;
  /** `error` of an OAuth error response. */
  declare readonly serverError: string | undefined;
  /** `error_description` of an OAuth error response: untrusted text. */
  declare readonly serverDescription: string | undefined;
  /** Milliseconds that the server asks to wait. */
  declare readonly retryAfterMs: number | undefined;

  constructor(code: McpAuthErrorCode, { detail, cause, hint, party, ...facts }: McpAuthErrorDetails = {}) {
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
    const clause = printable(detail, 1000);
    super(messageOf(code, clean, clause), cause === undefined ? undefined : { cause });
    clauses.set(this, clause);
    this.code = code;
    this.hint = printable(hint, 1000) ?? texts[code][1];
    this.party = party ?? texts[code][2];
    for (const [name, value] of Object.entries(clean)) if (value !== undefined) Object.assign(this, { [name]: value });
    // Lets our errors pass through the SDK's version probe as they are, instead of being taken for an old server.
    Object.defineProperty(this, Symbol.for("mcp.authSeamEscape"), { value: true });
  }

  /** Whether the same call may succeed later without anybody doing anything. */
  get transient(): boolean {
    const text: Text = texts[this.code];
    return text[3] === true;
  }

  /** Name, message and hint. */
  override toString(): string {
    return `${this.name}: ${this.message} ${this.hint}`;
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

/** Says which server an error is about, where that was not known when it was made. Returns the same error. */
export function aboutServer(error: McpAuthError, serverUrl: string): McpAuthError {
  if (error.serverUrl !== undefined) return error;
  const { message, stack } = error;
  Object.assign(error, { serverUrl: withoutQuery(serverUrl) });
  error.message = messageOf(error.code, error, clauses.get(error));
  // The stack begins with the message that there was before.
  if (stack !== undefined) error.stack = stack.replace(message, () => error.message);
  return error;
}

/** The facts of an error, for another one that says what it means. */
export function factsOf({ serverUrl, issuer, status, serverError, serverDescription, retryAfterMs }: McpAuthError): McpAuthErrorDetails {
  return { serverUrl, issuer, status, serverError, serverDescription, retryAfterMs };
}

/** The clause that completes an error's sentence, for another one that says more. */
export function detailOf(error: McpAuthError): string | undefined {
  return clauses.get(error);
}

/** The code of an error of ours. */
export function codeOf(error: unknown): McpAuthErrorCode | undefined {
  return error instanceof McpAuthError ? error.code : undefined;
}

/** Whether a failure may be gone with the next try. */
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

function messageOf(code: McpAuthErrorCode, facts: McpAuthErrorDetails, detail: string | undefined): string {
  const [what] = texts[code];
  const { serverUrl, issuer, status, serverError, serverDescription } = facts;
  const where = [
    serverUrl && `server ${serverUrl}`,
    issuer && `authorization server ${printable(issuer)}`,
    status && `status ${status}`,
    serverError && `error ${serverError}`,
    serverDescription && `"${serverDescription}"`,
  ].filter(Boolean);
  return `${what}${detail ? `: ${detail}` : ""}${where.length > 0 ? ` (${where.join(", ")})` : ""}.`;
}

/** A URL fit for messages and events: queries may carry secrets. */
export function withoutQuery(url: string): string {
  return url.replace(/[?#].*$/s, "");
}

/** Makes untrusted text fit for a terminal and a log line. */
function printable(text: string | undefined, length = 200): string | undefined {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is removed
  return text?.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, " ").slice(0, length);
}
