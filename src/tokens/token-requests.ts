import { finished } from "../async.ts";
import type { Clock } from "../clock.ts";
import { McpAuthError } from "../errors.ts";
import { faultOf } from "../http/fault.ts";
import type { Http } from "../http/http.ts";
import { Pause } from "../pause.ts";
import { Gate } from "./gate.ts";
import type { ServerSession } from "./session.ts";

/** Token requests in flight, at most, an authorization server and process. */
const usualLimit = 16;
/**
 * So many logins may be locked for each request in flight: their notes are written together, and the next request can be sent at
 * once. Fewer where a server is slow: who holds a lock should send within a second or two.
 */
const lockedForEach = { least: 2, most: 16, aheadMs: 1000 };
/** How long somebody waits for the lock of a login before the next one may try, in ms. */
const lockPatienceMs = 1000;
/** Nobody waits longer than this because a server asks for it, in ms. */
const longestWaitMs = 30_000;
/** The longest time that a server can ask for, in ms. */
const longestPauseMs = 300_000;

/**
 * The token requests of this process to one authorization server: bounded, first come, first served between the logins. A busy
 * server (429, 503) gets half as many at once, and one more for each round that it answers (additive increase,
 * multiplicative decrease).
 */
export class TokenRequests {
  readonly #clock: Clock;
  readonly #inFlight: Gate;
  readonly #locked: Gate;
  /** The error of a server that asked for time. */
  readonly #closed: Pause<McpAuthError>;
  readonly #issuer: string;
  readonly #onIdle: () => void;
  #most = usualLimit;
  #limit = usualLimit;
  /** How many requests were sent, and how many of them before the limit was lowered last. */
  #sent = 0;
  #sentBeforeLowered = 0;
  #answeredAt = 0;
  /** How long an answer takes, in ms: the newest count most. */
  #answerMs = 250;
  /** Whether a timer runs that opens the gate for those who wait. */
  #opensLater = false;

  constructor(issuer: string, clock: Clock, onIdle: () => void) {
    this.#issuer = issuer;
    this.#clock = clock;
    this.#onIdle = onIdle;
    this.#closed = new Pause(clock);
    this.#inFlight = new Gate(() => (this.#closed.reason ? 0 : Math.floor(this.#limit)));
    this.#locked = new Gate(() => Math.floor(this.#limit) * this.#lockedForEach);
  }

  /** @param most token requests in flight, as the last manager says */
  allow(most: number): this {
    this.#limit = this.#limit === this.#most ? most : Math.min(this.#limit, most);
    this.#most = most;
    return this;
  }

  /**
   * Runs `work`, which takes the lock of a login: few locks are held at once, however many logins expire together. Whoever waits
   * for a lock that another process holds keeps nobody else from working.
   *
   * @param work calls `onLock` when it has the lock
   * @throws what `work` throws; the `timeout` of a server that answers nobody; `disposed` where a manager or process has ended meanwhile
   */
  async whileLocked<T>(session: ServerSession, work: (onLock: () => void) => Promise<T>): Promise<T> {
    const waited = await this.#enter(this.#locked);
    const over = waited && overReason(session);
    if (over) {
      this.#locked.leave();
      throw over;
    }
    let isInside = true;
    const patience = new AbortController();
    this.#clock.sleep(lockPatienceMs, { signal: patience.signal, background: true, limit: true }).then(
      () => {
        isInside = false;
        this.#locked.leave();
      },
      () => {},
    );
    const onLock = () => {
      patience.abort(finished);
      if (!isInside) this.#locked.comeBack();
      isInside = true;
    };
    try {
      return await work(onLock);
    } finally {
      patience.abort(finished);
      if (isInside) this.#locked.leave();
      this.#forgetIfIdle();
    }
  }

  /** Sends one token request, when it may be sent. @throws what `send` throws; the `timeout` of a server that answers nobody */
  async send(send: () => Promise<Response>): Promise<Response> {
    await this.#enter(this.#inFlight);
    const sentAt = this.#clock.now();
    const number = ++this.#sent;
    try {
      const response = await send();
      this.#answeredAt = this.#clock.now();
      this.#answerMs += (Math.max(this.#answeredAt - sentAt, 1) - this.#answerMs) / 8;
      this.#adapt(response, number);
      return response;
    } catch (error) {
      // Whoever has waited as long as this request would wait in vain.
      if (error instanceof McpAuthError && error.code === "timeout" && this.#answeredAt < sentAt) this.#refuse(sentAt, error);
      throw error;
    } finally {
      this.#inFlight.leave();
      this.#forgetIfIdle();
    }
  }

  /** @throws McpAuthError `rate_limited`, `server_error` of a server that asked for more time than anybody waits; its `timeout` */
  async #enter(gate: Gate): Promise<boolean> {
    if (this.#closed.leftMs > longestWaitMs) throw this.#closed.reason;
    const entered = gate.enter(this.#clock.now());
    this.#openLater();
    return entered;
  }

  get #lockedForEach(): number {
    const { least, most, aheadMs } = lockedForEach;
    return Math.min(Math.max(Math.round(aheadMs / this.#answerMs), least), most);
  }

  #adapt(response: Response, number: number): void {
    if (response.status !== 429 && response.status !== 503) {
      this.#limit = Math.min(this.#limit + 1 / this.#limit, this.#most);
      this.#locked.open();
      return;
    }
    // What was sent before the server's last complaint says nothing new.
    if (number > this.#sentBeforeLowered) {
      this.#limit = Math.max(1, this.#limit / 2);
      this.#sentBeforeLowered = this.#sent;
    }
    const fault = faultOf(response, { issuer: this.#issuer, party: "authorization-server" }, this.#clock.now());
    const pauseMs = Math.min(fault?.retryAfterMs ?? 0, longestPauseMs);
    if (!fault || pauseMs <= this.#closed.leftMs) return;
    this.#closed.start(fault, pauseMs);
    if (pauseMs > longestWaitMs) this.#refuse(this.#clock.now(), fault);
    this.#openLater();
  }

  /** Lets those in who wait for the end of a pause, however long it was when it began. The process stays alive for them. */
  #openLater(): void {
    if (this.#opensLater || !this.#inFlight.isAwaited || this.#closed.leftMs === 0) return;
    this.#opensLater = true;
    void this.#clock.sleep(this.#closed.leftMs).then(() => {
      this.#opensLater = false;
      this.#inFlight.open();
      // A clock that was put back, or a server that has asked for more time meanwhile.
      this.#openLater();
    });
  }

  #refuse(since: number, reason: McpAuthError): void {
    this.#inFlight.refuse(since, reason);
    this.#locked.refuse(since, reason);
  }

  #forgetIfIdle(): void {
    if (this.#inFlight.isEmpty && this.#locked.isEmpty && this.#limit === this.#most && !this.#closed.reason) this.#onIdle();
  }
}

/** Why nothing may begin any more. */
function overReason({ disposed, options, server }: ServerSession): McpAuthError | undefined {
  if (disposed || !options.isEnding?.()) return disposed;
  return new McpAuthError("disposed", { serverUrl: server, detail: "the process ends" });
}

/** By their issuers. A clock of a test's own has requests of its own. */
const servers = new WeakMap<Clock, Map<string, TokenRequests>>();

/** The requests of all managers of this process to one authorization server. Use them at once: nothing is kept while nobody waits. */
export function tokenRequests({ clock, options }: ServerSession, issuer: string): TokenRequests {
  const known = servers.get(clock) ?? new Map<string, TokenRequests>();
  servers.set(clock, known);
  const requests = known.get(issuer) ?? new TokenRequests(issuer, clock, () => known.delete(issuer));
  known.set(issuer, requests);
  return requests.allow(options.maxTokenRequests ?? usualLimit);
}

/**
 * What sends token requests to one authorization server, each when it may be sent.
 *
 * @param onSend called immediately before a request is sent; returns the time for it, in ms
 */
export function tokenHttp(session: ServerSession, issuer: string, onSend?: () => number): Http {
  const { http } = session;
  return { ...http, fetch: (url, init) => tokenRequests(session, issuer).send(() => http.fetch(url, init, onSend?.())) };
}
