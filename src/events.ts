import type { McpAuthErrorCode } from "./errors.ts";

/** The contents of an event, without the server and the account that it is about. */
export type AuthEventFacts =
  | { type: "discovery.started" }
  | { type: "discovery.finished"; resource: string; issuer: string; legacy: boolean }
  /** Something was accepted that the letter of the specification would refuse. */
  | { type: "discovery.concession"; concession: IssuerConcession; issuer: string; detail: string }
  /** The URL in a challenge, `detail`, has no valid document; a well-known place has one, or the server has metadata as of 2025-03-26. */
  | { type: "discovery.concession"; concession: "resource-metadata-url"; detail: string }
  | { type: "registration.finished"; issuer: string; kind: "pre-registered" | "metadata-document" | "dynamic"; clientId: string }
  | {
      type: "registration.stale";
      issuer: string;
      reason: "redirect-uri" | "grant-type" | "scope" | "expired" | "refused" | "unanswered" | "old";
    }
  | { type: "registration.foreign-redirect-uris"; issuer: string }
  | { type: "login.started"; issuer: string; scopes: readonly string[] }
  /** The user has been sent to the authorization server. */
  | { type: "login.opened"; issuer: string; redirectUri: string }
  | { type: "login.finished"; issuer: string; scopes: readonly string[] }
  | { type: "login.failed"; code: McpAuthErrorCode }
  /** The user has been shown a code and where to enter it. */
  | { type: "login.device-code"; issuer: string; verificationUri: string }
  /** Of a program, too, which asks for a new token with its own credentials; `missing`: it had none. */
  | { type: "refresh.started"; issuer: string; reason: "missing" | "ahead" | "expired" | "refused" }
  /** Another process or manager had refreshed already: its result is used, no request was sent. */
  | { type: "refresh.shared"; issuer: string }
  | { type: "refresh.repeated"; issuer: string; attempt: number; waitMs: number; code: McpAuthErrorCode }
  | { type: "refresh.finished"; issuer: string; rotated: boolean }
  | { type: "refresh.failed"; issuer: string; code: McpAuthErrorCode; transient: boolean }
  /** New tokens could not be stored; they are used from memory, and writing is tried again. */
  | { type: "tokens.unsaved"; code: McpAuthErrorCode }
  | { type: "tokens.saved" }
  /** The app gave tokens from elsewhere (`setTokens`). They replace the login. */
  | { type: "tokens.given"; issuer?: string | undefined; scopes: readonly string[] }
  | { type: "tokens.deleted"; reason: "refused" | "logout" | "client-refused" }
  /** A server gave a program a refresh token, which it does not need and does not keep. */
  | { type: "refresh-token.ignored"; issuer: string }
  /** The server refused a key or session; with so many others `left` the request is tried again. */
  | { type: "credential.refused"; left: number }
  /** A session was begun anew, or the app gave another key, token or client secret. */
  | { type: "credential.renewed"; kind: "session" | "key" | "token" | "secret" }
  | StoreEvent
  /** `acrValues` and `maxAge` where the server wants a stronger or newer authentication (RFC 9470). */
  | { type: "step-up.started"; scopes: readonly string[]; acrValues?: string | undefined; maxAge?: string | undefined; attempt: number }
  | { type: "step-up.finished"; scopes: readonly string[] }
  /** Also without a start: where no user can be asked, and where no attempt is left. `scopes` are those that the server wants. */
  | { type: "step-up.failed"; scopes: readonly string[]; code: McpAuthErrorCode }
  /** `account`: whose login it was; `logoutEverywhere()` ends those of others, too. */
  | { type: "logout.finished"; account: string; revoked: boolean }
  /** The login is still stored. */
  | { type: "logout.failed"; account: string; code: McpAuthErrorCode };

/**
 * What was accepted of an authorization server, and what `detail` says of it:
 * - `issuer-final-slash`: its metadata name it with a final slash, or without; the issuer that was looked for
 * - `issuer-template`: its metadata name all tenants of its provider (Entra ID); that name
 * - `issuer-alias`: its metadata or its response to a login name another issuer, which the option `issuerAlias` allows; the other name
 * - `issuer-pointer`: a protected server without metadata of its own names it; where
 * - `issuer-missing`: the document at the origin of a protected server names endpoints, but no issuer: it is the server's own;
 *   where
 * - `issuer-published-elsewhere`: it has no metadata, a protected server of the same provider publishes them; where
 * - `metadata-place`: its metadata are at another place than its name says; where
 * - `pkce-not-listed`: it does not list S256, which a profile or the option `assumePkce` says it supports; which of the two
 * - `profile`: what it needs is known; its name
 * - `id-token-without-nonce`: a login's ID token lacks the `nonce`
 */
export type IssuerConcession =
  | "issuer-final-slash"
  | "issuer-template"
  | "issuer-alias"
  | "issuer-pointer"
  | "issuer-missing"
  | "issuer-published-elsewhere"
  | "metadata-place"
  | "pkce-not-listed"
  | "profile"
  | "id-token-without-nonce";

/** Under which name an app keeps its logins, and why under this one. */
export interface AppNameSpace {
  /** The name of the app's folder. */
  name: string;
  /**
   * What gives the name: the option `app`; the name in the package.json at `path`; the folder at `path`, where no package.json
   * has a name; the file name of the executable at `path`. `script`: the script at `path`, whose logins are found only as long
   * as it is called so.
   */
  from: "option" | "package" | "folder" | "script" | "executable";
  path?: string | undefined;
}

/** Events of a store. `path` is its folder. */
export type StoreEvent =
  /** Once a process: where values are kept, under which name, and where the key that encrypts them lives. */
  | { type: "store.opened"; kind: "sqlite" | "keychain"; key: "keychain" | "file"; path: string; app: AppNameSpace }
  /** A database that is damaged, somebody else's, or without its key was renamed to `path`; a new one takes its place. */
  | { type: "store.set-aside"; path: string; reason: "damaged" | "foreign" | "key-missing" }
  /** The database was deleted while it was in use, and was made anew: what is in memory is written again. */
  | { type: "store.restarted"; path: string }
  /** The folder is on a file system whose locks may not reach other machines. */
  | { type: "store.on-network"; path: string; fileSystem: string }
  /** Redis is set up to lose logins: it deletes them when its memory is full; it has no append-only file, and forgets with its end. */
  | { type: "store.at-risk"; reason: "evicts" | "not-persistent" };

/** Everything worth knowing that happens between a 401 and a session. No event holds a token, code or secret. */
export type AuthEvent = AuthEventFacts & {
  /** The protected server. */
  serverUrl: string;
  /** Whose login it is, where the app has given an `account`. */
  account?: string | undefined;
};

/** Receives events. What it throws is ignored. */
export type AuthEventListener = (event: AuthEvent) => void;

/** Reports an event. */
export type Emit = (event: AuthEventFacts) => void;

/** Reports to the app's listener. What that throws never breaks a login. */
export function emitter(listener: AuthEventListener | undefined, serverUrl: string, account?: string): Emit {
  const about = account === undefined ? { serverUrl } : { serverUrl, account };
  return quietly(listener && ((event) => listener({ ...about, ...event })));
}

/** A listener of the app's own that cannot fail. */
export function quietly(listener: ((event: AuthEventFacts) => void) | undefined): Emit {
  return (event) => {
    try {
      listener?.(event);
    } catch {
      // An observer's failure is the observer's.
    }
  };
}
