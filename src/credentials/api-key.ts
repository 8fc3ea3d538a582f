import { SingleFlight } from "../async.ts";
import type { CredentialRequest } from "../credential.ts";
import type { Challenge } from "../discovery/challenge.ts";
import { McpAuthError } from "../errors.ts";
import { checkOptions, flag, type Idle, maybeEmptyText, needed, type Rule, type Rules, record, text } from "../options.ts";
import { sendInQuery } from "./query-parameter.ts";
import { ask, headerSafe } from "./secret.ts";
import { credentialRules, ServerCredential, type ServerCredentialOptions } from "./server-credential.ts";

/** Options of {@link ApiKeyCredential}. */
export interface ApiKeyOptions extends ServerCredentialOptions {
  /**
   * The key; or up to four keys, of which the first that the server accepts is used (empty ones are left out); or a function
   * that returns them. The function is called when the keys are first needed, and again when all were refused.
   */
  keys:
    | string
    | readonly (string | undefined)[]
    | (() => string | readonly (string | undefined)[] | Promise<string | readonly (string | undefined)[]>);
  /** Name of the header. Default `X-API-Key`. */
  header?: string | undefined;
  /** Text before the key, sent unchanged, such as `"Bearer "`. Default: none. */
  prefix?: string | undefined;
  /** Whether a 403 refuses the key, as at some gateways. Default `false`: a 403 is returned to the caller. */
  failOverOn403?: boolean | undefined;
  /** Sends the key in the URL instead of a header, for servers that accept it only there. */
  query?: { parameter: string; exposeKeyInUrls: true } | undefined;
}

type Keys = string | readonly (string | undefined)[];

const keysRule: Rule = [
  "a text, an array of texts, or a function that returns them",
  (value) =>
    typeof value === "string" ||
    typeof value === "function" ||
    (Array.isArray(value) && value.every((key) => key === undefined || typeof key === "string")),
];

export const apiKeyRules = (): Rules<ApiKeyOptions> => ({
  ...credentialRules(),
  keys: needed(keysRule),
  header: text,
  prefix: maybeEmptyText,
  failOverOn403: flag,
  query: record,
});

export const idleApiKeyOptions: Idle<ApiKeyOptions> = [["header", "query"]];

/** As many keys as one request can try: `authFetch` sends it five times at most, and the last refusal must count. */
const maxKeys = 4;

/** Headers that belong to the connection, the body, or MCP. */
const reserved =
  /^(host|cookie2?|set-cookie|content-.*|accept(-.*)?|connection|keep-alive|te|trailer|transfer-encoding|upgrade|expect|date|origin|referer|via|proxy-.*|sec-.*|last-event-id|mcp-(session-id|protocol-version|method|name|param-.*))$/;

/**
 * An API key in a header. With several keys a rotation at the server interrupts nothing: when a key is refused, the request is
 * repeated with the next one, which is then used first.
 *
 * @example
 * ```ts
 * const auth = new ApiKeyCredential({ serverUrl, keys: [newKey, oldKey] });
 * await client.connect(new StreamableHTTPClientTransport(auth.serverUrl, { fetch: auth.fetch }));
 * ```
 */
export class ApiKeyCredential extends ServerCredential {
  /** Sends the key in the URL, if the option `query` is set. */
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
    super(checkOptions(options, apiKeyRules(), idleApiKeyOptions));
    const { keys, header = "X-API-Key", prefix = "", query, failOverOn403 = false } = options;
    this.#header = headerName(header);
    // Checked together with a key, because the prefix may end with a space.
    this.#prefix = prefix && headerSafe(`${prefix}x`, "prefix").slice(0, -1);
    this.#failOverOn403 = failOverOn403;
    if (typeof keys === "function") this.#source = keys;
    else this.#take(keys);
    if (query) this.send = sendInQuery(this.serverUrl, this.#header, query, options.fetch);
  }

  /**
   * A `requestInit` for SDK transports that accept no `fetch`. It does not change to another key after a refusal.
   *
   * @throws McpAuthError `invalid_option` if a function supplies the keys, or if they are sent in the URL
   */
  requestInit(): { readonly headers: Record<string, string> } {
    if (this.#source || this.send)
      throw new McpAuthError("invalid_option", { detail: "`requestInit()` needs `keys` as text, in a header", hint: "Use `fetch`." });
    const current = () => ({ [this.#header]: this.#prefix + this.#current });
    return {
      get headers() {
        return current();
      },
    };
  }

  /** Headers that authorise one request; see `Credential`. */
  async headers(request: CredentialRequest): Promise<Record<string, string>> {
    if (this.#keys.length === 0) await this.#ask();
    return { [this.#header]: this.#prefix + (this.#next(this.#refusedOf(request)) ?? this.#current) };
  }

  /** A 403, if the option `failOverOn403` is set. */
  isChallenge(response: Response): boolean {
    return this.#failOverOn403 && response.status === 403;
  }

  /** Decides what follows a refusal; see `Credential`. */
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
    // A late refusal of an older key changes nothing: another request has already chosen the next key.
    if (key === this.#current) {
      this.#current = next;
      this.emit({ type: "credential.refused", left: this.#keys.filter((other) => !refused.has(other)).length });
    }
    return "retry";
  }

  /** The next key to try: the current one first, without those that this request was refused with. */
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
        if (before !== "" && before !== this.#current) this.emit({ type: "credential.renewed", kind: "key" });
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
