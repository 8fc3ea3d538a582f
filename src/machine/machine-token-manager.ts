import { abortable } from "../async.ts";
import type { Credential, CredentialRequest } from "../credential.ts";
import type { Challenge } from "../discovery/challenge.ts";
import { McpAuthError } from "../errors.ts";
import { insufficiency } from "../login/step-up.ts";
import { checkOptions, signal } from "../options.ts";
import { CachedToken } from "../tokens/cached-token.ts";
import { noteResponse, requestInitWith, tokenRefused } from "../tokens/presented-token.ts";
import { endSession, remember, remembering } from "../tokens/session.ts";
import { Settling } from "../tokens/settling.ts";
import { bearerHeaders, bearerToken } from "../transports/bearer.ts";
import { authorizedFetch, sendsWith } from "../transports/fetch.ts";
import type { LiveRequestInit } from "../transports/request-init.ts";
import type { ObtainToken } from "./obtain.ts";
import { type MachineTokenManagerOptions, machineRules } from "./options.ts";
import type { MachineRecord } from "./record.ts";
import { ownCredentials, ScopeStepUp, throwIfPaused } from "./scope-step-up.ts";
import { createMachineSession, type MachineSession } from "./session.ts";

/**
 * A program's own access to one protected server, without a user: for CI pipelines, scheduled jobs, and servers that call
 * servers.
 *
 * All calls share one token, which is replaced before it expires. Processes share it when they share a `store`.
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
  /** A `fetch` that authorises requests to the protected server. */
  readonly fetch: typeof globalThis.fetch;

  readonly #session: MachineSession;
  readonly #token: CachedToken<MachineRecord>;
  readonly #stepUp: ScopeStepUp;
  readonly #settling: Settling;
  /** The server answered without a token, and has not refused since. */
  #isOpen = false;
  /** The server's last challenge, until it has led to a token. */
  #refusal: Challenge | undefined;

  #obtainer: Promise<ObtainToken> | undefined;

  /** @throws McpAuthError `invalid_url`, `insecure_url`, `invalid_option` */
  constructor(options: MachineTokenManagerOptions) {
    checkOptions(options, machineRules());
    const session = createMachineSession(options);
    this.#session = session;
    this.serverUrl = new URL(session.serverUrl);
    this.#token = new CachedToken(session, {
      load: () => session.tokens.read(),
      bearer: ({ accessToken }) => accessToken,
      grant: () => (this.#isOpen ? undefined : ownCredentials),
      refresh: async (record, demand) => {
        const obtainToken = await this.#loadObtainToken();
        const refusal = this.#refusal;
        const outcome = await obtainToken(record, demand, { refusal });
        this.#isOpen = !outcome.record && !outcome.error;
        // A challenge that arrived meanwhile is for the next request.
        if (this.#refusal === refusal) this.#refusal = undefined;
        return outcome;
      },
    });
    this.#settling = new Settling(session.clock);
    this.#stepUp = new ScopeStepUp(session, this.#token, () => this.#loadObtainToken());
    sendsWith(this, options.fetch);
    this.fetch = authorizedFetch(this, this.serverUrl, { fetch: options.fetch });
  }

  /** The last failure to get a token, for transports that lose errors (SSE). Cleared by the next success. */
  get lastError(): McpAuthError | undefined {
    return this.#session.lastError;
  }

  /**
   * A valid access token, for requests that cannot go through `fetch`.
   *
   * @param options.signal ends this call's waiting; the token request goes on for other callers
   * @throws McpAuthError why there is no token; the README lists the codes
   */
  async getAccessToken(options: { signal?: AbortSignal | undefined } = {}): Promise<string> {
    checkOptions(options, { signal: signal() });
    const token = await this.#find(options.signal);
    if (token !== undefined) return token;
    throw new McpAuthError("token_not_required", { serverUrl: this.#session.server });
  }

  /**
   * Gets a token if the server needs one, so that a program can fail early.
   *
   * @returns `not-required` when the server answers without a token
   * @throws McpAuthError as {@link getAccessToken}
   */
  async authorize(options: { signal?: AbortSignal | undefined } = {}): Promise<"authorized" | "not-required"> {
    checkOptions(options, { signal: signal() });
    return (await this.#find(options.signal)) === undefined ? "not-required" : "authorized";
  }

  /**
   * A live `requestInit` for SDK transports that accept no `fetch`: its `headers` always hold the current token.
   * Call {@link authorize} first. It cannot retry or step up, and its `headers` throw without a valid token.
   */
  requestInit(): LiveRequestInit {
    const { server: serverUrl } = this.#session;
    const missing = () => this.#token.refusal ?? new McpAuthError("login_required", { serverUrl, hint: "Call `authorize()` first." });
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
      // A late refusal of an old token says nothing about the current one.
      if (this.#token.isOtherThan(bearerToken(used))) return "retry";
      return challenge.error === "insufficient_scope"
        ? this.#stepUp.onInsufficientScope(challenge, request)
        : this.#replace(challenge, bearerToken(used), request);
    });
  }

  async onForeignResponse(
    { error }: { error: McpAuthError },
    used: Record<string, string>,
    request: CredentialRequest,
  ): Promise<"retry" | "give-up"> {
    return remembering(this.#session, async () => {
      const token = this.#token;
      const refused = bearerToken(used);
      if (refused !== undefined && (token.isOtherThan(refused) || (!token.isNews && (await token.renewed(refused, request.signal)))))
        return "retry";
      remember(this.#session, error);
      return "give-up";
    });
  }

  /** Ends the manager. Waits until a running token request is stored; starts no new one. */
  async dispose(): Promise<void> {
    endSession(this.#session);
    await this.#token.dispose();
    await this.#stepUp.settled();
  }

  /** For `await using`: {@link dispose}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  /** A token; `undefined` when the server needs none. */
  #find(signal: AbortSignal | undefined): Promise<string | undefined> {
    return remembering(this.#session, async () => {
      // Twice: after the machine has slept, the first token may have expired already.
      const token = (await this.#token.get(signal)) ?? (await this.#token.get(signal));
      if (token === undefined && !this.#isOpen && this.#token.refusal) throw this.#token.refusal;
      return token;
    });
  }

  /** After a 401: sends a new token again after a moment; gets another one, unless the refused one was new. */
  async #replace(challenge: Challenge, refused: string | undefined, request: CredentialRequest): Promise<"retry" | "give-up"> {
    const { signal } = request;
    const token = this.#token;
    const { server: serverUrl } = this.#session;
    const insufficient = insufficiency(challenge, { serverUrl, issuer: token.record?.issuer });
    if (insufficient) throw insufficient;
    if (refused !== undefined && token.isUnsettled && (await this.#settling.pause(refused, request))) return "retry";
    const { record } = token;
    const isUntried = refused !== undefined && token.origin === "refresh" && !token.accepted;
    // A new token is refused by a server that has moved, too, where that was not known in time.
    if (isUntried && !(record && (await abortable(this.#hasMoved(challenge, record.issuer), signal)))) {
      remember(this.#session, tokenRefused(this.#session, record, challenge));
      return "give-up";
    }
    this.#isOpen = false;
    this.#refusal = challenge;
    if (refused === undefined) await token.get(signal);
    else {
      throwIfPaused(token);
      await abortable(token.refresh({ reason: "refused" }), signal);
    }
    if (token.isOtherThan(refused)) return "retry";
    throw token.refusal ?? tokenRefused(this.#session, record, challenge);
  }

  async #hasMoved(challenge: Challenge, issuer: string): Promise<boolean> {
    const { hasMoved } = await import("./obtain.ts");
    return hasMoved(this.#session, challenge, issuer);
  }

  /** Loads the code for token requests only when it is needed: most processes find a token in the store. */
  #loadObtainToken(): Promise<ObtainToken> {
    this.#obtainer ??= import("./obtain.ts").then(({ tokenObtainer }) => tokenObtainer(this.#session));
    return this.#obtainer;
  }
}
