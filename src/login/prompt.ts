import { abortable, deadline, SingleFlight } from "../async.ts";
import { type Speculation, speculate } from "../discovery/resource-metadata.ts";
import { McpAuthError } from "../errors.ts";
import { Pause } from "../pause.ts";
import type { CachedToken } from "../tokens/cached-token.ts";
import { remember } from "../tokens/session.ts";
import type { TokenRecord } from "../tokens/token-record.ts";
import type { LoginPlan } from "./lock.ts";
import type { Session } from "./session.ts";

/** How long a login that was refused is not offered again by itself, in ms. */
const pauseAfterRefusalMs = 60_000;

/** The token that logins are for. */
export type LoginToken = Pick<CachedToken<TokenRecord>, "use"> & { loginRequired(): McpAuthError };

/** Logins by a user: one at a time, waited for within bounds, not offered again at once to somebody who said no. */
export class LoginPrompt {
  readonly #session: Session;
  readonly #token: LoginToken;
  readonly #waitMs: number;
  readonly #flight = new SingleFlight<TokenRecord>();
  /** Of the running login. */
  #end = new AbortController();
  #speculation: Speculation | undefined;
  /** Of the requests that speculate. */
  #guessing = new AbortController();
  /** After a login that was refused. */
  readonly #pause: Pause<McpAuthError>;

  /** @param waitMs how long a request waits, in ms */
  constructor(session: Session, token: LoginToken, waitMs: number) {
    this.#session = session;
    this.#token = token;
    this.#waitMs = waitMs;
    this.#pause = new Pause(session.clock);
  }

  get running(): Promise<TokenRecord> | undefined {
    return this.#flight.running;
  }

  /** Whether there is a user who can be asked. */
  get isPossible(): boolean {
    const { interactive, loginHandler, onDeviceCode } = this.#session.options;
    return interactive !== false && (loginHandler ?? onDeviceCode) !== undefined;
  }

  /** Metadata requests beside the first request to the server. */
  speculate(): Speculation {
    const { options, serverUrl, http, clock } = this.#session;
    const { signal } = this.#guessing;
    this.#speculation ??= options.speculate === false ? new Map() : speculate(serverUrl, { http, clock, signal });
    return this.#speculation;
  }

  /** The server wants no login now. When it does one day, what was asked before is out of date; nothing more is asked ahead. */
  stopGuessing(): void {
    if (this.#speculation?.size && !this.running) this.#dropGuesses(new Map());
  }

  /** Starts a login, or joins the one that runs. @throws McpAuthError `login_required`, and as `logInOnce` */
  ask(plan: Omit<LoginPlan, "signal" | "speculation" | "askedAt">): Promise<TokenRecord> {
    if (this.#session.disposed) throw this.#session.disposed;
    if (!this.isPossible) throw this.#token.loginRequired();
    return this.#flight.run(async () => {
      const session = this.#session;
      const whole = { ...plan, speculation: this.#speculation, signal: this.#end.signal, askedAt: session.clock.now() };
      try {
        // Most processes find a login: what it takes to make one is loaded when one is made.
        const { logInOnce } = await import("./lock.ts");
        const record = await logInOnce(session, whole);
        this.#token.use(record, "login");
        this.#pause.end();
        return record;
      } catch (error) {
        remember(session, error);
        // Whoever logs out or disposes of the manager has refused nothing.
        if (error instanceof McpAuthError && !error.transient && !this.#end.signal.aborted) this.#pause.start(error, pauseAfterRefusalMs);
        throw error;
      } finally {
        this.#dropGuesses(undefined);
      }
    });
  }

  /** The error of the last login, if that failed a moment ago. */
  get refusal(): McpAuthError | undefined {
    return this.#pause.reason;
  }

  /** A request must not open browser after browser. @throws McpAuthError {@link refusal} */
  throwIfRefused(): void {
    if (this.refusal) throw this.refusal;
  }

  /**
   * Waits for a login on behalf of a request. The login goes on when the waiting is over, but the request is not sent any
   * more: its sender may have repeated it.
   *
   * @throws McpAuthError `login_pending`, and as the login
   */
  async waitFor(flight: Promise<TokenRecord>, signal: AbortSignal | undefined): Promise<"retry"> {
    const { clock, server } = this.#session;
    const patience = deadline(clock, this.#waitMs, () => new McpAuthError("login_pending", { serverUrl: server }), signal);
    try {
      await abortable(flight, patience.signal);
      return "retry";
    } finally {
      patience.stop();
    }
  }

  /** Ends a login in progress, for all that wait for it. */
  async end(reason: McpAuthError): Promise<void> {
    this.#end.abort(reason);
    await this.running?.catch(() => {});
    this.#end = new AbortController();
    this.#dropGuesses(undefined);
  }

  /** One that hangs would keep the process alive; somebody who still waits for it asks again. */
  #dropGuesses(speculation: Speculation | undefined): void {
    this.#speculation = speculation;
    this.#guessing.abort(new McpAuthError("network_error"));
    this.#guessing = new AbortController();
  }
}
