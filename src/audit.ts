import { type Clock, systemClock } from "./clock.ts";
import { type McpAuthErrorCode, withoutQuery } from "./errors.ts";
import type { AuthEvent, AuthEventListener } from "./events.ts";
import { callback, checkOptions, clock as clockRule, needed, type Rules, text } from "./options.ts";

/**
 * What was done:
 * - `login`: a user logged in, a session was begun, or the app gave tokens
 * - `refresh`: a login was refreshed; a program got a token
 * - `step-up`: more scopes, or a stronger login, for an operation
 * - `refusal`: a server no longer accepts what it had accepted: a login, a key
 * - `logout`: a login was ended here
 * - `key-rotation`: an API key, bearer token or client secret was replaced
 */
export type AuditAction = "login" | "refresh" | "step-up" | "refusal" | "logout" | "key-rotation";

/** One line of an audit trail. */
export interface AuditRecord {
  /** When, in ISO 8601, UTC. */
  time: string;
  /** Whose login it is; `null` where neither the event nor the app says it. */
  account: string | null;
  /** The protected server, without query. */
  server: string;
  /** The authorization server, where the event names it. */
  issuer?: string | undefined;
  /** What. */
  action: AuditAction;
  /** `refused`: a server or a user said no. `failed`: it could not be done, for another reason. */
  outcome: "started" | "ok" | "refused" | "failed";
  /** Why it was refused or failed: the code of the error. */
  code?: McpAuthErrorCode | undefined;
  /** Those that were granted, or asked for where nothing is granted yet: at most 50. */
  scopes?: readonly string[] | undefined;
  /** The type of the event that the line is about. */
  event: AuthEvent["type"];
  /** More of it: why tokens were deleted, what was renewed, `given` for tokens from elsewhere. */
  reason?: string | undefined;
  /** Of a logout: whether the server has confirmed that nothing can be refreshed any more. */
  revoked?: boolean | undefined;
}

/** Options of {@link auditTrail}. */
export interface AuditTrailOptions {
  /** Whose logins these are, where an event does not say it. */
  account?: string | undefined;
  /**
   * Takes one line, without a line break at its end, and the record that it was made from. What it throws is ignored, as of every
   * listener: an app that must not lose a line handles its failures here.
   */
  write: (line: string, record: AuditRecord) => void;
  /** Time; default: the machine's. */
  clock?: Clock | undefined;
}

const rules = (): Rules<AuditTrailOptions> => ({ account: text, write: needed(callback), clock: clockRule() });

/**
 * A listener for `onEvent` that writes an audit trail: who, which server, what, when and with which outcome, as one line of JSON
 * each. Events that change no login and give no access make no line. No line holds a token, code or secret.
 *
 * @example
 * ```ts
 * const audit = auditTrail({ account: user.id, write: (line) => appendFileSync("audit.jsonl", `${line}\n`) });
 * const auth = createMcpAuth(url, { account: user.id, onEvent: audit });
 * ```
 *
 * @throws McpAuthError `invalid_option`
 */
export function auditTrail(options: AuditTrailOptions): AuthEventListener {
  const { account, write, clock = systemClock } = checkOptions(options, rules());
  return (event) => {
    const entry = entryOf(event);
    if (!entry) return;
    const record: AuditRecord = {
      time: new Date(clock.now()).toISOString(),
      account: bounded(event.account ?? account) ?? null,
      server: url(event.serverUrl),
      ...("issuer" in event && event.issuer ? { issuer: url(event.issuer) } : {}),
      ...entry,
      event: event.type,
    };
    write(lineOf(record), record);
  };
}

type Entry = Omit<AuditRecord, "time" | "account" | "server" | "issuer" | "event">;
type EventOf<Type extends AuthEvent["type"]> = Extract<AuthEvent, { type: Type }>;

const nothing = () => undefined;

/** What each event is for an audit. An event that is not decided does not compile. */
const entries: { readonly [Type in AuthEvent["type"]]: (event: EventOf<Type>) => Entry | undefined } = {
  // What was found out: nothing is changed yet.
  "discovery.started": nothing,
  "discovery.finished": nothing,
  "discovery.concession": nothing,
  // How the program is known, not whose login it is.
  "registration.finished": nothing,
  "registration.stale": nothing,
  "registration.foreign-redirect-uris": nothing,
  "login.started": ({ scopes }) => ({ action: "login", outcome: "started", scopes: few(scopes) }),
  "login.opened": nothing,
  "login.device-code": nothing,
  "login.finished": ({ scopes }) => ({ action: "login", outcome: "ok", scopes: few(scopes) }),
  "login.failed": ({ code }) => ({ action: "login", ...ended(code) }),
  // How it ends says the same and more.
  "refresh.started": nothing,
  // Whoever refreshed has written it.
  "refresh.shared": nothing,
  "refresh.repeated": nothing,
  "refresh.finished": () => ({ action: "refresh", outcome: "ok" }),
  "refresh.failed": ({ code }) => ({ action: "refresh", ...ended(code) }),
  // Where tokens are kept, not whose they are.
  "tokens.unsaved": nothing,
  "tokens.saved": nothing,
  "tokens.given": ({ scopes }) => ({ action: "login", outcome: "ok", reason: "given", scopes: few(scopes) }),
  // A logout says it itself.
  "tokens.deleted": ({ reason }) => (reason === "logout" ? undefined : { action: "refusal", outcome: "refused", reason }),
  "refresh-token.ignored": nothing,
  "credential.refused": () => ({ action: "refusal", outcome: "refused" }),
  "credential.renewed": ({ kind }) => ({ action: kind === "session" ? "login" : "key-rotation", outcome: "ok", reason: kind }),
  "step-up.started": ({ scopes }) => ({ action: "step-up", outcome: "started", scopes: few(scopes) }),
  "step-up.finished": ({ scopes }) => ({ action: "step-up", outcome: "ok", scopes: few(scopes) }),
  "step-up.failed": ({ scopes, code }) => ({ action: "step-up", ...ended(code), scopes: few(scopes) }),
  "logout.finished": ({ revoked }) => ({ action: "logout", outcome: "ok", revoked }),
  "logout.failed": ({ code }) => ({ action: "logout", ...ended(code) }),
  // Of this machine.
  "store.opened": nothing,
  "store.set-aside": nothing,
  "store.restarted": nothing,
  "store.on-network": nothing,
  "store.at-risk": nothing,
};

function entryOf(event: AuthEvent): Entry | undefined {
  const decide: (event: never) => Entry | undefined = entries[event.type];
  return decide(event as never);
}

/** Codes that say that somebody said no. */
const refusals: ReadonlySet<McpAuthErrorCode> = new Set([
  "authorization_denied",
  "authorization_error",
  "registration_refused",
  "invalid_client",
  "invalid_grant",
  "invalid_assertion",
  "insufficient_scope",
  "authentication_insufficient",
  "token_request_refused",
  "token_refused",
  "credential_refused",
]);

function ended(code: McpAuthErrorCode): Pick<Entry, "outcome" | "code"> {
  return { outcome: refusals.has(code) ? "refused" : "failed", code };
}

/** Texts of servers may be of any length. */
const maxLength = 300;
const maxScopes = 50;

function bounded(text: string | undefined): string | undefined {
  return text?.slice(0, maxLength);
}

function url(text: string): string {
  return withoutQuery(text).slice(0, maxLength);
}

function few(scopes: readonly string[]): string[] {
  return scopes.slice(0, maxScopes).map((scope) => scope.slice(0, maxLength));
}

/**
 * JSON in which no character can end the line, or hide a part of it: what `JSON.stringify` leaves of controls (U+0085, U+2028),
 * and the marks that reverse what is shown, are escaped, too.
 */
function lineOf(record: AuditRecord): string {
  return JSON.stringify(record).replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (character) =>
    Array.from({ length: character.length }, (_, at) => `\\u${character.charCodeAt(at).toString(16).padStart(4, "0")}`).join(""),
  );
}
