import { SingleFlight } from "../async.ts";
import type { CredentialRequest } from "../credential.ts";
import type { Challenge } from "../discovery/challenge.ts";
import { McpAuthError } from "../errors.ts";
import { sendInQuery } from "./query-parameter.ts";
import { ask, headerSafe, type Source } from "./secret.ts";
import { type CurrentHeaders, ServerCredential, type ServerCredentialOptions } from "./server-credential.ts";

/** Options of {@link ApiKeyCredential}. */
export interface ApiKeyOptions extends ServerCredentialOptions {
  /**
   * The key; or up to four, of which the first that the server takes is used (empty ones are left out); or a function that
   * fetches them: when they are first needed, and again when all were refused.
   */
  keys: Source<string | readonly (string | undefined)[]>;
  /** Name of the header. Default `X-API-Key`. */
  header?: string | undefined;
  /** Text before the key, as it is: `"Bearer "`. Default: none. */
  prefix?: string | undefined;
  /** Whether a 403 refuses the key, as some gateways mean it. Default `false`: it is the server's answer. */
  failOverOn403?: boolean | undefined;
  /** The key in the URL instead of a header, for servers that take it nowhere else. */
  query?: { parameter: string; exposeKeyInUrls: true } | undefined;
}

type Keys = string | readonly (string | undefined)[];

/** As many as one request can try and still hear of the last one's refusal. */
const maxKeys = 4;

/** Headers that belong to the connection, the body, or the protocol above. */
const reserved =
  /^(host|cookie2?|set-cookie|content-.*|accept(-.*)?|connection|keep-alive|te|trailer|transfer-encoding|upgrade|expect|date|origin|referer|via|proxy-.*|sec-.*|last-event-id|mcp-(session-id|protocol-version|method|name|param-.*))$/;

/**
 * An API key in a header. Several keys make a rotation at the server harmless: when one is refused, the request is
 * repeated with the next, which stays the first choice.
 *
 * @example
 * ```ts
 * const auth = new ApiKeyCredential({ serverUrl, keys: [newKey, oldKey] });
 * await client.connect(new StreamableHTTPClientTransport(auth.serverUrl, { fetch: auth.fetch }));
 * ```
 */
export class ApiKeyCredential extends ServerCredential {
  /** Sends the key in the URL, where the app insists on that. */
  readonly send?: typeof globalThis.fetch;

  readonly #header: string;
  readonly #prefix: string;
  readonly #failOverOn403: boolean;
  readonly #source: (() => Keys | Promise<Keys>) | undefined;
  readonly #asking = new SingleFlight<void>();
  #keys: readonly string[] = [];
  #current = "";

  /** @throws McpAuthError `invalid_option` for a header, key or prefix that cannot be sent; `invalid_url`, `insecure_url` */
  constructor(options: ApiKeyOptions) {
    super(options);
    const { keys, header = "X-API-Key", prefix = "", query, failOverOn403 = false } = options;
    this.#header = headerName(header);
    // Checked with a key behind it: a space between the two is meant.
    this.#prefix = prefix && headerSafe(`${prefix}x`, "prefix").slice(0, -1);
    this.#failOverOn403 = failOverOn403;
    if (typeof keys === "function") this.#source = keys;
    else this.#take(keys);
    if (query) this.send = sendInQuery(this.serverUrl, this.#header, query, options.fetch);
  }

  /**
   * For SDK transports that cannot be given a `fetch`. It cannot fall over: that is `fetch`'s part.
   *
   * @throws McpAuthError `invalid_option` where keys are fetched by a function, or sent in the URL
   */
  requestInit(): CurrentHeaders {
    if (this.#source || this.send)
      throw new McpAuthError("invalid_option", { detail: "`requestInit()` needs `keys` as text, in a header", hint: "Use `fetch`." });
    const current = () => ({ [this.#header]: this.#prefix + this.#current });
    return {
      get headers() {
        return current();
      },
    };
  }

  async headers(request: CredentialRequest): Promise<Record<string, string>> {
    if (this.#keys.length === 0) await this.#ask();
    return { [this.#header]: this.#prefix + (this.#next(this.#refusedOf(request)) ?? this.#current) };
  }

  /** A 403, where the app says that it refuses the key. */
  isChallenge(response: Response): boolean {
    return this.#failOverOn403 && response.status === 403;
  }

  async onChallenge(challenge: Challenge, used: Record<string, string>, request: CredentialRequest): Promise<"retry" | "give-up"> {
    if (challenge.status === 403 && !this.#failOverOn403) return this.giveUp(challenge);
    const key = this.#keyIn(used);
    const refused = this.#refusedOf(request).add(key);

    let next = this.#next(refused);
    if (next === undefined && this.#source) {
      await this.#ask();
      next = this.#next(refused);
    }
    if (next === undefined) return this.giveUp(challenge);
    // A refusal of one that is not current any more comes late: others have moved on.
    if (key === this.#current) {
      this.#current = next;
      this.emit({ type: "credential.refused", left: this.#keys.filter((other) => !refused.has(other)).length });
    }
    return "retry";
  }

  /** The key that a request tries next: the current one, unless it was refused just now. */
  #next(refused: ReadonlySet<string | undefined>): string | undefined {
    return [this.#current, ...this.#keys].find((key) => key !== "" && !refused.has(key));
  }

  #refusedOf({ refused = [] }: CredentialRequest): Set<string | undefined> {
    return new Set(refused.map((used) => this.#keyIn(used)));
  }

  #keyIn(used: Readonly<Record<string, string>>): string | undefined {
    return used[this.#header]?.slice(this.#prefix.length);
  }

  #ask(): Promise<void> {
    const source = this.#source ?? (() => this.#keys);
    return this.#asking.run(() =>
      this.remembering(async () => {
        const before = this.#current;
        this.#take(await ask(source, "keys", this.serverUrl));
        if (before !== "" && before !== this.#current) this.emit({ type: "credential.renewed" });
      }),
    );
  }

  #take(given: Keys | undefined): void {
    const keys = [given].flat().filter((key) => (key ?? "") !== "");
    if (keys.length === 0) throw new McpAuthError("invalid_option", { detail: "`keys` is empty" });
    if (keys.length > maxKeys)
      throw new McpAuthError("invalid_option", { detail: `\`keys\` holds ${keys.length} keys, more than ${maxKeys}` });
    this.#keys = keys.map((key) => headerSafe(key, "keys"));
    this.#current = this.#keys[0] ?? "";
  }
}

function headerName(header: string): string {
  const name = header.toLowerCase();
  if (!/^[\w!#$%&'*+.^`|~-]+$/.test(name)) throw new McpAuthError("invalid_option", { detail: "`header` is not a valid header name" });
  if (reserved.test(name))
    throw new McpAuthError("invalid_option", { detail: `\`header\` must not be ${name}, which has another meaning` });
  return name;
}
