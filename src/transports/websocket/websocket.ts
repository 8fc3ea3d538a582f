/**
 * A WebSocket transport for the official SDKs whose handshake carries credentials.
 *
 * @module mcp-client-auth/websocket
 */

import { type Deadline, deadline } from "../../async.ts";
import { systemClock } from "../../clock.ts";
import { codeOf, McpAuthError } from "../../errors.ts";
import { boundedHttp } from "../../http/http.ts";
import { members } from "../../http/json.ts";
import { checkOptions } from "../../options.ts";
import { authFetch } from "../fetch.ts";
import { checkHandshake, handshakeOf, openWebSocket } from "./handshake.ts";
import { idleWebSocketOptions, type WebSocketTransportOptions, webSocketRules } from "./options.ts";

export type { Clock } from "../../clock.ts";
export type { Credential, CredentialRequest } from "../../credential.ts";
export type { AuthenticateChallenge, Challenge } from "../../discovery/challenge.ts";
export type { Handshake, OpenWebSocket } from "./handshake.ts";
export type { WebSocketTransportOptions } from "./options.ts";

/** Time limit of one handshake, and of the request that asks why it failed, in ms. */
const handshakeMs = 10_000;

/**
 * A WebSocket transport for the SDKs, with credentials. They are sent as headers of the handshake where the runtime can (Node,
 * Bun); elsewhere (browsers, Deno, workers) in a subprotocol, or in a query parameter if the app allows it.
 *
 * A WebSocket does not say why a handshake was refused. So the transport sends one plain GET to the same URL, and the credential
 * handles a refusal there as any other. If that leads to new headers, the handshake is repeated, once. The GET opens no login
 * page: call `auth.authorize()` first if a user logs in. An open connection keeps the credential that it was opened with.
 *
 * @see RFC 6455 §4
 * @example
 * ```ts
 * await client.connect(new WebSocketTransport("wss://mcp.example.com/ws", { credential: auth }));
 * ```
 */
export class WebSocketTransport {
  /** Called once when the connection has ended, for any reason. Set by the SDK's client. */
  onclose?: (() => void) | undefined;
  /** Called for what went wrong outside a call. Set by the SDK's client. */
  onerror?: ((error: Error) => void) | undefined;
  /** Receives messages. Set by the SDK's client. */
  onmessage?: ((message: object) => void) | undefined;

  readonly #url: URL;
  /** The same URL with http, for plain requests. */
  readonly #httpUrl: URL;
  readonly #options: WebSocketTransportOptions;
  #socket: WebSocket | undefined;
  /** Aborted by `close()`. */
  readonly #closing = new AbortController();
  #started = false;
  #ended = false;

  /**
   * @param url wss, or ws on loopback
   * @throws McpAuthError `invalid_url`, `insecure_url`; `invalid_option` when the credential belongs to another server
   */
  constructor(url: string | URL, options: WebSocketTransportOptions = {}) {
    checkOptions(options, webSocketRules(), idleWebSocketOptions);
    checkHandshake(options);
    const http = boundedHttp({ allowInsecure: options.allowInsecure });
    const parsed = URL.parse(url);
    if (!parsed || !/^wss?:$/.test(parsed.protocol)) throw new McpAuthError("invalid_url", { detail: "it must begin with wss://" });
    this.#url = parsed;
    this.#httpUrl = http.checkUrl(parsed.href.replace(/^ws/, "http"));
    this.#options = options;
    const { serverUrl } = (options.credential ?? {}) as { serverUrl?: URL };
    if (serverUrl && serverUrl.origin !== this.#httpUrl.origin) {
      throw new McpAuthError("invalid_option", {
        detail: `\`credential\` is for ${serverUrl.origin}, and the URL is at ${this.#url.origin}`,
      });
    }
  }

  /** Connects. Called by the SDK's client. @throws McpAuthError `network_error`, `timeout`, or why the credential was refused */
  async start(): Promise<void> {
    if (this.#started)
      throw new McpAuthError("invalid_option", { detail: "the transport was started twice", hint: "Leave `start()` to `connect()`." });
    this.#started = true;
    const { signal } = this.#closing;
    try {
      let used = await this.#headers();
      try {
        await this.#open(used);
      } catch (error) {
        if (signal.aborted || codeOf(error) !== "network_error" || !(await this.#hasNewHeaders(used))) throw error;
        used = await this.#headers();
        await this.#open(used);
      }
      this.#options.credential?.onResponse?.(new Response(), used);
    } catch (error) {
      if (!signal.aborted) this.onerror?.(error as Error);
      throw error;
    }
  }

  /** Sends one message. Called by the SDK's client. @throws McpAuthError `network_error` without a connection */
  async send(message: object): Promise<void> {
    const socket = this.#socket;
    if (!socket || socket.readyState !== socket.OPEN) throw this.#failure("there is no connection");
    socket.send(JSON.stringify(message));
  }

  /** Ends the connection. */
  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort(this.#failure("the transport was closed"));
    if (this.#socket) this.#socket.close();
    else this.#end();
  }

  async #headers(): Promise<Record<string, string>> {
    const { signal } = this.#closing;
    return (await this.#options.credential?.headers({ method: "GET", url: this.#httpUrl, signal })) ?? {};
  }

  /** One handshake. */
  async #open(headers: Record<string, string>): Promise<void> {
    this.#closing.signal.throwIfAborted();
    const { webSocket = openWebSocket } = this.#options;
    const limit = this.#limit();
    const socket = webSocket(...handshakeOf(this.#url, headers, this.#options));
    // Set before the handshake ends, because a message may arrive together with its end.
    socket.onmessage = ({ data }: MessageEvent<unknown>) => this.#receive(data);
    try {
      await new Promise<void>((resolve, reject) => {
        socket.onopen = () => resolve();
        // A WebSocket reports a refusal and an unreachable server in the same way.
        const hint = this.#options.credential ? undefined : "Check the address; if it is right, the server may want a `credential`.";
        const failed = (event: Event) => reject(this.#failure("the handshake failed", event, hint));
        socket.onerror = failed;
        socket.onclose = failed;
        limit.signal.addEventListener("abort", () => reject(limit.signal.reason), { once: true });
      });
    } catch (error) {
      socket.close();
      throw error;
    } finally {
      limit.stop();
    }
    this.#socket = socket;
    socket.onerror = (event) => this.onerror?.(this.#failure("the connection failed", event));
    socket.onclose = () => this.#end();
  }

  #receive(data: unknown): void {
    const message = typeof data === "string" ? members(data) : {};
    if (message.jsonrpc === "2.0") this.onmessage?.(message);
    else
      this.onerror?.(
        new McpAuthError("server_error", { serverUrl: this.#url.href, detail: "it sent something else than a JSON-RPC message" }),
      );
  }

  #end(): void {
    this.#socket = undefined;
    if (this.#ended) return;
    this.#ended = true;
    this.onclose?.();
  }

  /**
   * Sends a plain request, whose status the WebSocket hides, so that the credential can handle a refusal.
   *
   * @returns whether the credential has new headers
   *
   * @throws McpAuthError what the credential throws, or `credential_refused`
   */
  async #hasNewHeaders(before: Record<string, string>): Promise<boolean> {
    const { credential, fetch } = this.#options;
    if (!credential) return false;
    const limit = this.#limit();
    let response: Response;
    try {
      response = await authFetch(credential, this.#httpUrl, { fetch })(this.#httpUrl, { signal: limit.signal });
      await response.body?.cancel();
    } catch (error) {
      if (error instanceof McpAuthError) throw error;
      return false;
    } finally {
      limit.stop();
    }
    const { status } = response;
    if (status === 401 || status === 403) {
      const { lastError } = credential as { lastError?: McpAuthError };
      throw lastError ?? new McpAuthError("credential_refused", { serverUrl: this.#url.href, status });
    }
    return JSON.stringify(await this.#headers()) !== JSON.stringify(before);
  }

  #limit(): Deadline {
    const tooLate = () => new McpAuthError("timeout", { serverUrl: this.#url.href, detail: `the handshake, ${handshakeMs} ms` });
    return deadline(this.#options.clock ?? systemClock, handshakeMs, tooLate, this.#closing.signal);
  }

  #failure(detail: string, event?: Event, hint?: string): McpAuthError {
    // With a token in the URL there is no `cause`: the runtime's error may quote the URL.
    const cause: unknown = this.#options.query ? undefined : (event as ErrorEvent | undefined)?.error;
    return new McpAuthError("network_error", { serverUrl: this.#url.href, detail, hint, cause });
  }
}
