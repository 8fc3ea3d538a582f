import { splitScope } from "../authorization/scopes.ts";
import type { Challenge } from "../discovery/challenge.ts";
import { InsufficientScopeError, McpAuthError, type McpAuthErrorDetails } from "../errors.ts";
import { isWithin } from "../pause.ts";

/** With the first login, three authorizations at most for one cause. */
const maxAttempts = 2;
/** So many different wishes are remembered at once; a server that has more is never content. */
const maxCauses = 50;
/** How long attempts and refusals are remembered, in ms. */
const memoryMs = 600_000;
/** A login that is younger than this has not aged, whatever the server says, in ms. */
const freshLoginMs = 60_000;

/** Whether a challenge wants the user to log in anew: what the token stands for is too weak, or too long ago (RFC 9470). */
export function wantsAuthentication(challenge: Challenge | undefined): boolean {
  return challenge?.error === "insufficient_user_authentication";
}

/**
 * What a refusal that only another login of a user can change means where there is no user to ask.
 *
 * @returns `insufficient_scope`, `authentication_insufficient`; `undefined` for any other refusal
 * @see RFC 6750 §3.1, RFC 9470 §3
 */
export function insufficiency(challenge: Challenge, details: McpAuthErrorDetails): McpAuthError | undefined {
  const { error, acrValues, maxAge, status } = challenge;
  if (error === "insufficient_scope") return new InsufficientScopeError(splitScope(challenge.scope), details);
  if (!wantsAuthentication(challenge)) return undefined;
  const wanted = [acrValues && `authentication context ${acrValues}`, maxAge && `a login at most ${maxAge} s ago`].filter(Boolean);
  return new McpAuthError("authentication_insufficient", { ...details, status, detail: wanted.join(", ") || undefined });
}

/** Whether a login that was recent enough once is too old by now. */
export function hasAged({ maxAge }: Challenge, loggedInAt: number | undefined, now: number): boolean {
  return maxAge !== undefined && loggedInAt !== undefined && now - loggedInAt > Math.max(Number(maxAge) * 1000, freshLoginMs);
}

/** Everything that a challenge wants of the next login. */
export function wantedBy({ scope, acrValues, maxAge }: Challenge): string[] {
  return [...splitScope(scope), ...(acrValues ? [`acr_values=${acrValues}`] : []), ...(maxAge ? [`max_age=${maxAge}`] : [])];
}

/** Keeps a server that is never content, or a user who said no, from being asked again and again. */
export class StepUpMemory {
  readonly #attempts = new Map<string, { count: number; at: number }>();
  readonly #refusals = new Map<string, { error: McpAuthError; at: number }>();

  /**
   * Counts one more attempt.
   *
   * @param cause resource, what is wanted, and operation
   * @returns its number, from 1; `undefined` when there were enough
   */
  attempt(cause: string, now: number): number | undefined {
    forgetOld(this.#attempts, now);
    const count = (this.#attempts.get(cause)?.count ?? 0) + 1;
    if (count > maxAttempts || (count === 1 && this.#attempts.size === maxCauses)) return undefined;
    this.#attempts.set(cause, { count, at: now });
    return count;
  }

  /** An attempt that ended with a transient fault does not count. */
  undo(cause: string): void {
    const attempt = this.#attempts.get(cause);
    if (attempt) attempt.count--;
  }

  /** A single attempt sufficed, and its login has aged since: what is wanted now is another one. */
  forgive(cause: string): void {
    if (this.#attempts.get(cause)?.count === 1) this.#attempts.delete(cause);
  }

  /** The user or the server refused what was wanted. */
  refuse(wanted: readonly string[], error: McpAuthError, now: number): void {
    this.#refusals.set(keyOf(wanted), { error, at: now });
  }

  refusal(wanted: readonly string[], now: number): McpAuthError | undefined {
    forgetOld(this.#refusals, now);
    return this.#refusals.get(keyOf(wanted))?.error;
  }
}

function forgetOld(memory: Map<string, { at: number }>, now: number): void {
  for (const [key, { at }] of memory) if (!isWithin(at, memoryMs, now)) memory.delete(key);
}

function keyOf(wanted: readonly string[]): string {
  return [...wanted].sort().join(" ");
}
