import { abortable } from "../async.ts";
import { splitScope } from "../authorization/scopes.ts";
import type { Credential, CredentialRequest } from "../credential.ts";
import type { Challenge } from "../discovery/challenge.ts";
import { codeOf, isTransient, LoginRequiredError, type McpAuthError } from "../errors.ts";
import { idleLoginOptions } from "../login/options.ts";
import { probe } from "../login/probe.ts";
import { LoginPrompt } from "../login/prompt.ts";
import { createSession, type Session } from "../login/session.ts";
import { insufficiency } from "../login/step-up.ts";
import { checkOptions, scopes as scopesRule, signal as signalRule } from "../options.ts";
import { chooseAccount } from "../tokens/default-account.ts";
import { noteResponse, requestInitWith } from "../tokens/presented-token.ts";
import { assertUsable, endSession, remember, remembering } from "../tokens/session.ts";
import type { TokenRecord } from "../tokens/token-record.ts";
import { bearerHeaders, bearerToken } from "../transports/bearer.ts";
import { managedFetch } from "../transports/fetch.ts";
import type { LiveRequestInit } from "../transports/request-init.ts";
import { type AccountStatus, listAccounts, type StoredLogin, statusOf } from "./accounts.ts";
import { CurrentToken } from "./current-token.ts";
import { type GivenTokens, givenTokensRules, giveTokens } from "./given-tokens.ts";
import { type LogoutResult, logout, logoutEverywhere } from "./logout.ts";
import { type TokenManagerOptions, tokenManagerRules } from "./options.ts";
import { hasMetadata } from "./own-metadata.ts";
import { RefusedRequest } from "./refused-request.ts";

/**
 * A user's login at one protected server: the credential that logs in when it must, refreshes before anybody
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
  /** How long a request waits for a user's login, in ms. */
  readonly loginPendingTimeout: number;
  /** A `fetch` that authorises requests to the protected server. */
  readonly fetch: typeof globalThis.fetch;

  readonly #session: Session;
  readonly #token: CurrentToken;
  readonly #prompt: LoginPrompt;
  readonly #refused: RefusedRequest;

  /** @throws McpAuthError `invalid_url`, `insecure_url`, `invalid_option` */
  constructor(options: TokenManagerOptions) {
    checkOptions(options, tokenManagerRules(), idleLoginOptions);
    this.#session = createSession(options);
    this.serverUrl = new URL(this.#session.serverUrl);
    this.loginPendingTimeout = options.loginPendingTimeout ?? 50_000;
    this.#token = new CurrentToken(this.#session);
    this.#prompt = new LoginPrompt(this.#session, this.#token, this.loginPendingTimeout);
    this.#refused = new RefusedRequest(this.#session, this.#token, this.#prompt);
    this.fetch = managedFetch(this, this.serverUrl, options.fetch);
  }

  /** The last failure to get a token, for transports that lose errors (SSE). Cleared by the next success. */
  get lastError(): McpAuthError | undefined {
    return this.#session.lastError;
  }

  /**
   * Logs in if the server asks for it. Returns at once when a login is stored. The user has `loginTimeout`, longer
   * than an SDK request may take: call it before `connect`.
   *
   * @param options.scopes scopes to ask for, when the login does not have them yet; the server may grant fewer
   * @param options.signal ends the waiting; the login goes on for others
   * @returns `not-required` when the server answers without a login
   * @throws McpAuthError `login_required` when no user can be asked; every code of discovery, registration and
   *   authorization; `network_error`, `timeout`, `server_error`, `rate_limited` when the server cannot be asked
   */
  async authorize(
    options: { scopes?: readonly string[] | undefined; signal?: AbortSignal | undefined } = {},
  ): Promise<"authorized" | "not-required"> {
    checkOptions(options, { scopes: scopesRule, signal: signalRule() });
    const { scopes, signal } = options;
    return remembering(this.#session, async () => {
      while (!(await this.#hasLogin(scopes, signal))) {
        let { running } = this.#prompt;
        const stored = await this.#prompt.storedServer();
        running ??= this.#prompt.running;
        if (!running && stored) {
          await abortable(this.#prompt.ask({ stored, known: this.#token.record, scopes }), signal);
          return "authorized";
        }
        if (!running) {
          const speculation = this.#prompt.speculate();
          const challenge = await probe(this.#session, signal);
          if (!challenge && !scopes && !(await hasMetadata(this.#session, speculation))) {
            this.#prompt.stopSpeculating();
            return "not-required";
          }
          running = this.#prompt.running;
          if (!running) {
            const plan = { challenge, operation: "server/discover", known: this.#token.record, scopes };
            await abortable(this.#prompt.ask(plan), signal);
            return "authorized";
          }
        }
        // It was begun for others, who may want fewer scopes.
        await abortable(running, signal);
      }
      return "authorized";
    });
  }

  /**
   * A valid access token, for one who sends it by other means than `fetch`. Never logs in.
   *
   * @param options.signal ends the waiting for a refresh
   * @throws McpAuthError `login_required` when there is no login, or it is over (`cause` says why); a transient fault
   */
  async getAccessToken(options: { signal?: AbortSignal | undefined } = {}): Promise<string> {
    checkOptions(options, { signal: signalRule() });
    try {
      return await remembering(this.#session, async () => {
        const token = await this.#token.find(options.signal);
        if (token === undefined) throw this.#token.loginRequired();
        return token;
      });
    } catch (error) {
      // That there is no login says less than why the last one failed.
      if (codeOf(error) === "login_required") this.#session.lastError = this.#prompt.refusal ?? this.#session.lastError;
      throw error;
    }
  }

  /**
   * Takes over tokens that were obtained elsewhere; they replace the stored login.
   *
   * @throws McpAuthError `invalid_option` when a refresh token comes without the issuer and client that it belongs to
   */
  async setTokens(tokens: GivenTokens): Promise<void> {
    checkOptions(tokens, givenTokensRules());
    assertUsable(this.#session);
    this.#token.use(await giveTokens(this.#session, tokens), "store");
  }

  /**
   * Revokes the login at the authorization server, as far as it can, and deletes it here. Ends a login in progress.
   *
   * @throws McpAuthError `lock_timeout`, `store_failed`
   */
  logout(): Promise<LogoutResult> {
    return this.#logOut(logout);
  }

  /** {@link logout} for all accounts at this server, this manager's first. The results say what happened to each. */
  logoutEverywhere(): Promise<LogoutResult[]> {
    return this.#logOut(logoutEverywhere);
  }

  /** Whose login this is and how it stands, for people: asks no server. @throws McpAuthError what reading the store throws */
  status(): Promise<AccountStatus> {
    return statusOf(this.#session, this.#token.record);
  }

  /** The logins that are stored for this server, one an account. @throws McpAuthError what reading the store throws */
  accounts(): Promise<StoredLogin[]> {
    return listAccounts(this.#session);
  }

  /**
   * From now on this manager's account is that of new managers without `account` at this server, until it logs out. Those
   * that run keep theirs.
   *
   * @throws McpAuthError `store_failed`
   */
  async makeDefault(): Promise<void> {
    const { store, serverName, keeper } = this.#session;
    await chooseAccount(store, await serverName(), await keeper.account());
  }

  /**
   * A live `requestInit` for SDK transports that cannot be given a `fetch`: its `headers` always hold the current
   * token. It cannot log in, retry or step up, and throws `login_required` without a valid token.
   */
  requestInit(): LiveRequestInit {
    return requestInitWith(this.#session, this.#token, () => this.#token.loginRequired());
  }

  async headers(request: CredentialRequest): Promise<Record<string, string>> {
    assertUsable(this.#session);
    let token: string | undefined;
    try {
      token = await this.#token.get(request.signal);
    } catch (error) {
      // After a long outage of the token endpoint a user may be asked, if the server still wants a token.
      if (!(request.method === "POST" && this.#token.isInOutage && this.#prompt.isPossible)) throw remember(this.#session, error);
    }
    if (token !== undefined) return bearerHeaders(token);
    if (request.method !== "POST" || !this.#prompt.isPossible) return {};
    const stored = this.#token.record || this.#prompt.refusal ? undefined : await this.#prompt.storedServer();
    if (!stored?.refusesSessions) {
      this.#prompt.speculate();
      return {};
    }
    // The server's refusal is known: to hear it once more would cost a round trip.
    await remembering(this.#session, () => this.#prompt.waitFor(this.#prompt.ask({ stored }), request.signal));
    return this.headers(request);
  }

  onResponse(response: Response, used: Record<string, string>): void {
    if (response.ok && !used.authorization) this.#prompt.stopSpeculating();
    noteResponse(this.#session, this.#token, response, used);
    if (response.ok) this.#token.keepPresented();
  }

  async onChallenge(challenge: Challenge, used: Record<string, string>, request: CredentialRequest): Promise<"retry" | "give-up"> {
    const { record } = this.#token;
    const granted = record?.scope === undefined ? record?.requestedScopes : splitScope(record.scope);
    const insufficient = insufficiency(challenge, { serverUrl: this.#session.server, issuer: record?.issuer }, granted);
    return remembering(this.#session, () =>
      insufficient
        ? this.#refused.onInsufficientLogin(challenge, insufficient, bearerToken(used), request)
        : this.#refused.onRefusedToken(challenge, bearerToken(used), request),
    );
  }

  onForeignResponse(
    foreign: { challenge: Challenge; error: McpAuthError },
    used: Record<string, string>,
    request: CredentialRequest,
  ): Promise<"retry" | "give-up"> {
    return remembering(this.#session, () => this.#refused.onForeignResponse(foreign, bearerToken(used), request));
  }

  /** Waits for a refresh in flight until it is stored, ends a login in progress, and uses no timer any more. */
  async dispose(): Promise<void> {
    await this.#prompt.end(endSession(this.#session));
    await this.#token.dispose();
    await this.#session.keeper.dispose();
  }

  /** For `await using`: {@link dispose}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  async #logOut<T>(how: (session: Session, known: TokenRecord | undefined) => Promise<T>): Promise<T> {
    assertUsable(this.#session);
    await this.#prompt.end(
      new LoginRequiredError({
        serverUrl: this.#session.server,
        detail: "`logout()` was called meanwhile",
        hint: "Call `authorize()` to log in again.",
      }),
    );
    const result = await how(this.#session, this.#token.record);
    this.#token.use(undefined, "store");
    return result;
  }

  /** Whether there is a login with these scopes, here or in the store. */
  async #hasLogin(scopes: readonly string[] | undefined, signal: AbortSignal | undefined): Promise<boolean> {
    assertUsable(this.#session);
    const token = this.#token;
    try {
      if ((await token.find(signal)) === undefined) return false;
    } catch (error) {
      // A token endpoint that fails now may still let a user in; a store or lock that fails would not.
      if (isTransient(error) && error.party === "authorization-server") return false;
      throw error;
    }
    const granted = splitScope(token.record?.scope);
    return scopes?.every((scope) => granted.includes(scope)) ?? true;
  }
}
