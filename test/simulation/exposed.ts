import type { Host } from "./host.ts";

/**
 * The one moment that no lease protects: a process has sent a refresh token, is paused or cut off for longer than the lease before
 * the successor is durable, and another one gets the lock. Of such a token nobody can know whether it was used.
 */
export class Exposed {
  readonly #holders = new Map<string, Set<Host>>();

  /**
   * The lease of a holder is over.
   *
   * @param token the refresh token that its successor finds
   * @param isAnswered whether the holder has an answer to it that is not durable
   */
  onTakenOver(holder: Host, token: string | undefined, isAnswered: (token: string) => boolean): void {
    if (token === undefined) return;
    const isAwaited = [...holder.requests].some(({ body }) => body.get("refresh_token") === token);
    if (isAwaited || isAnswered(token)) this.#holders.set(token, (this.#holders.get(token) ?? new Set()).add(holder));
  }

  /** Whether it was so with this token in one of these processes. */
  has(token: string, ...holders: Host[]): boolean {
    return holders.some((holder) => this.#holders.get(token)?.has(holder));
  }
}
