import { splitScope } from "../authorization/scopes.ts";
import type { Challenge } from "../discovery/challenge.ts";
import { codeOf, InsufficientScopeError, McpAuthError, type McpAuthErrorDetails } from "../errors.ts";
import type { Emit } from "../events.ts";
import { isWithin } from "../pause.ts";
import type { TokenRecord } from "../tokens/token-record.ts";

/** Step-ups for one cause. With the first login that makes three authorizations at most. */
const maxAttempts = 2;
/** How many causes are remembered at once. A server that names more is never satisfied. */
const maxCauses = 50;
/** How long attempts and refusals are remembered, in ms. */
const memoryMs = 600_000;
/** A login younger than this, in ms, is recent enough, whatever `max_age` says. */
const freshLoginMs = 60_000;

/** Whether a challenge demands a stronger or more recent login of the user (RFC 9470). */
export function wantsAuthentication(challenge: Challenge | undefined): boolean {
  return challenge?.error === "insufficient_user_authentication";
}

/**
 * The error for a challenge that only another login can satisfy, when there is no user to ask.
 *
 * @param granted scopes that the refused token has, where they are known: some gateways (WSO2) say 403 `invalid_token` for others
 * @returns `insufficient_scope`, `authentication_insufficient`; `undefined` for any other refusal
 * @see RFC 6750 §3.1, RFC 9470 §3
 */
export function insufficiency(challenge: Challenge, details: McpAuthErrorDetails, granted?: readonly string[]): McpAuthError | undefined {
  const { error, acrValues, maxAge, status } = challenge;
  const lacks =
    status === 403 && error === "invalid_token" && granted && splitScope(challenge.scope).some((scope) => !granted.includes(scope));
  if (lacks || error === "insufficient_scope") return new InsufficientScopeError(splitScope(challenge.scope), details);
  if (!wantsAuthentication(challenge)) return undefined;
  const demands = [acrValues && `authentication context ${acrValues}`, maxAge && `a login at most ${maxAge} s ago`].filter(Boolean);
  return new McpAuthError("authentication_insufficient", { ...details, status, detail: demands.join(", ") || undefined });
}

/** Whether a login is now older than the challenge allows. */
export function isLoginTooOld({ maxAge }: Challenge, loggedInAt: number | undefined, now: number): boolean {
  return maxAge !== undefined && loggedInAt !== undefined && now - loggedInAt > Math.max(Number(maxAge) * 1000, freshLoginMs);
}

/** The demands of a challenge on the next login, as strings that can be compared. */
export function demandsOf({ scope, acrValues, maxAge }: Challenge): string[] {
  return [...splitScope(scope), ...(acrValues ? [`acr_values=${acrValues}`] : []), ...(maxAge ? [`max_age=${maxAge}`] : [])];
}

/** The part of a record that says what was granted. */
type Granted = Readonly<Pick<TokenRecord, "scope" | "requestedScopes">>;

/** Without `scope` in the response all that was requested is granted. @see RFC 6749 §5.1 */
export function grantedScopes({ scope, requestedScopes }: Granted): readonly string[] {
  return scope === undefined ? requestedScopes : splitScope(scope);
}

/** Reports how a step-up ends, whoever waits for it. @param scopes those that the server wants */
export function reportEnd(emit: Emit, scopes: readonly string[], stepUp: Promise<Granted | undefined>): void {
  const failed = (error: unknown) => {
    const code = codeOf(error);
    if (code) emit({ type: "step-up.failed", scopes, code });
  };
  stepUp.then((record) => emit({ type: "step-up.finished", scopes: record ? grantedScopes(record) : [] }), failed);
}

/** Limits step-ups: a server that is never satisfied, or a user who refused, is not asked again and again. */
export class StepUpMemory {
  readonly #attempts = new Map<string, { count: number; at: number }>();
  readonly #refusals = new Map<string, { error: McpAuthError; at: number }>();

  /**
   * Counts one more attempt.
   *
   * @param cause resource, demands, and operation
   * @returns the attempt's number, from 1; `undefined` when no attempt is left
   */
  attempt(cause: string, now: number): number | undefined {
    forgetOld(this.#attempts, now);
    const count = (this.#attempts.get(cause)?.count ?? 0) + 1;
    if (count > maxAttempts || (count === 1 && this.#attempts.size === maxCauses)) return undefined;
    this.#attempts.set(cause, { count, at: now });
    return count;
  }

  /** Takes an attempt back that failed by a transient error. */
  undo(cause: string): void {
    const attempt = this.#attempts.get(cause);
    if (attempt) attempt.count--;
  }

  /** Forgets an attempt that succeeded at once, when its login is too old by now: the next login is a new cause. */
  forgive(cause: string): void {
    if (this.#attempts.get(cause)?.count === 1) this.#attempts.delete(cause);
  }

  /** Notes that the user or the server refused these demands. */
  refuse(demands: readonly string[], error: McpAuthError, now: number): void {
    this.#refusals.set(keyOf(demands), { error, at: now });
  }

  /** Whether there is nothing to remember now. */
  isEmpty(now: number): boolean {
    forgetOld(this.#attempts, now);
    forgetOld(this.#refusals, now);
    return this.#attempts.size + this.#refusals.size === 0;
  }

  refusal(demands: readonly string[], now: number): McpAuthError | undefined {
    forgetOld(this.#refusals, now);
    return this.#refusals.get(keyOf(demands))?.error;
  }
}

function forgetOld(memory: Map<string, { at: number }>, now: number): void {
  for (const [key, { at }] of memory) if (!isWithin(at, memoryMs, now)) memory.delete(key);
}

function keyOf(demands: readonly string[]): string {
  return [...demands].sort().join(" ");
}
