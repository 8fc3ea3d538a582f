import { splitScope } from "../authorization/scopes.ts";
import { abortable } from "../clock.ts";
import type { Credential, CredentialRequest } from "../credentials/credential.ts";
import type { Challenge } from "../discovery/challenge.ts";
import { McpAuthError } from "../errors.ts";
import { authFetch } from "../transports/fetch.ts";
import { type LiveRequestInit, liveRequestInit } from "../transports/request-init.ts";
import type { MachineTokenManagerOptions } from "./machine/options.ts";
import { type MachineRecord, readRecord } from "./machine/record.ts";
import { createMachineSession, type MachineSession } from "./machine/session.ts";
import { RenewedToken } from "./renewed-token.ts";
import { remember } from "./server-session.ts";
import { SingleFlight } from "./single-flight.ts";
import { insufficiency, StepUpMemory } from "./step-up.ts";

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
  readonly #token: RenewedToken<MachineRecord>;
  readonly #steppingUp = new SingleFlight<void>();
  readonly #stepUps = new StepUpMemory();
  /** The server has answered without a token, and has not refused since. */
  #isOpen = false;
  /** The server's last refusal, until a token has come of it. */
  #refusal: Challenge | undefined;

  /** @throws McpAuthError `invalid_url`, `insecure_url`, `invalid_option` */
  constructor(options: MachineTokenManagerOptions) {
    const session = createMachineSession(options);
    this.#session = session;
    this.serverUrl = new URL(session.serverUrl);
    this.#token = new RenewedToken(session, {
      load: () => readRecord(session),
      bearer: ({ accessToken }) => accessToken,
      proof: () => (this.#isOpen ? undefined : "own credentials"),
      refresh: async (record, demand) => {
        const { obtainToken } = await obtaining();
        const outcome = await obtainToken(session, record, { ...demand, refusal: this.#refusal });
        this.#isOpen = !outcome.record && !outcome.error;
        this.#refusal = undefined;
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
    return liveRequestInit(() => {
      this.#assertUsable();
      const token = this.#token.read();
      if (token !== undefined) return token;
      throw (
        this.#token.refusal ?? new McpAuthError("login_required", { serverUrl: this.#session.server, detail: "call `authorize()` first" })
      );
    });
  }

  async headers(request: CredentialRequest): Promise<Record<string, string>> {
    const token = await this.#find(request.signal);
    return token === undefined ? {} : { authorization: `Bearer ${token}` };
  }

  onResponse(response: Response, used: Record<string, string>): void {
    if (response.status >= 500 || bearerOf(used) !== this.#token.bearer) return;
    this.#token.accepted = true;
    if (response.ok) this.#session.lastError = undefined;
  }

  async onChallenge(challenge: Challenge, used: Record<string, string>, request: CredentialRequest): Promise<"retry" | "give-up"> {
    return this.#remembering(async () => {
      // A late refusal of an old token says nothing about the newer one.
      if (this.#token.isOtherThan(bearerOf(used))) return "retry";
      return challenge.error === "insufficient_scope"
        ? this.#stepUp(challenge, request)
        : this.#replace(challenge, bearerOf(used), request.signal);
    });
  }

  /** Waits for a token request in flight until its answer is stored; sends none any more. */
  async dispose(): Promise<void> {
    this.#session.disposed ??= new McpAuthError("disposed", { serverUrl: this.#session.server });
    await this.#token.dispose();
    await this.#steppingUp.running?.catch(() => {});
  }

  /** For `await using`: {@link dispose}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  /** A token; `undefined` when the server wants none. */
  #find(signal: AbortSignal | undefined): Promise<string | undefined> {
    return this.#remembering(async () => {
      const token = await this.#token.get(signal);
      if (token === undefined && !this.#isOpen && this.#token.refusal) throw this.#token.refusal;
      return token;
    });
  }

  /** 401: another token, unless this one was new. */
  async #replace(challenge: Challenge, refused: string | undefined, signal: AbortSignal | undefined): Promise<"retry" | "give-up"> {
    const token = this.#token;
    const { server: serverUrl } = this.#session;
    if (challenge.error === "insufficient_user_authentication")
      throw new McpAuthError("authentication_insufficient", {
        serverUrl,
        status: challenge.status,
        detail: "a program cannot log in again",
      });
    if (refused !== undefined && token.origin === "refresh" && !token.accepted) {
      remember(this.#session, new McpAuthError("token_refused", { serverUrl, issuer: token.record?.issuer, status: challenge.status }));
      return "give-up";
    }
    this.#isOpen = false;
    this.#refusal = challenge;
    if (refused === undefined) await token.get(signal);
    else await abortable(token.refresh({ reason: "refused" }), signal);
    if (token.isOtherThan(refused)) return "retry";
    throw token.refusal ?? new McpAuthError("token_refused", { serverUrl, status: challenge.status });
  }

  /** 403 for lack of scopes: a token with more of them, within limits. */
  async #stepUp(challenge: Challenge, request: CredentialRequest): Promise<"retry" | "give-up"> {
    const { server: serverUrl, clock, emit } = this.#session;
    const now = clock.now();
    const scopes = splitScope(challenge.scope);
    const refusal = this.#stepUps.refusal(scopes, now);
    if (refusal) throw refusal;
    const attempt = this.#stepUps.attempt(`${scopes.join(" ")}\n${request.operation}`, now);
    if (attempt === undefined || scopes.length === 0) {
      remember(this.#session, insufficiency(challenge, { serverUrl, issuer: this.#token.record?.issuer }));
      return "give-up";
    }
    emit({ type: "step-up.started", scopes, attempt });
    await abortable(
      this.#steppingUp.run(async () => {
        const { obtainToken } = await obtaining();
        const { record, error } = await obtainToken(this.#session, this.#token.record, { reason: "ahead", scopes });
        if (error) this.#stepUps.refuse(scopes, error, clock.now());
        if (error) throw error;
        this.#token.use(record, "refresh");
      }),
      request.signal,
    );
    return "retry";
  }

  #assertUsable(): void {
    if (this.#session.disposed) throw this.#session.disposed;
  }

  async #remembering<T>(work: () => Promise<T>): Promise<T> {
    this.#assertUsable();
    try {
      return await work();
    } catch (error) {
      throw remember(this.#session, error);
    }
  }
}

/** A process that finds a token in the store never asks for one: what that takes is loaded when it is needed. */
const obtaining = () => import("./machine/obtain.ts");

function bearerOf(used: Record<string, string>): string | undefined {
  return used.authorization?.replace(/^Bearer /, "");
}
