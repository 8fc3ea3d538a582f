import type { Clock } from "../clock.ts";
import type { McpAuthError } from "../errors.ts";
import { Pause } from "../pause.ts";
import type { Freshness } from "./freshness.ts";
import { pauseAfter, type RefreshHistory } from "./refresh-history.ts";

/** How long a transient fault keeps a still valid token from being refreshed again, in ms. */
const pauseAfterFaultMs = 30_000;
/** The longest time that a server can ask for, in ms. */
const maxPauseMs = 300_000;
/** So many refreshes over so long a time must fail before a user is asked although the faults are transient. */
const outage = { failures: 3, durationMs: 120_000 };

/** When a refresh may be sent again, after what the earlier ones were answered. */
export class RefreshBackoff {
  readonly #clock: Clock;
  /** What was refused last. */
  #refused: { refreshToken: string | undefined; ahead: boolean } | undefined;
  readonly #afterRefusal: Pause<true>;
  #faults = { count: 0, since: 0 };
  /** While a still valid token is not refreshed. */
  readonly #afterFault: Pause<true>;
  /** The error of a server that asked for time. */
  readonly #busy: Pause<McpAuthError>;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#afterRefusal = new Pause(clock);
    this.#afterFault = new Pause(clock);
    this.#busy = new Pause(clock);
  }

  /** Milliseconds for which a still valid token is not refreshed. */
  get leftMs(): number {
    return this.#afterFault.leftMs;
  }

  /** Whether refreshing has failed so often, by transient faults, that a user may be asked. */
  get isInOutage(): boolean {
    const { count, since } = this.#faults;
    return count >= outage.failures && this.#clock.now() - since >= outage.durationMs;
  }

  /** Whether a refresh may be sent for a token that is so fresh. */
  mayRefresh(refreshToken: string, fresh: Freshness): boolean {
    const refused = this.#refused?.refreshToken === refreshToken ? this.#refused : undefined;
    if (refused) return fresh !== "ahead" && (refused.ahead || !this.#afterRefusal.reason);
    return fresh === "expired" || !this.#afterFault.reason;
  }

  /** @throws McpAuthError the error of a server that asked for time, until that is over */
  throwIfBusy(): void {
    if (this.#busy.reason) throw this.#busy.reason;
  }

  /** The server answered, or another process has got a token from it. */
  onAnswer(): void {
    this.#faults.count = 0;
    this.#refused = undefined;
  }

  /** What the login remembers of its refreshes, in whatever process. */
  recall(refreshToken: string | undefined, { failures, refusals }: RefreshHistory): void {
    if (failures && failures.count > this.#faults.count) this.#faults = { ...failures, since: Math.min(failures.since, this.#clock.now()) };
    if (!refusals) return;
    this.#refused = { refreshToken, ahead: refusals.ahead };
    this.#afterRefusal.start(true, pauseAfter(refusals), refusals.at);
  }

  /** The server refused the refresh token, but not for good. */
  onRefusal(refreshToken: string | undefined, ahead: boolean): void {
    this.#refused = { refreshToken, ahead };
    this.#afterRefusal.start(true, pauseAfter({ count: 1 }));
  }

  onFault(error: McpAuthError): void {
    const { count, since } = this.#faults;
    const pauseMs = Math.min(error.retryAfterMs ?? pauseAfterFaultMs, maxPauseMs);
    this.#afterFault.start(true, pauseMs);
    if (error.retryAfterMs) this.#busy.start(error, pauseMs);
    // A login could not be stored, either: a full disk is no reason to ask a user.
    if (error.party === "machine") return;
    const now = this.#clock.now();
    this.#faults = { count: count + 1, since: count === 0 || now < since ? now : since };
  }
}
