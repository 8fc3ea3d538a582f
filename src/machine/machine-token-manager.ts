import { abortable } from "../async.ts";
import { splitScope } from "../authorization/scopes.ts";
import type { Credential, CredentialRequest } from "../credential.ts";
import type { Challenge } from "../discovery/challenge.ts";
import { isTransient, McpAuthError } from "../errors.ts";
import { insufficiency, StepUpMemory } from "../login/step-up.ts";
import { CachedToken } from "../tokens/cached-token.ts";
import { noteResponse, requestInitWith } from "../tokens/presented-token.ts";
import { endSession, remember, remembering } from "../tokens/session.ts";
import { bearerHeaders, bearerToken } from "../transports/bearer.ts";
import { authFetch } from "../transports/fetch.ts";
import type { LiveRequestInit } from "../transports/request-init.ts";
import type { ObtainToken } from "./obtain.ts";
import type { MachineTokenManagerOptions } from "./options.ts";
import type { MachineRecord } from "./record.ts";
import { createMachineSession, type MachineSession } from "./session.ts";

/**
 * A program's own access to one protected server: the credential of CI pipelines, scheduled jobs, and servers that call
 * servers. Nobody is ever asked.
 *
 * However many calls and processes want a token, it is asked for once; a new one is there before the old one expires.
 * Processes share it when they share a `store`.
 *
 * @example
 * ```ts
 * const auth = new MachineTokenManager({ serverUrl, clientId, clientSecret, scopes: ["mcp:read"] });
 * await client.connect(new StreamableHTTPClientTransport(auth.serverUrl, { fetch: auth.fetch }));
 * ```
 *
 * @see RFC 6749 §4.4 (client credentials), RFC 7523 §2 (assertions), RFC 8705 (certificates); MCP extensions OAuth Client
 *   Credentials, Enterprise-Managed Authorization
 */
export class MachineTokenManager implements Credential {
  /** The protected server. */
  readonly serverUrl: URL;
  /** How long `authProvider` lets a request wait, in ms. */
  readonly waitForLogin = 50_000;
  /** A `fetch` that authorises requests to the protected server; see {@link authFetch}. */
  readonly fetch: typeof globalThis.fetch;

  readonly #session: MachineSession;
  readonly #token: CachedToken<MachineRecord>;
  /** By scopes. */
  readonly #steppingUp = new Map<string, Promise<void>>();
  readonly #stepUps = new StepUpMemory();
  /** The server has answered without a token, and has not refused since. */
  #isOpen = false;
  /** The server's last refusal, until a token has come of it. */
  #refusal: Challenge | undefined;

  #obtainer: Promise<ObtainToken> | undefined;

  /** @throws McpAuthError `invalid_url`, `insecure_url`, `invalid_option` */
  constructor(options: MachineTokenManagerOptions) {
    const session = createMachineSession(options);
    this.#session = session;
    this.serverUrl = new URL(session.serverUrl);
    this.#token = new CachedToken(session, {
      load: () => session.tokens.read(),
      bearer: ({ accessToken }) => accessToken,
      grant: () => (this.#isOpen ? undefined : grant),
      refresh: async (record, demand) => {
        const obtainToken = await this.#obtaining();
        const refusal = this.#refusal;
        const outcome = await obtainToken(record, demand, { refusal });
        this.#isOpen = !outcome.record && !outcome.error;
        // One that came meanwhile is for the next time.
        if (this.#refusal === refusal) this.#refusal = undefined;
        return outcome;
      },
    });
    this.fetch = authFetch(this, this.serverUrl, { fetch: options.fetch });
  }

  /** The last failure to get a token, for transports that lose errors (SSE). Cleared by the next success. */
  get lastError(): McpAuthError | undefined {
    return this.#session.lastError;
  }

  /**
   * A valid access token, for one who sends it by other means than `fetch`.
   *
   * @param options.signal ends the waiting; the token request goes on for others
   * @throws McpAuthError why there is none; the README lists the codes
   */
  async getToken(options: { signal?: AbortSignal | undefined } = {}): Promise<string> {
    const token = await this.#find(options.signal);
    if (token !== undefined) return token;
    throw new McpAuthError("discovery_failed", { serverUrl: this.#session.server, detail: "the server asks for no token" });
  }

  /** {@link getToken}, by the name that it has in `TokenManager`. */
  getAccessToken(options?: { signal?: AbortSignal | undefined }): Promise<string> {
    return this.getToken(options);
  }

  /**
   * Gets a token if the server asks for one, so that a program fails early.
   *
   * @returns `not-required` when the server answers without a token
   * @throws McpAuthError as {@link getToken}
   */
  async authorize(options: { signal?: AbortSignal | undefined } = {}): Promise<"authorized" | "not-required"> {
    return (await this.#find(options.signal)) === undefined ? "not-required" : "authorized";
  }

  /**
   * A live `requestInit` for SDK transports that cannot be given a `fetch`: its `headers` always hold the current
   * token. Call {@link authorize} first; it cannot retry or step up, and throws without a valid token.
   */
  requestInit(): LiveRequestInit {
    const { server: serverUrl } = this.#session;
    const missing = () => this.#token.refusal ?? new McpAuthError("login_required", { serverUrl, detail: "call `authorize()` first" });
    return requestInitWith(this.#session, this.#token, missing);
  }

  async headers(request: CredentialRequest): Promise<Record<string, string>> {
    const token = await this.#find(request.signal);
    return token === undefined ? {} : bearerHeaders(token);
  }

  onResponse(response: Response, used: Record<string, string>): void {
    noteResponse(this.#session, this.#token, response, used);
  }

  async onChallenge(challenge: Challenge, used: Record<string, string>, request: CredentialRequest): Promise<"retry" | "give-up"> {
    return remembering(this.#session, async () => {
      // A late refusal of an old token says nothing about the newer one.
      if (this.#token.isOtherThan(bearerToken(used))) return "retry";
      return challenge.error === "insufficient_scope"
        ? this.#stepUp(challenge, request)
        : this.#replace(challenge, bearerToken(used), request.signal);
    });
  }

  /** Waits for a token request in flight until its answer is stored; sends none any more. */
  async dispose(): Promise<void> {
    endSession(this.#session);
    await this.#token.dispose();
    await Promise.allSettled(this.#steppingUp.values());
  }

  /** For `await using`: {@link dispose}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  /** A token; `undefined` when the server wants none. */
  #find(signal: AbortSignal | undefined): Promise<string | undefined> {
    return remembering(this.#session, async () => {
      // A machine that slept may find it expired already.
      const token = (await this.#token.get(signal)) ?? (await this.#token.get(signal));
      if (token === undefined && !this.#isOpen && this.#token.refusal) throw this.#token.refusal;
      return token;
    });
  }

  /** 401: another token, unless this one was new. */
  async #replace(challenge: Challenge, refused: string | undefined, signal: AbortSignal | undefined): Promise<"retry" | "give-up"> {
    const token = this.#token;
    const { server: serverUrl } = this.#session;
    const insufficient = insufficiency(challenge, { serverUrl, issuer: token.record?.issuer });
    if (insufficient) throw insufficient;
    if (refused !== undefined && token.origin === "refresh" && !token.accepted) {
      remember(this.#session, new McpAuthError("token_refused", { serverUrl, issuer: token.record?.issuer, status: challenge.status }));
      return "give-up";
    }
    this.#isOpen = false;
    this.#refusal = challenge;
    if (refused === undefined) await token.get(signal);
    else if (this.#pause) throw this.#pause;
    else await abortable(token.refresh({ reason: "refused" }), signal);
    if (token.isOtherThan(refused)) return "retry";
    throw token.refusal ?? new McpAuthError("token_refused", { serverUrl, status: challenge.status });
  }

  /** 403 for lack of scopes: a token with more of them, within limits; once for all who want the same. */
  async #stepUp(challenge: Challenge, request: CredentialRequest): Promise<"retry" | "give-up"> {
    const scopes = splitScope(challenge.scope).sort();
    const key = scopes.join(" ");
    const running = this.#steppingUp.get(key) ?? this.#beginStepUp(scopes, `${key}\n${request.operation}`);
    if (!running) {
      const details = { serverUrl: this.#session.server, issuer: this.#token.record?.issuer };
      remember(this.#session, insufficiency(challenge, details));
      return "give-up";
    }
    await abortable(running, request.signal);
    return "retry";
  }

  /** @returns `undefined` when there were enough attempts. @throws McpAuthError what has been refused already */
  #beginStepUp(scopes: readonly string[], cause: string): Promise<void> | undefined {
    const { clock, emit } = this.#session;
    const now = clock.now();
    const refusal = this.#stepUps.refusal(scopes, now) ?? this.#pause;
    if (refusal) throw refusal;
    const attempt = scopes.length > 0 ? this.#stepUps.attempt(cause, now) : undefined;
    if (attempt === undefined) return undefined;
    emit({ type: "step-up.started", scopes, attempt });
    const key = scopes.join(" ");
    const before = [this.#token.running, ...this.#steppingUp.values()];
    const running = this.#askForScopes(scopes, before)
      .catch((error: unknown) => {
        if (isTransient(error)) this.#stepUps.undo(cause);
        throw error;
      })
      .finally(() => this.#steppingUp.delete(key));
    // Whoever gave up waiting does not hear of a failure.
    running.catch(() => {});
    this.#steppingUp.set(key, running);
    return running;
  }

  /** @param before what is under way: its answer counts for this request, too */
  async #askForScopes(scopes: readonly string[], before: readonly unknown[]): Promise<void> {
    const { backoff, record: known } = this.#token;
    await Promise.allSettled(before);
    if (this.#pause) throw this.#pause;
    backoff.throwIfBusy();
    const obtainToken = await this.#obtaining();
    const { record, error } = await obtainToken(known, { reason: "ahead" }, { scopes }).catch((fault: unknown) => {
      if (isTransient(fault)) backoff.onFault(fault);
      throw fault;
    });
    // It was not asked for because the one before was refused: should it be, that says nothing yet.
    if (!error) return this.#token.use(record, "store");
    if (error.code === "insufficient_scope") this.#stepUps.refuse(scopes, error, this.#session.clock.now());
    else {
      // What has nothing to do with the scopes would befall any other request as well.
      this.#token.refusal = error;
      backoff.onRefusal(grant, false);
    }
    throw error;
  }

  /** A process that finds a token in the store never asks for one: what that takes is loaded when it is needed. */
  #obtaining(): Promise<ObtainToken> {
    this.#obtainer ??= import("./obtain.ts").then(({ tokenObtainer }) => tokenObtainer(this.#session));
    return this.#obtainer;
  }

  /** What the authorization server said for good, as long as it is too soon to ask again. */
  get #pause(): McpAuthError | undefined {
    return this.#token.backoff.mayRefresh(grant, "expired") ? undefined : this.#token.refusal;
  }
}

/** What every token is asked for with. */
const grant = "own credentials";
