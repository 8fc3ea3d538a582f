import type { Credential, CredentialRequest } from "../credential.ts";
import type { Challenge } from "../discovery/challenge.ts";
import { codeOf, LoginRequiredError, type McpAuthError } from "../errors.ts";
import { idleLoginOptions } from "../login/options.ts";
import { canAsk } from "../login/prompt.ts";
import { createLoginAccess, createSession, type Session } from "../login/session.ts";
import { grantedScopes, insufficiency } from "../login/step-up.ts";
import { checkOptions, scopes as scopesRule, signal as signalRule } from "../options.ts";
import { MemoryStore } from "../stores/memory.ts";
import { chooseAccount } from "../tokens/default-account.ts";
import { noteResponse, requestInitWith } from "../tokens/presented-token.ts";
import { assertUsable, endSession, remember, remembering } from "../tokens/session.ts";
import type { TokenRecord } from "../tokens/token-record.ts";
import { bearerHeaders, bearerToken } from "../transports/bearer.ts";
import { authorizedFetch, sendsWith } from "../transports/fetch.ts";
import type { LiveRequestInit } from "../transports/request-init.ts";
import { AccountOptions } from "./account-options.ts";
import { type AccountStatus, listAccounts, type StoredLogin, statusOf } from "./accounts.ts";
import { ActiveLogin, type LoginRemains } from "./active-login.ts";
import { authorize } from "./authorize.ts";
import { type GivenTokens, givenTokensRules, giveTokens } from "./given-tokens.ts";
import { type LogoutResult, logout, logoutEverywhere } from "./logout.ts";
import { type TokenManagerOptions, tokenManagerRules } from "./options.ts";

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
  readonly #options: TokenManagerOptions;
  /** Where the app has given its options once for many accounts. */
  readonly #shared: AccountOptions | undefined;
  #serverUrl: URL | undefined;
  #fetch: typeof globalThis.fetch | undefined;
  /** While the login is in use, and as long as something is not stored. */
  #active: ActiveLogin | undefined;
  #left: LoginRemains | undefined;

  /** @throws McpAuthError `invalid_url`, `insecure_url`, `invalid_option` */
  constructor(options: TokenManagerOptions) {
    if (options instanceof AccountOptions) {
      this.#shared = options;
      this.#options = options.access.options;
    } else {
      checkOptions(options, tokenManagerRules(), idleLoginOptions);
      createLoginAccess(options);
      this.#options = options.store ? options : { ...options, store: new MemoryStore() };
    }
    sendsWith(this, this.#options.fetch);
  }

  /** The protected server. */
  get serverUrl(): URL {
    if (!this.#serverUrl) {
      this.#serverUrl = new URL(this.#options.serverUrl);
      this.#serverUrl.hash = "";
    }
    return this.#serverUrl;
  }

  /** How long a request waits for a user's login, in ms. */
  get loginPendingTimeout(): number {
    return this.#options.loginPendingTimeout ?? 50_000;
  }

  /** A `fetch` that authorises requests to the protected server. */
  get fetch(): typeof globalThis.fetch {
    this.#fetch ??= authorizedFetch(this, this.serverUrl, this.#options);
    return this.#fetch;
  }

  /** The last failure to get a token, for transports that lose errors (SSE). Cleared by the next success. */
  get lastError(): McpAuthError | undefined {
    return (this.#active?.session ?? this.#left)?.lastError;
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
    const login = this.#login();
    return remembering(login.session, () => authorize(login, options.scopes, options.signal));
  }

  /**
   * A valid access token, for one who sends it by other means than `fetch`. Never logs in.
   *
   * @param options.signal ends the waiting for a refresh
   * @throws McpAuthError `login_required` when there is no login, or it is over (`cause` says why); a transient fault
   */
  async getAccessToken(options: { signal?: AbortSignal | undefined } = {}): Promise<string> {
    checkOptions(options, { signal: signalRule() });
    const login = this.#login();
    const { session, token } = login;
    try {
      return await remembering(session, async () => {
        const found = await token.find(options.signal);
        if (found === undefined) throw token.loginRequired();
        return found;
      });
    } catch (error) {
      // That there is no login says less than why the last one failed.
      if (codeOf(error) === "login_required") session.lastError = login.prompt.refusal ?? session.lastError;
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
    const { session, token } = this.#login();
    assertUsable(session);
    token.use(await giveTokens(session, tokens), "store");
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
    const { session, token } = this.#login();
    return statusOf(session, token.record);
  }

  /** The logins that are stored for this server, one an account. @throws McpAuthError what reading the store throws */
  accounts(): Promise<StoredLogin[]> {
    return listAccounts(this.#login().session);
  }

  /**
   * From now on this manager's account is that of new managers without `account` at this server, until it logs out. Those
   * that run keep theirs.
   *
   * @throws McpAuthError `store_failed`
   */
  async makeDefault(): Promise<void> {
    const { store, serverName, keeper } = this.#login().session;
    await chooseAccount(store, await serverName(), await keeper.account());
  }

  /**
   * A live `requestInit` for SDK transports that cannot be given a `fetch`: its `headers` always hold the current
   * token. It cannot log in, retry or step up, and throws `login_required` without a valid token.
   */
  requestInit(): LiveRequestInit {
    const { session, token } = this.#login();
    return requestInitWith(session, token, () => token.loginRequired());
  }

  async headers(request: CredentialRequest): Promise<Record<string, string>> {
    const login = this.#login();
    const { session, token } = login;
    assertUsable(session);
    let bearer: string | undefined;
    try {
      bearer = await token.get(request.signal);
    } catch (error) {
      // After a long outage of the token endpoint a user may be asked, if the server still wants a token.
      if (!(request.method === "POST" && token.isInOutage && canAsk(session))) throw remember(session, error);
    }
    if (bearer !== undefined) return bearerHeaders(bearer);
    if (request.method !== "POST" || !canAsk(session)) return {};
    const { prompt } = login;
    const stored = token.record || prompt.refusal ? undefined : await prompt.storedServer();
    if (!stored?.refusesSessions) {
      prompt.speculate();
      return {};
    }
    // The server's refusal is known: to hear it once more would cost a round trip.
    await remembering(session, () => prompt.waitFor(prompt.ask({ stored }), request.signal));
    return this.headers(request);
  }

  onResponse(response: Response, used: Record<string, string>): void {
    const login = this.#active;
    if (!login) return;
    const { session, token } = login;
    if (response.ok && !used.authorization) login.prompt.stopSpeculating();
    noteResponse(session, token, response, used);
    if (response.ok) token.keepPresented();
  }

  async onChallenge(challenge: Challenge, used: Record<string, string>, request: CredentialRequest): Promise<"retry" | "give-up"> {
    const { session, token, refused } = this.#login();
    const { record } = token;
    const granted = record && grantedScopes(record);
    const insufficient = insufficiency(challenge, { serverUrl: session.server, issuer: record?.issuer }, granted);
    return remembering(session, () =>
      insufficient
        ? refused.onInsufficientLogin(challenge, insufficient, bearerToken(used), request)
        : refused.onRefusedToken(challenge, bearerToken(used), request),
    );
  }

  onForeignResponse(
    foreign: { challenge: Challenge; error: McpAuthError },
    used: Record<string, string>,
    request: CredentialRequest,
  ): Promise<"retry" | "give-up"> {
    const { session, refused } = this.#login();
    return remembering(session, () => refused.onForeignResponse(foreign, bearerToken(used), request));
  }

  /** Waits for a refresh in flight until it is stored, ends a login in progress, and uses no timer any more. */
  async dispose(): Promise<void> {
    const shared = this.#shared;
    // All accounts end, and in this one nothing has begun.
    if (shared?.access.disposed && !this.#active) return;
    const { session, token, prompt } = this.#login();
    if (!session.disposed) shared?.access.onDispose(shared.account);
    await prompt.end(endSession(session));
    await token.dispose();
    await session.keeper.dispose();
  }

  /** For `await using`: {@link dispose}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  async #logOut<T>(how: (session: Session, known: TokenRecord | undefined) => Promise<T>): Promise<T> {
    const { session, token, prompt } = this.#login();
    assertUsable(session);
    await prompt.end(
      new LoginRequiredError({
        serverUrl: session.server,
        detail: "`logout()` was called meanwhile",
        hint: "Call `authorize()` to log in again.",
      }),
    );
    const result = await how(session, token.record);
    token.use(undefined, "store");
    return result;
  }

  /** The login, in memory from now on until it is left alone. */
  #login(): ActiveLogin {
    const login = this.#active ?? this.#activate();
    login.touch();
    return login;
  }

  #activate(): ActiveLogin {
    const shared = this.#shared;
    const session = createSession(this.#options, shared?.access, shared?.account);
    const { lastError, refusal, knownAccount, disposed = shared?.access.disposed } = this.#left ?? {};
    Object.assign(session, { lastError, disposed });
    session.keeper.knownAccount = knownAccount;
    // A manager that is found by its account stays although nobody holds it between two calls.
    const login = new ActiveLogin(session, shared !== undefined, this.loginPendingTimeout, (left) => {
      this.#left = left;
      this.#active = undefined;
    });
    login.token.refusal = refusal;
    this.#active = login;
    return login;
  }
}
