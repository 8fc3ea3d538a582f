import { splitScope } from "../authorization/scopes.ts";
import type { Credential, CredentialRequest } from "../credentials/credential.ts";
import type { Challenge } from "../discovery/challenge.ts";
import { type Speculation, speculate } from "../discovery/discovery.ts";
import { discoverProtectedResource } from "../discovery/resource-metadata.ts";
import { isSameIssuer } from "../discovery/server-metadata.ts";
import { InsufficientScopeError, LoginRequiredError, McpAuthError } from "../errors.ts";
import { abortable } from "../http/http.ts";
import { authFetch } from "../transports/fetch.ts";
import { type LiveRequestInit, liveRequestInit } from "../transports/request-init.ts";
import { CurrentToken } from "./current-token.ts";
import { type GivenTokens, giveTokens } from "./given-tokens.ts";
import { type LoginPlan, login } from "./login.ts";
import { type LogoutResult, logout } from "./logout.ts";
import type { TokenManagerOptions } from "./options.ts";
import { probe } from "./probe.ts";
import { createSession, type Session } from "./session.ts";
import { SingleFlight } from "./single-flight.ts";
import { StepUpMemory } from "./step-up.ts";
import type { TokenRecord } from "./token-record.ts";

/** How long a login that was refused is not offered again by itself, in ms. */
const pauseAfterRefusedLoginMs = 60_000;
const defaultWaitForLoginMs = 50_000;

/**
 * A person's login at one protected server: the credential that logs in when it must, refreshes before anybody
 * notices, and asks for more scopes when an operation needs them.
 *
 * However many calls, managers and processes share a login, it is refreshed once. Any number of transports may use
 * one manager.
 *
 * @example
 * ```ts
 * const auth = new TokenManager({ serverUrl: "https://mcp.example.com/mcp", loginHandler });
 * await auth.authorize();
 * await client.connect(new StreamableHTTPClientTransport(auth.serverUrl, { fetch: auth.fetch }));
 * ```
 */
export class TokenManager implements Credential {
  /** The protected server. */
  readonly serverUrl: URL;
  /** A `fetch` that authorises requests to the protected server; see {@link authFetch}. */
  readonly fetch: typeof globalThis.fetch;

  readonly #session: Session;
  readonly #token: CurrentToken;
  readonly #loggingIn = new SingleFlight<TokenRecord>();
  readonly #checkingMove = new SingleFlight<boolean>();
  readonly #stepUps = new StepUpMemory();
  readonly #disposed = new AbortController();
  #speculation: Speculation | undefined;
  #refusedLogin: { error: McpAuthError; until: number } | undefined;
  #lastError: McpAuthError | undefined;

  /** @throws McpAuthError `invalid_url`, `insecure_url`, `invalid_option` */
  constructor(options: TokenManagerOptions) {
    this.#session = createSession(options);
    this.serverUrl = new URL(this.#session.serverUrl);
    this.#token = new CurrentToken(this.#session);
    this.fetch = authFetch(this, this.serverUrl, { fetch: options.fetch });
  }

  /** The last failure to get a token, for transports that lose errors (SSE). Cleared by the next success. */
  get lastError(): McpAuthError | undefined {
    return this.#lastError;
  }

  /**
   * Logs in if the server asks for it. Returns at once when a login is stored. The person has `loginTimeout`, longer
   * than an SDK request may take: call it before `connect`.
   *
   * @param options.scopes scopes that the login must have; one without them is made anew
   * @param options.signal ends the waiting; the login goes on for others
   * @returns `not-required` when the server answers without a login
   * @throws McpAuthError `login_required` when no person can be asked; every code of discovery, registration and
   *   authorization; `network_error`, `timeout`, `server_error`, `rate_limited` when the server cannot be asked
   */
  async authorize(
    options: { scopes?: readonly string[] | undefined; signal?: AbortSignal | undefined } = {},
  ): Promise<"authorized" | "not-required"> {
    const { scopes, signal } = options;
    return this.#remembering(async () => {
      if (await this.#hasLogin(scopes, signal)) return "authorized";
      if (!this.#loggingIn.running) {
        const speculation = this.#speculate();
        const challenge = await probe(this.#session, signal);
        if (!challenge && !scopes && !(await this.#hasMetadata(speculation))) return "not-required";
        this.#assertPerson();
        await abortable(this.#login({ challenge, speculation, known: this.#token.record, scopes }), signal);
      } else {
        await abortable(this.#loggingIn.running, signal);
      }
      return "authorized";
    });
  }

  /**
   * A valid access token, for one who sends it by other means than `fetch`. Never logs in.
   *
   * @param options.signal ends the waiting for a refresh
   * @throws McpAuthError `login_required` when there is no login, or it is over (`cause` says why); a passing fault
   */
  async getAccessToken(options: { signal?: AbortSignal | undefined } = {}): Promise<string> {
    return this.#remembering(async () => {
      this.#assertUsable();
      const token = await this.#token.get(options.signal);
      if (token === undefined) throw this.#loginRequired();
      return token;
    });
  }

  /**
   * Takes over tokens that were obtained elsewhere; they replace the stored login.
   *
   * @throws McpAuthError `invalid_option` when a refresh token comes without the issuer and client that it belongs to
   */
  async setTokens(tokens: GivenTokens): Promise<void> {
    this.#assertUsable();
    this.#token.use(await giveTokens(this.#session, tokens), "store");
  }

  /** Revokes the login at the authorization server, as far as it can, and deletes it here. @throws McpAuthError `lock_timeout`, `store_failed` */
  async logout(): Promise<LogoutResult> {
    await this.#token.load();
    const result = await logout(this.#session, this.#token.record);
    this.#token.use(undefined, "store");
    return result;
  }

  /**
   * A live `requestInit` for SDK transports that cannot be given a `fetch`: its `headers` always hold the current
   * token. It cannot log in, retry or step up, and throws `login_required` without a valid token.
   */
  requestInit(): LiveRequestInit {
    return liveRequestInit(() => {
      this.#assertUsable();
      const token = this.#token.read();
      if (token === undefined) throw this.#loginRequired();
      return token;
    });
  }

  async headers(request: CredentialRequest): Promise<Record<string, string>> {
    this.#assertUsable();
    let token: string | undefined;
    try {
      token = await this.#token.get(request.signal);
    } catch (error) {
      // After a long outage of the token endpoint a person may be asked, if the server still wants a token.
      if (!(request.method === "POST" && this.#token.isInOutage && this.#hasPerson)) throw this.#remember(error);
    }
    if (token !== undefined) return { authorization: `Bearer ${token}` };
    if (request.method === "POST") this.#speculate();
    return {};
  }

  onResponse(response: Response, used: Record<string, string>): void {
    if (this.#token.accepted || response.status >= 500 || bearerOf(used) !== this.#token.bearer) return;
    this.#token.accepted = true;
    this.#lastError = undefined;
  }

  onChallenge(challenge: Challenge, used: Record<string, string>, request: CredentialRequest): Promise<"retry" | "give-up"> {
    return this.#remembering(() =>
      challenge.error === "insufficient_scope"
        ? this.#onInsufficientScope(challenge, used, request)
        : this.#onRefusedToken(challenge, used, request),
    );
  }

  /** Waits for a refresh in flight until it is stored, ends a login in progress, and uses no timer any more. */
  async dispose(): Promise<void> {
    this.#disposed.abort(new McpAuthError("disposed", { serverUrl: this.#session.server }));
    await this.#loggingIn.running?.catch(() => {});
    await this.#token.dispose();
    await this.#session.keeper.dispose();
  }

  /** For `await using`: {@link dispose}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  async #onRefusedToken(challenge: Challenge, used: Record<string, string>, request: CredentialRequest): Promise<"retry" | "give-up"> {
    const refused = bearerOf(used);
    const token = this.#token;
    await token.load(request.signal);
    // A late refusal of an old token says nothing about the newer one.
    if (token.bearer !== refused && token.freshness !== "expired") return "retry";

    let movedFrom: string | undefined;
    const record = token.record;
    if (record && refused !== undefined && token.bearer === refused) {
      if (token.origin === "login" && !token.accepted) {
        this.#remember(
          new McpAuthError("token_refused", { serverUrl: this.#session.server, issuer: record.issuer, status: challenge.status }),
        );
        return "give-up";
      }
      const refreshing = token.origin === "refresh" && !token.accepted ? undefined : this.#refreshRefused(refused, request.signal);
      // The server may have moved to another authorization server, which a refresh at the old one would not show.
      const checking = abortable(
        this.#checkingMove.run(() => this.#hasMoved(challenge, record)),
        request.signal,
      );
      const [moved] = await Promise.all([checking, refreshing]);
      if (moved) movedFrom = record.issuer;
      else if (token.bearer !== refused && token.freshness !== "expired") return "retry";
    }
    if (!movedFrom && (await this.#foundLogin(refused))) return "retry";
    return this.#loginFor(request, { challenge, speculation: this.#speculation, known: token.record ?? record, movedFrom });
  }

  /** Another manager or process may have logged in meanwhile. */
  async #foundLogin(refused: string | undefined): Promise<boolean> {
    if (this.#loggingIn.running) return false;
    const token = this.#token;
    await token.reload();
    return token.bearer !== refused && token.freshness !== "expired";
  }

  /** A final refusal is no failure here: what follows it is a login. */
  async #refreshRefused(refusedToken: string, signal: AbortSignal | undefined): Promise<void> {
    try {
      await abortable(this.#token.refresh({ reason: "refused", refusedToken }), signal);
    } catch (error) {
      if (!this.#token.isInOutage || !this.#hasPerson) throw error;
    }
  }

  async #hasMoved(challenge: Challenge, { issuer }: TokenRecord): Promise<boolean> {
    const { serverUrl, http, clock, options } = this.#session;
    try {
      const resource = await discoverProtectedResource(serverUrl, { http, clock, challenge });
      return resource?.authorizationServers.every((name) => !isSameIssuer(name, issuer, options.strictIssuer)) ?? false;
    } catch {
      return false;
    }
  }

  async #onInsufficientScope(challenge: Challenge, used: Record<string, string>, request: CredentialRequest): Promise<"retry" | "give-up"> {
    const { server: serverUrl, clock, emit } = this.#session;
    const { record, bearer } = this.#token;
    if (bearer !== bearerOf(used) && this.#token.freshness !== "expired") return "retry";
    const running = this.#loggingIn.running;
    if (running) return this.#waitForPerson(running, request);

    const scopes = splitScope(challenge.scope);
    const details = { serverUrl, issuer: record?.issuer };
    if (request.method !== "POST" || !this.#hasPerson) throw new InsufficientScopeError(scopes, details);
    const refusal = this.#stepUps.refusal(scopes, clock.now());
    if (refusal) throw refusal;
    const attempt = this.#stepUps.attempt(`${scopes.join(" ")}\n${request.operation}`, clock.now());
    if (attempt === undefined) {
      this.#remember(new InsufficientScopeError(scopes, details));
      return "give-up";
    }
    emit({ type: "step-up.started", serverUrl, scopes, attempt });
    const stepUp = this.#login({ challenge, known: record, scopes });
    stepUp.catch((error: unknown) => {
      if (error instanceof McpAuthError && !error.passing) this.#stepUps.refuse(scopes, error, clock.now());
    });
    return this.#waitForPerson(stepUp, request);
  }

  #loginFor(request: CredentialRequest, plan: Omit<LoginPlan, "signal">): Promise<"retry"> {
    // A stream that reconnects at night opens no browser.
    if (request.method !== "POST") throw this.#loginRequired();
    this.#assertPerson();
    const refused = this.#refusedLogin;
    if (refused && this.#session.clock.now() < refused.until) throw refused.error;
    return this.#waitForPerson(this.#login(plan), request);
  }

  #login(plan: Omit<LoginPlan, "signal">): Promise<TokenRecord> {
    return this.#loggingIn.run(async () => {
      const { clock } = this.#session;
      try {
        this.#assertUsable();
        const record = await login(this.#session, { ...plan, signal: this.#disposed.signal });
        this.#token.use(record, "login");
        this.#refusedLogin = undefined;
        return record;
      } catch (error) {
        this.#remember(error);
        if (error instanceof McpAuthError && !error.passing) this.#refusedLogin = { error, until: clock.now() + pauseAfterRefusedLoginMs };
        throw error;
      } finally {
        this.#speculation = undefined;
      }
    });
  }

  /** The login goes on when the waiting is over, but the request is not sent any more: its sender may have repeated it. */
  async #waitForPerson(flight: Promise<unknown>, { signal }: CredentialRequest): Promise<"retry"> {
    const { clock, options, server } = this.#session;
    const waiting = new AbortController();
    const late = clock.sleep(options.waitForLogin ?? defaultWaitForLoginMs, { signal: waiting.signal, background: true }).then(
      () => {
        throw new McpAuthError("login_pending", { serverUrl: server });
      },
      () => {},
    );
    try {
      await abortable(Promise.race([flight, late]), signal);
      return "retry";
    } finally {
      waiting.abort();
    }
  }

  /** Whether there is a login with these scopes, here or in the store. */
  async #hasLogin(scopes: readonly string[] | undefined, signal: AbortSignal | undefined): Promise<boolean> {
    this.#assertUsable();
    const token = this.#token;
    await token.load(signal);
    if (token.freshness === "expired") await token.reload();
    try {
      if ((await token.get(signal)) === undefined) return false;
    } catch (error) {
      // A token endpoint that fails now may still let a person in; a store or lock that fails would not.
      if (error instanceof McpAuthError && error.passing && error.issuer) return false;
      throw error;
    }
    const granted = splitScope(token.record?.scope);
    return scopes?.every((scope) => granted.includes(scope)) ?? true;
  }

  async #hasMetadata(speculation: Speculation): Promise<boolean> {
    const { serverUrl, http, clock } = this.#session;
    const resource = await discoverProtectedResource(serverUrl, { http, clock, speculation }).catch(() => undefined);
    return resource !== undefined;
  }

  #speculate(): Speculation {
    const { serverUrl, http, options } = this.#session;
    this.#speculation ??= options.speculate === false ? new Map() : speculate(serverUrl, http);
    return this.#speculation;
  }

  get #hasPerson(): boolean {
    const { interactive, loginHandler } = this.#session.options;
    return interactive !== false && loginHandler !== undefined;
  }

  #assertPerson(): void {
    if (!this.#hasPerson) throw this.#loginRequired();
  }

  #assertUsable(): void {
    this.#disposed.signal.throwIfAborted();
  }

  /** Without a login: why, as far as that is known. What a program must mend itself is told as it is. */
  #loginRequired(): McpAuthError {
    const { server: serverUrl } = this.#session;
    const cause = this.#token.refusal;
    if (cause && cause.code !== "invalid_grant") return cause;
    return new LoginRequiredError({ serverUrl, issuer: this.#token.record?.issuer, cause });
  }

  #remember(error: unknown): unknown {
    if (error instanceof McpAuthError) this.#lastError = error;
    return error;
  }

  async #remembering<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw this.#remember(error);
    }
  }
}

function bearerOf(used: Record<string, string>): string | undefined {
  return used.authorization?.replace(/^Bearer /, "");
}
