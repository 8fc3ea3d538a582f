import type { Clock } from "../clock.ts";
import type { McpAuthError } from "../errors.ts";
import type { Freshness } from "./freshness.ts";

/** How long a transient fault keeps a still valid token from being refreshed again, in ms. */
const pauseAfterFaultMs = 30_000;
/** The longest time that a server can ask for, in ms. */
const maxPauseMs = 300_000;
/** How long a refused, but not finally dead refresh token is left alone, in ms. */
const pauseAfterRefusalMs = 60_000;
/** So many refreshes over so long a time must fail before a user is asked although the fault may pass. */
const outage = { failures: 3, durationMs: 120_000 };

/** When a refresh may be sent again, after what the earlier ones were answered. */
export class RefreshBackoff {
  readonly #clock: Clock;
  #refused: { refreshToken: string | undefined; since: number; until: number; ahead: boolean } | undefined;
  #faults = { count: 0, since: 0 };
  /** What a server said that asked for time. */
  #busy: { error: McpAuthError; since: number; until: number } | undefined;

  /** No refresh of a still valid token before this time, in ms since 1970. */
  notBefore = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether refreshing has failed so often, by faults that should have passed, that a user may be asked. */
  get isInOutage(): boolean {
    const { count, since } = this.#faults;
    return count >= outage.failures && this.#clock.now() - since >= outage.durationMs;
  }

  /** A clock that was put back must not make a pause longer. */
  mayRefresh(refreshToken: string, fresh: Freshness): boolean {
    const now = this.#clock.now();
    const refused = this.#refused?.refreshToken === refreshToken ? this.#refused : undefined;
    if (refused) return fresh !== "ahead" && (refused.ahead || now < refused.since || now >= refused.until);
    return fresh === "expired" || now >= this.notBefore;
  }

  /** @throws McpAuthError what the server said that still has the time it asked for */
  throwIfBusy(): void {
    const now = this.#clock.now();
    if (this.#busy && now >= this.#busy.since && now < this.#busy.until) throw this.#busy.error;
  }

  /** The server answered, or another process has got a token from it. */
  onAnswer(): void {
    this.#faults.count = 0;
    this.#refused = undefined;
  }

  /** The server refused the refresh token, but not for good. */
  onRefusal(refreshToken: string | undefined, ahead: boolean): void {
    const since = this.#clock.now();
    this.#refused = { refreshToken, since, until: since + pauseAfterRefusalMs, ahead };
  }

  onFault(error: McpAuthError): void {
    const now = this.#clock.now();
    this.notBefore = now + Math.min(error.retryAfterMs ?? pauseAfterFaultMs, maxPauseMs);
    if (error.retryAfterMs) this.#busy = { error, since: now, until: this.notBefore };
    this.#faults = { count: this.#faults.count + 1, since: this.#faults.count === 0 ? now : this.#faults.since };
  }
}
