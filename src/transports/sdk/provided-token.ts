import type { Credential } from "../../credential.ts";
import type { Challenge } from "../../discovery/challenge.ts";
import { McpAuthError } from "../../errors.ts";

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

/** The SDKs do not say which token was refused: one that is younger than this, in ms, was most likely not meant. */
const youngMs = 30_000;
/** How long a failed login is not offered again by itself, in ms. */
const pauseAfterFailureMs = 60_000;

/** The token for interfaces that ask for it before every request and report a refusal without saying of what. */
export class ProvidedToken {
  readonly #source: TokenSource;
  #token: string | undefined;
  /** When the token changed, as far as this object has seen, in ms since 1970. */
  #changedAt = 0;
  /** How often it was handed out since it changed or was refused. */
  #uses = 0;
  /** Why the last request goes without a token. */
  #refusal: McpAuthError | undefined;
  #notRequired = false;
  #failed: { error: McpAuthError; until: number } | undefined;

  constructor(source: TokenSource) {
    this.#source = source;
  }

  /**
   * The current token, after a login where one is needed; `undefined` when the server wants none, and when none can be
   * had: an error would let an SSE transport reconnect for ever. The server's 401 ends that, and asks for the reason.
   *
   * @throws McpAuthError what passes by itself
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
      if (this.#token !== undefined) this.#changedAt = Date.now();
      this.#token = token;
      this.#uses = 0;
    }
    // Answers are not shown here. That the SDK comes again says that the token was not refused.
    if (++this.#uses === 2) this.#source.onResponse?.(new Response(), bearer(token));
    return token;
  }

  /** The server answered 401 to some token of ours. @throws McpAuthError when a login was refused or is impossible */
  async onRefused(challenge: Challenge = { status: 401, challenges: [] }): Promise<void> {
    this.#notRequired = false;
    this.#uses = 0;
    if (this.#refusal) throw this.#refusal;
    if (Date.now() - this.#changedAt < youngMs) return;
    const used = this.#token === undefined ? {} : bearer(this.#token);
    const decision = await this.#source.onChallenge(challenge, used, { method: "POST", url: this.#source.serverUrl });
    if (decision === "give-up")
      throw this.#source.lastError ?? new McpAuthError("token_refused", { serverUrl: this.#source.serverUrl.href });
    await this.#current();
  }

  async #logIn(): Promise<void> {
    if (this.#failed && Date.now() < this.#failed.until) throw this.#failed.error;
    const serverUrl = this.#source.serverUrl.href;
    const signal = AbortSignal.timeout(this.#source.waitForLogin ?? 50_000);
    try {
      this.#notRequired = (await this.#source.authorize?.({ signal })) === "not-required";
    } catch (error) {
      if (signal.aborted) throw new McpAuthError("login_pending", { serverUrl });
      if (error instanceof McpAuthError && !error.transient) this.#failed = { error, until: Date.now() + pauseAfterFailureMs };
      throw error;
    }
  }
}

const bearer = (token: string): Record<string, string> => ({ authorization: `Bearer ${token}` });
