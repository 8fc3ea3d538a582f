import { deadline } from "../../async.ts";
import { type Clock, systemClock } from "../../clock.ts";
import type { Credential } from "../../credential.ts";
import type { Challenge } from "../../discovery/challenge.ts";
import { McpAuthError } from "../../errors.ts";
import { Pause } from "../../pause.ts";
import { bearerHeaders } from "../bearer.ts";

/** What an SDK `authProvider` is made of: a `TokenManager`, or any credential that can say its token. */
export interface TokenSource extends Credential {
  /** The protected server. */
  readonly serverUrl: URL;
  /** The last failure to get a token. */
  readonly lastError?: McpAuthError | undefined;
  /** How long a request waits for a user, in ms. */
  readonly waitForLogin?: number;
  /** Logs in if the server asks for it. Absent where nobody can be asked. */
  authorize?(options?: { signal?: AbortSignal }): Promise<"authorized" | "not-required">;
  /** A valid token, without a login. */
  getAccessToken(): Promise<string>;
}

/** Options of `authProvider`. */
export interface AuthProviderOptions {
  /** Time, replaceable in tests. Default: `systemClock`. */
  clock?: Clock | undefined;
}

/** The SDKs do not say which token was refused: one that is younger than this, in ms, was most likely not meant. */
const youngMs = 30_000;
/** How long a failed login is not offered again by itself, in ms. */
const pauseAfterFailureMs = 60_000;

/** The token for interfaces that ask for it before every request and report a refusal without saying of what. */
export class ProvidedToken {
  readonly #source: TokenSource;
  readonly #clock: Clock;
  #token: string | undefined;
  /** While the token is young, as far as this object has seen. */
  readonly #young: Pause<true>;
  /** How often it was handed out since it changed or was refused. */
  #uses = 0;
  /** Why the last request goes without a token. */
  #refusal: McpAuthError | undefined;
  #notRequired = false;
  /** After a login that failed. */
  readonly #pause: Pause<McpAuthError>;

  constructor(source: TokenSource, { clock = systemClock }: AuthProviderOptions = {}) {
    this.#source = source;
    this.#clock = clock;
    this.#young = new Pause(clock);
    this.#pause = new Pause(clock);
  }

  /**
   * The current token, after a login where one is needed; `undefined` when the server wants none, and when none can be
   * had: an error would let an SSE transport reconnect for ever. The server's 401 ends that, and asks for the reason.
   *
   * @throws McpAuthError a transient fault
   */
  async get(): Promise<string | undefined> {
    this.#refusal = undefined;
    try {
      return await this.#current();
    } catch (error) {
      if (!(error instanceof McpAuthError) || error.transient) throw error;
      this.#refusal = error;
      return undefined;
    }
  }

  async #current(): Promise<string | undefined> {
    if (this.#notRequired) return undefined;
    let token: string;
    try {
      token = await this.#source.getAccessToken();
    } catch (error) {
      if (!(error instanceof McpAuthError) || error.transient || !this.#source.authorize) throw error;
      await this.#logIn();
      if (this.#notRequired) return undefined;
      token = await this.#source.getAccessToken();
    }
    if (token !== this.#token) {
      if (this.#token !== undefined) this.#young.start(true, youngMs);
      this.#token = token;
      this.#uses = 0;
    }
    // Answers are not shown here. That the SDK comes again says that the token was not refused.
    if (++this.#uses === 2) this.#source.onResponse?.(new Response(), bearerHeaders(token));
    return token;
  }

  /** The server answered 401 to some token of ours. @throws McpAuthError when a login was refused or is impossible */
  async onRefused(challenge: Challenge = { status: 401, challenges: [] }): Promise<void> {
    this.#notRequired = false;
    this.#uses = 0;
    if (this.#refusal) throw this.#refusal;
    if (this.#young.reason) return;
    const used = this.#token === undefined ? {} : bearerHeaders(this.#token);
    const decision = await this.#source.onChallenge(challenge, used, { method: "POST", url: this.#source.serverUrl });
    if (decision === "give-up")
      throw this.#source.lastError ?? new McpAuthError("token_refused", { serverUrl: this.#source.serverUrl.href });
    await this.#current();
  }

  async #logIn(): Promise<void> {
    if (this.#pause.reason) throw this.#pause.reason;
    const serverUrl = this.#source.serverUrl.href;
    const pending = new McpAuthError("login_pending", { serverUrl });
    const { signal, stop } = deadline(this.#clock, this.#source.waitForLogin ?? 50_000, () => pending);
    try {
      this.#notRequired = (await this.#source.authorize?.({ signal })) === "not-required";
    } catch (error) {
      if (signal.aborted) throw pending;
      if (error instanceof McpAuthError && !error.transient) this.#pause.start(error, pauseAfterFailureMs);
      throw error;
    } finally {
      stop();
    }
  }
}
