import { abortable, deadline, SingleFlight } from "../async.ts";
import type { Discovery } from "../discovery/discovery.ts";
import { type Speculation, speculate } from "../discovery/resource-metadata.ts";
import { McpAuthError } from "../errors.ts";
import { Pause } from "../pause.ts";
import type { CachedToken } from "../tokens/cached-token.ts";
import { remember } from "../tokens/session.ts";
import type { TokenRecord } from "../tokens/token-record.ts";
import type { LoginPlan } from "./lock.ts";
import type { Session } from "./session.ts";
import { storedLoginServer } from "./stored-server.ts";

/** How long no login starts by itself after a refused one, in ms. */
const pauseAfterRefusalMs = 60_000;

/** The token that a login replaces. */
export type LoginToken = Pick<CachedToken<TokenRecord>, "use"> & { loginRequired(): McpAuthError };

/** Whether a user can be asked. */
export function canAsk({ options: { interactive, loginHandler, onDeviceCode } }: Session): boolean {
  return interactive !== false && (loginHandler ?? onDeviceCode) !== undefined;
}

/** Logins by a user: one at a time, with limits on waiting, and with a pause after a refused one. */
export class LoginPrompt {
  readonly #session: Session;
  readonly #token: LoginToken;
  readonly #waitMs: number;
  readonly #flight = new SingleFlight<TokenRecord>();
  /** Aborts the running login. */
  #end = new AbortController();
  #speculation: Speculation | undefined;
  /** What is stored of the server, read once for each login. */
  #stored: Promise<Discovery | undefined> | undefined;
  /** Aborts the speculative metadata requests. */
  #speculating = new AbortController();
  /** Holds the error of a refused login. */
  readonly #pause: Pause<McpAuthError>;

  /** @param waitMs how long a request waits for a login, in ms */
  constructor(session: Session, token: LoginToken, waitMs: number) {
    this.#session = session;
    this.#token = token;
    this.#waitMs = waitMs;
    this.#pause = new Pause(session.clock);
  }

  get running(): Promise<TokenRecord> | undefined {
    return this.#flight.running;
  }

  /** Whether a user can be asked. */
  get isPossible(): boolean {
    return canAsk(this.#session);
  }

  /** Starts metadata requests that run beside the first request to the server. */
  speculate(): Speculation {
    const { options, serverUrl, http, clock } = this.#session;
    const { signal } = this.#speculating;
    this.#speculation ??=
      options.speculate === false || options.authorizationEndpoint !== undefined
        ? new Map()
        : speculate(serverUrl, { http, clock, signal });
    return this.#speculation;
  }

  /** Where a login can begin at once. A store that cannot be read now says nothing. */
  storedServer(): Promise<Discovery | undefined> {
    this.#stored ??= storedLoginServer(this.#session).catch(() => undefined);
    return this.#stored;
  }

  /** Aborts speculative requests when the server needs no login. None start again: by a later login they would be out of date. */
  stopSpeculating(): void {
    if (this.#speculation?.size && !this.running) this.#dropSpeculation(new Map());
  }

  /** Starts a login, or joins the running one. @throws McpAuthError `login_required`, and what `logInOnce` throws */
  ask(plan: Omit<LoginPlan, "signal" | "speculation" | "waitingSince">): Promise<TokenRecord> {
    if (this.#session.disposed) throw this.#session.disposed;
    if (!this.isPossible) throw this.#token.loginRequired();
    return this.#flight.run(async () => {
      const session = this.#session;
      const loginPlan = { ...plan, speculation: this.#speculation, signal: this.#end.signal, waitingSince: session.clock.now() };
      try {
        // Loaded only when it is needed: most processes find a stored login.
        const { logInOnce } = await import("./lock.ts");
        const record = await logInOnce(session, loginPlan);
        this.#token.use(record, isRefreshed(record, plan.known) ? "store" : "login");
        this.#pause.end();
        return record;
      } catch (error) {
        remember(session, error);
        // A login that `end()` aborts was not refused.
        if (error instanceof McpAuthError && !error.transient && !this.#end.signal.aborted) this.#pause.start(error, pauseAfterRefusalMs);
        throw error;
      } finally {
        this.#dropSpeculation(undefined);
      }
    });
  }

  /** The error of the last login, during the pause after it. */
  get refusal(): McpAuthError | undefined {
    return this.#pause.reason;
  }

  /** Keeps requests from opening one browser window after another. @throws McpAuthError {@link refusal} */
  throwIfRefused(): void {
    if (this.refusal) throw this.refusal;
  }

  /**
   * Waits for a login on behalf of a request. After the time limit the login goes on, but this request fails: its sender may
   * have repeated it.
   *
   * @throws McpAuthError `login_pending`, and what the login throws
   */
  async waitFor(flight: Promise<TokenRecord>, signal: AbortSignal | undefined): Promise<"retry"> {
    const { clock, server } = this.#session;
    const limit = deadline(clock, this.#waitMs, () => new McpAuthError("login_pending", { serverUrl: server }), signal);
    try {
      await abortable(flight, limit.signal);
      return "retry";
    } finally {
      limit.stop();
    }
  }

  /** Aborts the running login, for all callers. */
  async end(reason: McpAuthError): Promise<void> {
    this.#end.abort(reason);
    await this.running?.catch(() => {});
    this.#end = new AbortController();
    this.#dropSpeculation(undefined);
  }

  /** Aborts speculative requests: one that hangs would keep the process alive. A login that still needs them asks again. */
  #dropSpeculation(speculation: Speculation | undefined): void {
    this.#speculation = speculation;
    if (!speculation) this.#stored = undefined;
    this.#speculating.abort(new McpAuthError("network_error"));
    this.#speculating = new AbortController();
  }
}

/** Whether it is the login that was there before, refreshed by another process: as good as any that is found in the store. */
function isRefreshed(record: TokenRecord, known: TokenRecord | undefined): boolean {
  return known !== undefined && record.issuer === known.issuer && record.loggedInAt === known.loggedInAt;
}
