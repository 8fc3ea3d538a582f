import { splitScope } from "../authorization/scopes.ts";
import type { Credential, CredentialRequest } from "../credential.ts";
import type { Challenge } from "../discovery/challenge.ts";
import { aboutServer, InsufficientScopeError, McpAuthError, withoutQuery } from "../errors.ts";
import { type AuthEventFacts, type AuthEventListener, type Emit, emitter } from "../events.ts";
import { boundedHttp } from "../http/http.ts";
import { callback, needed, type Rules, texts, url } from "../options.ts";
import { authFetch } from "../transports/fetch.ts";

/** Options of every credential of this entry. */
export interface ServerCredentialOptions {
  /** The protected server. The credential is sent to its origin only. */
  serverUrl: string | URL;
  /** Sends the requests. Default: the global `fetch`, looked up at each call. */
  fetch?: typeof globalThis.fetch | undefined;
  /** Host names to which plain http is allowed, besides loopback. Others on the network can read the credential. */
  allowInsecure?: readonly string[] | undefined;
  /** Receives events. They hold no secret. */
  onEvent?: AuthEventListener | undefined;
}

export const credentialRules = (): Rules<ServerCredentialOptions> => ({
  serverUrl: needed(url),
  fetch: callback,
  allowInsecure: texts,
  onEvent: callback,
});

/** Base of every credential of this entry: its server, a `fetch`, and the last error. */
export abstract class ServerCredential implements Credential {
  /** The protected server. */
  readonly serverUrl: URL;
  /** A `fetch` that authorises requests to the protected server. */
  readonly fetch: typeof globalThis.fetch;

  readonly #emit: Emit;
  #lastError: McpAuthError | undefined;

  /** @throws McpAuthError `invalid_url`, `insecure_url` */
  constructor({ serverUrl, fetch, allowInsecure, onEvent }: ServerCredentialOptions) {
    this.serverUrl = boundedHttp({ allowInsecure }).checkUrl(serverUrl);
    this.#emit = emitter(onEvent, withoutQuery(this.serverUrl.href));
    this.fetch = authFetch(this, this.serverUrl, { fetch });
  }

  /** The last failure, for transports that lose errors (SSE). Cleared by the next success. */
  get lastError(): McpAuthError | undefined {
    return this.#lastError;
  }

  abstract headers(request: CredentialRequest): Promise<Record<string, string>>;

  abstract onChallenge(challenge: Challenge, used: Record<string, string>, request: CredentialRequest): Promise<"retry" | "give-up">;

  onResponse(response: Response): void {
    if (response.ok) this.#lastError = undefined;
  }

  /** @internal */
  protected emit(event: AuthEventFacts): void {
    this.#emit(event);
  }

  /** Notes a final refusal. @internal */
  protected giveUp({ status, error, scope }: Challenge): "give-up" {
    const facts = { serverUrl: this.serverUrl.href, status };
    if (error === "insufficient_scope") {
      this.#lastError = new InsufficientScopeError(splitScope(scope), facts);
    } else {
      this.#lastError = new McpAuthError("credential_refused", facts);
      this.#emit({ type: "credential.refused", left: 0 });
    }
    return "give-up";
  }

  /** Runs `work` and keeps its failure as the last error. @internal */
  protected async remembering<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof McpAuthError) this.#lastError = aboutServer(error, this.serverUrl.href);
      throw error;
    }
  }
}
