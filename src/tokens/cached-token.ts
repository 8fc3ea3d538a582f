import { abortable, finished, SingleFlight } from "../async.ts";
import { isTransient, McpAuthError } from "../errors.ts";
import { aheadAt, type Freshness, freshness } from "./freshness.ts";
import { RefreshBackoff } from "./refresh-backoff.ts";
import { historyOf, refusalOf } from "./refresh-history.ts";
import type { ServerSession } from "./session.ts";
import { type IssuedToken, sameTokens } from "./token-record.ts";

/** Why a refresh runs. Whoever joins a running one may raise its urgency. */
export interface RefreshDemand {
  /** `ahead`: the token is still good; `expired`: it is not, or soon; `refused`: the server said so; `missing`: there is none. */
  reason: "missing" | "ahead" | "expired" | "refused";
}

/** What a refresh has come to. */
export interface RefreshOutcome<R> {
  /** As it is now stored; `undefined` when there is none any more. */
  record: R | undefined;
  /** Why there is no new token although the server answered. */
  error?: McpAuthError;
  /** It is what another process had got: as old as that. */
  isShared?: boolean;
}

/** How tokens of one kind are read and refreshed. */
export interface Renewal<R extends IssuedToken> {
  /** Reads the store. */
  load(): Promise<R | undefined>;
  /** What is presented to the protected server. */
  bearer(record: R): string | undefined;
  /** What a new token is asked for with, if anything: once refused, it is left alone for a while. */
  grant(record: R | undefined): string | undefined;
  /** Whether a grant is left alone that another process was refused with: not before a user is asked. Default `false`. */
  heedsRefusals?: boolean;
  /** Gets a new token, once however many processes want it. */
  refresh(record: R | undefined, demand: RefreshDemand): Promise<RefreshOutcome<R>>;
}

/** Where the token in memory comes from: decides what its refusal means. */
export type Origin = "store" | "refresh" | "login";

/** How long after its issue the refusal of an untried token says that the servers disagree, in ms. */
const justIssuedMs = 60_000;
/** How long after its issue a token may still be unknown to the protected server, in ms. */
const settlingMs = 10_000;

/**
 * The access token in memory, kept fresh: read from the store once, refreshed ahead of expiry while callers use it,
 * refreshed before use only where it could expire on the way.
 */
export class CachedToken<R extends IssuedToken> {
  readonly #session: ServerSession;
  readonly #renewal: Renewal<R>;
  readonly #refreshing = new SingleFlight<RefreshOutcome<R>>();
  readonly #loading = new SingleFlight<void>();
  /** Of the running refresh; whoever joins may raise it. */
  #demand: RefreshDemand = { reason: "ahead" };
  #loaded = false;
  #record: R | undefined;
  #bearer: string | undefined;
  #jitter = Math.random();
  #timer: AbortController | undefined;
  #wasRead = false;
  /** Whether somebody reads it who cannot wait for the store. */
  #isRead = false;

  /** When the authorization server may be asked again. */
  readonly backoff: RefreshBackoff;
  /** Why the last refresh brought no token. */
  refusal: McpAuthError | undefined;
  #origin: Origin = "store";
  /** Whether a login or a refresh has just brought it, here or in a process for which this one has waited. */
  #isNew = false;
  /** Whether the protected server has taken this token. */
  accepted = false;

  constructor(session: ServerSession, renewal: Renewal<R>) {
    this.#session = session;
    this.#renewal = renewal;
    this.backoff = new RefreshBackoff(session.clock);
  }

  get record(): R | undefined {
    return this.#record;
  }

  /** What is presented to the protected server, however old it is. */
  get bearer(): string | undefined {
    return this.#bearer;
  }

  get freshness(): Freshness {
    return this.#record ? freshness(this.#record, this.#session.clock.now(), this.#jitter) : "expired";
  }

  /** Where the token comes from, while that is news: one that has lain unused for a while may have been good in between. */
  get origin(): Origin {
    // A clock that was put back must not make it news for longer.
    return this.#record && Math.abs(this.#session.clock.now() - this.#record.issuedAt) < justIssuedMs ? this.#origin : "store";
  }

  /** Whether a login or a refresh has just brought the token. */
  get isNews(): boolean {
    return this.#isNew && Math.abs(this.#session.clock.now() - (this.#record?.issuedAt ?? 0)) < justIssuedMs;
  }

  /** Whether the token was just issued and was not accepted yet: a refusal may be one of the first moments. */
  get isUnsettled(): boolean {
    const ageMs = this.#session.clock.now() - (this.#record?.issuedAt ?? 0);
    return this.#isNew && !this.accepted && Math.abs(ageMs) < settlingMs;
  }

  /** Settles with the refresh in flight, however that ends. */
  get running(): Promise<unknown> | undefined {
    return this.#refreshing.running?.catch(() => {});
  }

  /** Whether nothing runs, waits or is to be kept at hand: what is known here can be had from the store again. */
  get isAtRest(): boolean {
    return !this.#refreshing.running && !this.#loading.running && !this.#timer && !this.#isRead;
  }

  get isInOutage(): boolean {
    return this.backoff.isInOutage;
  }

  /** Whether there is a usable token that is not the refused one. */
  isOtherThan(refused: string | undefined): boolean {
    return this.#bearer !== refused && this.freshness !== "expired";
  }

  /** @param isNew whether it was just issued, where its origin does not say so */
  use(record: R | undefined, origin: Origin, isNew = origin !== "store"): void {
    this.#loaded = true;
    if (sameTokens(record, this.#record) && record !== undefined && origin !== "login") {
      this.#record = record;
      this.#recall(record);
      return;
    }
    this.#record = record;
    const bearer = record && this.#renewal.bearer(record);
    // A refresh may bring a new refresh token alone: what is known of the access token still holds. A login makes it new.
    if (bearer !== this.#bearer || origin === "login") {
      this.#bearer = bearer;
      this.#jitter = Math.random();
      this.#origin = origin;
      this.#isNew = isNew;
      this.accepted = false;
      if (bearer) {
        this.refusal = undefined;
        this.backoff.onAnswer();
      }
    }
    if (record) this.#recall(record);
    this.#arm();
  }

  /** Takes over what the login remembers of its refreshes. */
  #recall(record: R): void {
    const { failures, refusals } = historyOf(record);
    const heeded = this.#renewal.heedsRefusals ? refusals : undefined;
    this.backoff.recall(record.refreshToken, { failures, refusals: heeded });
    if (heeded) this.refusal ??= refusalOf(heeded, record.issuer);
  }

  /** Presents another part of the same record: what the renewal says now. Nobody has accepted that yet. */
  protected presentAnew(): void {
    this.#bearer = this.#record && this.#renewal.bearer(this.#record);
    this.accepted = false;
  }

  /** Reads the store, once. */
  async load(signal?: AbortSignal): Promise<void> {
    if (this.#loaded) return;
    await abortable(this.reload(), signal);
  }

  /** Reads the store again: another process may have logged in. */
  reload(): Promise<void> {
    return this.#loading.run(async () => this.use(await this.#renewal.load(), "store"));
  }

  /**
   * A token fit for a request, or `undefined` when there is none to be had: `refusal` may say why.
   *
   * @throws McpAuthError a transient fault, when the token is unusable and could not be refreshed now
   */
  async get(signal?: AbortSignal): Promise<string | undefined> {
    if (!this.#loaded) await this.load(signal);
    const record = this.#record;
    const fresh = this.freshness;
    if (fresh === "valid") return this.#bearer;
    if (fresh === "ahead") {
      this.refreshAhead();
      return this.#bearer;
    }
    const usable = fresh === "leeway" ? this.#bearer : undefined;
    const grant = this.#renewal.grant(record);
    if (!grant || !this.backoff.mayRefresh(grant, fresh)) return usable;
    try {
      await abortable(this.refresh({ reason: record ? "expired" : "missing" }), signal);
    } catch (error) {
      // No fault of network or store costs anybody a token that is still good; what a server refuses is not thrown.
      if (error instanceof McpAuthError && error.code !== "disposed" && this.freshness !== "expired") return this.#bearer;
      throw error;
    }
    return this.freshness === "expired" ? undefined : this.#bearer;
  }

  /** As {@link get}, and looks whether another manager or process has logged in meanwhile. */
  async find(signal?: AbortSignal): Promise<string | undefined> {
    const token = await this.get(signal);
    if (token !== undefined) return token;
    await abortable(this.reload(), signal);
    return this.get(signal);
  }

  /** Starts a refresh in the background, unless there is a reason not to. @param isAhead the token is still good */
  refreshAhead(isAhead = true): void {
    const grant = this.#renewal.grant(this.#record);
    if (!grant || this.#session.options.isEnding?.() || !this.backoff.mayRefresh(grant, isAhead ? "ahead" : "leeway")) return;
    this.refresh({ reason: isAhead ? "ahead" : this.#record ? "expired" : "missing" }).catch(() => {});
  }

  /** Refreshes, or joins the refresh that runs. @throws McpAuthError as the renewal, `disposed` */
  async refresh(demand: RefreshDemand): Promise<RefreshOutcome<R>> {
    // Nobody waits for what begins now: the process may end in the middle of it.
    if (this.#session.disposed) throw this.#session.disposed;
    const record = this.#record;
    if (!record && !this.#renewal.grant(record)) return { record };
    this.backoff.throwIfBusy();
    const isUrgent = demand.reason === "refused" || this.#demand.reason === "ahead";
    if (this.#refreshing.running && isUrgent) this.#demand.reason = demand.reason;
    return this.#refreshing.run(() => {
      this.#demand = { ...demand };
      const work = this.#refreshOnce(record, this.#demand);
      this.#session.options.waitUntil?.(work.catch(() => {}));
      return work;
    });
  }

  /**
   * Refreshes a token that may be good, because a server seems to refuse it. A refusal of the refresh deletes nothing, a fault
   * is none of the caller's.
   *
   * @returns whether there is a usable token that is not the refused one
   */
  async renewed(refused: string, signal?: AbortSignal): Promise<boolean> {
    const grant = this.#renewal.grant(this.#record);
    if (this.isOtherThan(refused)) return true;
    if (!grant || !this.backoff.mayRefresh(grant, this.freshness)) return false;
    await abortable(
      this.refresh({ reason: "ahead" }).catch(() => {}),
      signal,
    );
    return this.isOtherThan(refused);
  }

  /** The token, for one who cannot wait. Keeps itself fresh by a timer as long as it is read once a lifetime. */
  read(): string | undefined {
    this.#wasRead = true;
    this.#isRead = true;
    if (!this.#timer) this.#arm();
    const fresh = this.freshness;
    // After a long pause this read fails, and the next one need not.
    if (fresh !== "valid") this.refreshAhead(fresh === "ahead");
    return fresh === "expired" ? undefined : this.#bearer;
  }

  /** Waits for a refresh in flight until it is stored; starts none any more. */
  async dispose(): Promise<void> {
    this.#timer?.abort(finished);
    await this.running;
  }

  async #refreshOnce(record: R | undefined, demand: RefreshDemand): Promise<RefreshOutcome<R>> {
    try {
      const outcome = await this.#renewal.refresh(record, demand);
      this.backoff.onAnswer();
      // A refresh does not show that a login whose tokens were never accepted is good; nor does one that no refusal asked for.
      const origin =
        this.#origin === "login" && !this.accepted ? "login" : demand.reason === "refused" && !outcome.isShared ? "refresh" : "store";
      this.use(outcome.record, origin, true);
      if (outcome.error) {
        this.refusal = outcome.error;
        if (!(this.#renewal.heedsRefusals && outcome.record?.refreshHistory?.refusals))
          this.backoff.onRefusal(this.#renewal.grant(outcome.record), demand.reason === "ahead");
      }
      return outcome;
    } catch (error) {
      if (isTransient(error)) {
        this.backoff.onFault(error);
        this.#arm();
      }
      throw error;
    }
  }

  /** Wakes up when a refresh ahead is due, if the app wants that. Keeps no process alive. */
  #arm(): void {
    this.#timer?.abort(finished);
    this.#timer = undefined;
    const { clock, options } = this.#session;
    const record = this.#record;
    if (!record || !this.#renewal.grant(record) || record.expiresAt === undefined || this.#session.disposed) return;
    if (!options.keepFresh && !this.#wasRead) return;
    this.#wasRead = false;
    const timer = new AbortController();
    this.#timer = timer;
    const waitMs = Math.max(aheadAt(record, this.#jitter) - clock.now(), this.backoff.leftMs, 1000);
    clock.sleep(waitMs, { signal: timer.signal, background: true }).then(
      () => {
        this.#timer = undefined;
        if (clock.now() < aheadAt(record, this.#jitter)) this.#arm();
        else this.refreshAhead();
      },
      () => {},
    );
  }
}
