import { abortable, SingleFlight } from "../async.ts";
import { splitScope } from "../authorization/scopes.ts";
import type { CredentialRequest } from "../credential.ts";
import type { Challenge } from "../discovery/challenge.ts";
import { codeOf, McpAuthError } from "../errors.ts";
import type { LoginPrompt } from "../login/prompt.ts";
import type { Session } from "../login/session.ts";
import { demandsOf, grantedScopes, isLoginTooOld, reportEnd, StepUpMemory } from "../login/step-up.ts";
import type { Origin } from "../tokens/cached-token.ts";
import { hasMoved, hasMovedMeanwhile } from "../tokens/moved-server.ts";
import { tokenRefused } from "../tokens/presented-token.ts";
import { remember } from "../tokens/session.ts";
import { Settling } from "../tokens/settling.ts";
import type { CurrentToken } from "./current-token.ts";
import { hasLostSession } from "./lost-session.ts";
import { hasMetadata } from "./own-metadata.ts";

/** What to do about requests that the protected server refused. */
export class RefusedRequest {
  readonly #session: Session;
  readonly #token: CurrentToken;
  readonly #prompt: LoginPrompt;
  readonly #settling: Settling;
  readonly #looking = new SingleFlight<boolean>();
  readonly #stepUps = new StepUpMemory();
  /** Lacks of scopes that a refresh has not ended. */
  readonly #lasting = new StepUpMemory();
  /** A session that the server has lost. */
  #lost: string | undefined;

  constructor(session: Session, token: CurrentToken, prompt: LoginPrompt) {
    this.#session = session;
    this.#token = token;
    this.#prompt = prompt;
    this.#settling = new Settling(session.clock);
  }

  /** Whether no refusal is remembered that limits what follows. */
  get isAtRest(): boolean {
    const now = this.#session.clock.now();
    return this.#stepUps.isEmpty(now) && this.#lasting.isEmpty(now);
  }

  /**
   * 401: another token, by what costs least: one that is here already, the same after a moment, a refresh, a login of somebody
   * else, a login.
   */
  async onRefusedToken(challenge: Challenge, refused: string | undefined, request: CredentialRequest): Promise<"retry" | "give-up"> {
    const token = this.#token;
    await token.load(request.signal);
    // A late refusal of an old token says nothing about the newer one.
    if (token.isOtherThan(refused)) return "retry";

    if (refused !== undefined && token.presentOther(refused)) return "retry";
    if (refused !== undefined && token.isUnsettled && (await this.#settling.pause(refused, request))) return "retry";
    const { record: known } = token;
    if (known && this.#isUntried(refused, "login")) {
      remember(this.#session, tokenRefused(this.#session, known, challenge));
      return "give-up";
    }
    if (await this.#isInLostSession(refused, request)) return "give-up";
    const movedFrom = await this.#renew(challenge, refused, request.signal);
    if (!movedFrom && token.isOtherThan(refused)) return "retry";

    // A stream that reconnects at night opens no browser.
    if (request.method !== "POST") throw token.loginRequired();
    if (this.#prompt.isPossible) this.#prompt.throwIfRefused();
    const operation = refused === undefined ? request.operation : undefined;
    return this.#prompt.waitFor(this.#prompt.ask({ challenge, operation, known: token.record ?? known, movedFrom }), request.signal);
  }

  /**
   * A response that no MCP server gives: one refresh, unless the token is news. Without a token a login, where the server's
   * metadata say that there is one.
   */
  async onForeignResponse(
    { challenge, error }: { challenge: Challenge; error: McpAuthError },
    refused: string | undefined,
    request: CredentialRequest,
  ): Promise<"retry" | "give-up"> {
    const token = this.#token;
    await token.load(request.signal);
    if (token.isOtherThan(refused)) return "retry";
    if (refused === undefined) {
      const isLogin = this.#prompt.isPossible && (await abortable(hasMetadata(this.#session, this.#prompt.speculate()), request.signal));
      if (isLogin) return this.onRefusedToken(challenge, refused, request);
    } else if (!token.isNews && token.record?.refreshToken) {
      const fault = await this.#refresh(true, request.signal).catch((cause: unknown) => cause);
      if (fault instanceof McpAuthError) remember(this.#session, fault);
      if (fault) return "give-up";
      // Where the refresh was refused, too, no token is left: what the server says then decides.
      if (token.bearer !== refused) return "retry";
    }
    remember(this.#session, error);
    return "give-up";
  }

  /**
   * 403 for lack of scopes, 401 for an authentication that is too weak or too old (RFC 9470): a login with more of them,
   * within limits (REQ-STEP-03). A refresh would change neither, but for scopes that the token has.
   *
   * @param insufficient what to say where there is nobody to ask
   */
  async onInsufficientLogin(
    challenge: Challenge,
    insufficient: McpAuthError,
    refused: string | undefined,
    request: CredentialRequest,
  ): Promise<"retry" | "give-up"> {
    const { clock, emit } = this.#session;
    // Another manager or process may have asked the user.
    if (!this.#token.isOtherThan(refused)) await abortable(this.#token.reload(), request.signal);
    if (this.#token.isOtherThan(refused)) return "retry";
    const { record } = this.#token;
    const { running } = this.#prompt;
    if (running) return this.#prompt.waitFor(running, request.signal);

    const wanted = demandsOf(challenge);
    const cause = `${challenge.error} ${wanted.join(" ")}\n${request.operation}`;
    if (await this.#hadExpired(challenge, refused, request, [cause, insufficient])) return "retry";
    if (request.method !== "POST") throw insufficient;
    const scopes = splitScope(challenge.scope);
    const fail = () => emit({ type: "step-up.failed", scopes, code: insufficient.code });
    if (!this.#prompt.isPossible) {
      fail();
      throw insufficient;
    }
    const refusal = this.#stepUps.refusal(wanted, clock.now());
    if (refusal) throw refusal;
    if (isLoginTooOld(challenge, record?.loggedInAt, clock.now())) this.#stepUps.forgive(cause);
    const attempt = this.#stepUps.attempt(cause, clock.now());
    if (attempt === undefined) {
      fail();
      remember(this.#session, insufficient);
      return "give-up";
    }
    const { acrValues, maxAge } = challenge;
    emit({ type: "step-up.started", scopes, ...(acrValues && { acrValues }), ...(maxAge && { maxAge }), attempt });
    const stepUp = this.#prompt.ask({ challenge, known: record, scopes });
    reportEnd(emit, scopes, stepUp);
    stepUp.catch((error: unknown) => {
      if (codeOf(error)?.startsWith("authorization_")) this.#stepUps.refuse(wanted, error as McpAuthError, clock.now());
    });
    return this.#prompt.waitFor(stepUp, request.signal);
  }

  /**
   * Whether a refresh ends a lack of scopes that the token has: some servers tell so that it has expired. One refresh a
   * request; a lack that lasts is left alone for a while.
   */
  async #hadExpired(
    challenge: Challenge,
    refused: string | undefined,
    request: CredentialRequest,
    [cause, insufficient]: [string, McpAuthError],
  ): Promise<boolean> {
    const { record } = this.#token;
    if (challenge.error !== "insufficient_scope" || refused === undefined || !record) return false;
    const granted = grantedScopes(record);
    if (!splitScope(challenge.scope).every((scope) => granted.includes(scope))) return false;
    const now = this.#session.clock.now();
    if (request.refused?.length) this.#lasting.refuse([cause], insufficient, now);
    if (this.#lasting.refusal([cause], now)) return false;
    return this.#token.renewed(refused, request.signal);
  }

  /**
   * Tries everything that needs no user: a refresh, and what others have got or are about to get.
   *
   * @returns the old authorization server, where the protected server has moved to another
   */
  async #renew(challenge: Challenge, refused: string | undefined, signal: AbortSignal | undefined): Promise<string | undefined> {
    const token = this.#token;
    const { record } = token;
    if (record && refused !== undefined) {
      const refreshing = this.#isUntried(refused, "refresh") ? undefined : this.#refresh(token.bearer === refused, signal);
      // Where it has moved, the old server's word, or silence, does not count.
      const looking = this.#looking.run(() => hasMoved(this.#session, challenge, record.issuer));
      const moved = refreshing ? hasMovedMeanwhile(this.#session.clock, looking, refreshing) : looking;
      if (await abortable(moved, signal)) return record.issuer;
      await refreshing;
    }
    // Another manager or process may have logged in or refreshed, or may be about to.
    if (!token.isOtherThan(refused) && !this.#prompt.running) {
      token.use(await abortable(this.#session.keeper.loadSettled(), signal), "store");
      if (token.freshness === "expired") await this.#refresh(false, signal);
    }
    return undefined;
  }

  /** Whether the refused token is new, comes from there, and was never accepted. */
  #isUntried(refused: string | undefined, origin: Origin): boolean {
    const token = this.#token;
    return refused !== undefined && token.bearer === refused && token.origin === origin && !token.accepted;
  }

  /** Whether it is the session, not the token, that the server refuses; `lastError` says so. */
  async #isInLostSession(refused: string | undefined, { sessionId, signal }: CredentialRequest): Promise<boolean> {
    if (refused === undefined || sessionId === undefined) return false;
    if (sessionId !== this.#lost) {
      if (!this.#isUntried(refused, "refresh") || !(await hasLostSession(this.#session, refused, sessionId, signal))) return false;
      this.#lost = sessionId;
    }
    const { server: serverUrl } = this.#session;
    const detail = "it has lost the session of this request, and takes the token outside of it";
    const hint = "Connect anew, with a new session. Tell the operator of the server that a lost session is answered by 404.";
    remember(
      this.#session,
      new McpAuthError("token_refused", { serverUrl, issuer: this.#token.record?.issuer, status: 401, detail, hint }),
    );
    return true;
  }

  /** A final refusal is no failure here: what follows it is a login. So is a long outage of the token endpoint. */
  async #refresh(isRefused: boolean, signal: AbortSignal | undefined): Promise<void> {
    try {
      if (isRefused) await abortable(this.#token.refresh({ reason: "refused" }), signal);
      else await this.#token.get(signal);
    } catch (error) {
      if (!this.#token.isInOutage || !this.#prompt.isPossible) throw error;
    }
  }
}
