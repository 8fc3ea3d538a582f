import { deadline } from "../../async.ts";
import { type Clock, systemClock } from "../../clock.ts";
import type { Credential } from "../../credential.ts";
import type { Challenge } from "../../discovery/challenge.ts";
import { McpAuthError } from "../../errors.ts";
import { checkOptions, clock as clockRule, having, needed } from "../../options.ts";
import { Pause } from "../../pause.ts";
import { bearerHeaders } from "../bearer.ts";

/** What `authProvider` needs: a `TokenManager`, or any credential that can return its token. */
export interface TokenSource extends Credential {
  /** The protected server. */
  readonly serverUrl: URL;
  /** The last failure to get a token. */
  readonly lastError?: McpAuthError | undefined;
  /** How long a request waits for a user, in ms. */
  readonly loginPendingTimeout?: number;
  /** Logs in if the server needs a token. Absent if there is no user to ask. */
  authorize?(options?: { signal?: AbortSignal }): Promise<"authorized" | "not-required">;
  /** A valid token, without a login. */
  getAccessToken(): Promise<string>;
}

/** Options of `authProvider`. */
export interface AuthProviderOptions {
  /** Time, replaceable in tests. Default: `systemClock`. */
  clock?: Clock | undefined;
}

/** The SDKs do not say which token was refused. A token younger than this, in ms, probably was not the one. */
const youngMs = 30_000;
/** How long no login starts by itself after a failed one, in ms. */
const pauseAfterFailureMs = 60_000;

/** The token for interfaces that ask for it before each request, and report a refusal without the refused token. */
export class ProvidedToken {
  readonly #source: TokenSource;
  readonly #clock: Clock;
  #token: string | undefined;
  /** Runs while the token is young, as far as this object knows. */
  readonly #young: Pause<true>;
  /** How often the token was returned since it changed or was refused. */
  #uses = 0;
  /** Why the last request has no token. */
  #refusal: McpAuthError | undefined;
  #notRequired = false;
  /** Holds the error of a failed login. */
  readonly #pause: Pause<McpAuthError>;

  /** @throws McpAuthError `invalid_option` */
  constructor(auth: TokenSource, options: AuthProviderOptions = {}) {
    checkOptions({ auth }, { auth: needed(having("a token manager", "getAccessToken", "headers", "onChallenge")) });
    checkOptions(options, { clock: clockRule() });
    const { clock = systemClock } = options;
    this.#source = auth;
    this.#clock = clock;
    this.#young = new Pause(clock);
    this.#pause = new Pause(clock);
  }

  /**
   * The current token, after a login if one is needed. `undefined` if the server needs none, or if there is none: after an
   * error an SSE transport would reconnect again and again. The server's 401 ends that, and `onRefused` throws the error.
   *
   * @throws McpAuthError transient errors
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
    // Responses are not visible here. A second call without a refusal means that the server accepted the token.
    if (++this.#uses === 2) this.#source.onResponse?.(new Response(), bearerHeaders(token));
    return token;
  }

  /** Handles a 401 for a token of this object. @throws McpAuthError when a login was refused or is impossible */
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
    const { signal, stop } = deadline(this.#clock, this.#source.loginPendingTimeout ?? 50_000, () => pending);
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
