import type { McpAuthError } from "../errors.ts";

/** With the first login, three authorizations at most for one cause. */
const maxAttempts = 2;
/** How long attempts and refusals are remembered, in ms. */
const memoryMs = 600_000;

/** Keeps a server that is never content, or a person who said no, from being asked again and again. */
export class StepUpMemory {
  readonly #attempts = new Map<string, { count: number; until: number }>();
  readonly #refusals = new Map<string, { error: McpAuthError; until: number }>();

  /**
   * Counts one more attempt.
   *
   * @param cause resource, challenged scopes and operation
   * @returns its number, from 1; `undefined` when there were enough
   */
  attempt(cause: string, now: number): number | undefined {
    const before = this.#attempts.get(cause);
    const count = before && now < before.until ? before.count + 1 : 1;
    if (count > maxAttempts) return undefined;
    this.#attempts.set(cause, { count, until: now + memoryMs });
    return count;
  }

  /** The person or the server refused these scopes. */
  refuse(scopes: readonly string[], error: McpAuthError, now: number): void {
    this.#refusals.set(keyOf(scopes), { error, until: now + memoryMs });
  }

  refusal(scopes: readonly string[], now: number): McpAuthError | undefined {
    const refusal = this.#refusals.get(keyOf(scopes));
    return refusal && now < refusal.until ? refusal.error : undefined;
  }
}

function keyOf(scopes: readonly string[]): string {
  return [...scopes].sort().join(" ");
}
