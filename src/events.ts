import type { McpAuthErrorCode } from "./errors.ts";

/** Everything worth knowing that happens between a 401 and a session. No event holds a token, code or secret. */
export type AuthEvent =
  | { type: "discovery.started"; serverUrl: string }
  | { type: "discovery.finished"; serverUrl: string; resource: string; issuer: string; legacy: boolean }
  /** Something was accepted that the letter of the specification would refuse. */
  | { type: "discovery.concession"; concession: "issuer-final-slash" | "issuer-pointer" | "profile"; issuer: string; detail: string }
  | { type: "registration.finished"; issuer: string; kind: "pre-registered" | "metadata-document" | "dynamic"; clientId: string }
  | { type: "registration.stale"; issuer: string; reason: "redirect-uri" | "expired" | "refused" | "unanswered" | "old" }
  | { type: "registration.foreign-redirect-uris"; issuer: string }
  | { type: "login.started"; serverUrl: string; issuer: string; scopes: readonly string[] }
  /** The person has been sent to the authorization server. */
  | { type: "login.opened"; serverUrl: string; issuer: string; redirectUri: string }
  | { type: "login.finished"; serverUrl: string; issuer: string; scopes: readonly string[] }
  | { type: "login.failed"; serverUrl: string; code: McpAuthErrorCode }
  | { type: "refresh.started"; serverUrl: string; issuer: string; reason: "ahead" | "expired" | "refused" }
  /** Another process or manager had refreshed already: its result is used, no request was sent. */
  | { type: "refresh.shared"; serverUrl: string; issuer: string }
  | { type: "refresh.repeated"; serverUrl: string; issuer: string; attempt: number; waitMs: number; code: McpAuthErrorCode }
  | { type: "refresh.finished"; serverUrl: string; issuer: string; rotated: boolean }
  | { type: "refresh.failed"; serverUrl: string; issuer: string; code: McpAuthErrorCode; passing: boolean }
  /** New tokens could not be stored; they are used from memory, and writing is tried again. */
  | { type: "tokens.unsaved"; serverUrl: string; code: McpAuthErrorCode }
  | { type: "tokens.saved"; serverUrl: string }
  | { type: "tokens.deleted"; serverUrl: string; reason: "refused" | "logout" | "client-refused" }
  | { type: "step-up.started"; serverUrl: string; scopes: readonly string[]; attempt: number }
  | { type: "logout.finished"; serverUrl: string; revoked: boolean };

/** Receives events. What it throws is ignored. */
export type AuthEventListener = (event: AuthEvent) => void;

/** Wraps the app's listener so that a mistake in it never breaks a login. */
export function emitter(listener: AuthEventListener | undefined): AuthEventListener {
  if (!listener) return () => {};
  return (event) => {
    try {
      listener(event);
    } catch {
      // An observer's failure is the observer's.
    }
  };
}
