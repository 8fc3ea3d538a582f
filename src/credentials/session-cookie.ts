import { SingleFlight } from "../async.ts";
import { type Clock, systemClock } from "../clock.ts";
import type { CredentialRequest } from "../credential.ts";
import type { Challenge } from "../discovery/challenge.ts";
import { McpAuthError } from "../errors.ts";
import { checkOptions, clock as clockRule, having, needed, type Rules } from "../options.ts";
import { Pause } from "../pause.ts";
import { addressOf } from "./address.ts";
import { type CookieJar, memoryJar, withCookies } from "./cookies.ts";
import { credentialRules, ServerCredential, type ServerCredentialOptions } from "./server-credential.ts";
import { type SessionLogin, sessionLogin, sessionLoginRule } from "./session-login.ts";

/** Options of {@link SessionCookieCredential}. */
export interface SessionCookieOptions extends ServerCredentialOptions {
  /** The request that begins a session, or a function that makes it. */
  login: SessionLogin;
  /** Stores the cookies. Default: in memory, with `tough-cookie`, which must be installed. */
  jar?: CookieJar | undefined;
  /** Time, replaceable in tests. Default: `systemClock`. */
  clock?: Clock | undefined;
}

export const sessionCookieRules = (): Rules<SessionCookieOptions> => ({
  ...credentialRules(),
  login: needed(sessionLoginRule),
  jar: having("a cookie jar", "getCookieString", "setCookie"),
  clock: clockRule(),
});

/** Pause, in ms, after a login that failed or did not help: too many logins would lock the account. */
const pauseMs = 60_000;
/** How many values of `Cookie` are remembered in a session. */
const maxSent = 100;

/**
 * A session cookie. Logs in when there is no session, and again after a 401 or 403, once for all requests. Stores all cookies
 * that the server sets.
 *
 * Not for browsers: they store cookies themselves (`credentials: "include"`) and hide them from JavaScript.
 *
 * @see RFC 6265
 * @example
 * ```ts
 * const auth = new SessionCookieCredential({ serverUrl, login: { url: "https://mcp.example.com/login", body: { user, password } } });
 * await client.connect(new StreamableHTTPClientTransport(auth.serverUrl, { fetch: auth.fetch }));
 * ```
 */
export class SessionCookieCredential extends ServerCredential {
  /** Sends requests with the cookies, and stores those of each response. */
  readonly send: typeof globalThis.fetch;

  readonly #jar: () => Promise<CookieJar>;
  readonly #login: (jar: CookieJar) => Promise<void>;
  readonly #loggingIn = new SingleFlight<void>();
  /** Number of sessions so far. */
  #sessions = 0;
  /** The values of `Cookie` sent in this session, the newest last: servers may change cookies with each response. */
  #sent: readonly string[] = [];
  /** Holds the error of a login that failed or did not help. */
  readonly #pause: Pause<McpAuthError>;

  /** @throws McpAuthError `invalid_option` for a `login` that cannot be made; `invalid_url`, `insecure_url` */
  constructor(options: SessionCookieOptions) {
    super(checkOptions(options, sessionCookieRules()));
    const { jar, clock = systemClock } = options;
    let kept: Promise<CookieJar> | undefined;
    this.#jar = () => (kept ??= jar ? Promise.resolve(jar) : memoryJar());
    this.#pause = new Pause(clock);
    this.#login = sessionLogin({ ...options, clock }, this.serverUrl);
    this.send = async (input, init) => {
      const send = options.fetch ?? globalThis.fetch;
      if (addressOf(input).origin !== this.serverUrl.origin) return send(input, init);
      const session = this.#sessions;
      // A late refusal may delete the old session's cookie: it must not delete the new one.
      const isCurrent = () => session === this.#sessions && !this.#loggingIn.running;
      return withCookies(await this.#jar(), send, isCurrent)(input, init);
    };
  }

  /** Headers that authorise one request; see `Credential`. */
  async headers({ url }: CredentialRequest): Promise<Record<string, string>> {
    return this.remembering(async () => {
      const jar = await this.#jar();
      await this.#loggingIn.running?.catch(() => {});
      if (!(await jar.getCookieString(this.serverUrl.href))) await this.#begin();
      const cookie = await jar.getCookieString(url.href);
      const used: Record<string, string> = cookie ? { cookie } : {};
      if (cookie && cookie !== this.#sent.at(-1)) this.#sent = [...this.#sent.filter((other) => other !== cookie), cookie].slice(-maxSent);
      return used;
    });
  }

  /** A 403 may mean that the session has ended. */
  isChallenge(response: Response, used: Record<string, string>): boolean {
    return response.status === 403 && Boolean(used.cookie);
  }

  /** Decides what follows a refusal; see `Credential`. */
  async onChallenge(challenge: Challenge, used: Record<string, string>, request: CredentialRequest): Promise<"retry" | "give-up"> {
    // A late refusal of an older session: another request has logged in again.
    if (used.cookie && !this.#sent.includes(used.cookie)) return "retry";
    if (request.refused?.length) {
      // A new session did not help: the server refuses the user or the operation.
      const decision = this.giveUp(challenge);
      if (this.lastError) this.#pause.start(this.lastError, pauseMs);
      return decision;
    }
    if (this.#pause.reason) return this.giveUp(challenge);
    await this.remembering(() => this.#begin());
    return "retry";
  }

  #begin(): Promise<void> {
    return this.#loggingIn.run(async () => {
      if (this.#pause.reason) throw this.#pause.reason;
      try {
        await this.#login(await this.#jar());
      } catch (error) {
        if (error instanceof McpAuthError && !error.transient) this.#pause.start(error, pauseMs);
        throw error;
      }
      this.#sessions++;
      this.#sent = [];
      this.emit({ type: "credential.renewed", kind: "session" });
    });
  }
}
