import type { CredentialRequest } from "../credential.ts";
import type { Challenge } from "../discovery/challenge.ts";
import { McpAuthError } from "../errors.ts";
import { checkOptions, maybeEmptyText, needed, type Rules } from "../options.ts";
import { credentialRules, ServerCredential, type ServerCredentialOptions } from "./server-credential.ts";

/** Options of {@link BasicCredential}. */
export interface BasicOptions extends ServerCredentialOptions {
  /** Must not hold a colon. */
  username: string;
  /** May be empty. */
  password: string;
}

export const basicRules = (): Rules<BasicOptions> => ({
  ...credentialRules(),
  username: needed(maybeEmptyText),
  password: needed(maybeEmptyText),
});

/**
 * User name and password in every request, as UTF-8.
 *
 * @see RFC 7617
 * @example
 * ```ts
 * const auth = new BasicCredential({ serverUrl, username: "agent", password });
 * await client.connect(new StreamableHTTPClientTransport(auth.serverUrl, { fetch: auth.fetch }));
 * ```
 */
export class BasicCredential extends ServerCredential {
  readonly #authorization: string;

  /** @throws McpAuthError `invalid_option` for a colon in the name or a control character; `invalid_url`, `insecure_url` */
  constructor(options: BasicOptions) {
    super(checkOptions(options, basicRules()));
    const { username, password } = options;
    if (username.includes(":")) throw new McpAuthError("invalid_option", { detail: "`username` holds a colon" });
    if (/\p{Cc}/u.test(username + password)) {
      throw new McpAuthError("invalid_option", { detail: "`username` or `password` holds a line break or another control character" });
    }
    this.#authorization = `Basic ${btoa(String.fromCharCode(...new TextEncoder().encode(`${username}:${password}`)))}`;
  }

  /** A `requestInit` for SDK transports that accept no `fetch`. */
  requestInit(): { readonly headers: Record<string, string> } {
    return { headers: { authorization: this.#authorization } };
  }

  /** Headers that authorise one request; see `Credential`. */
  async headers(_request: CredentialRequest): Promise<Record<string, string>> {
    return { authorization: this.#authorization };
  }

  /** Decides what follows a refusal; see `Credential`. */
  async onChallenge(challenge: Challenge, _used: Record<string, string>, _request: CredentialRequest): Promise<"retry" | "give-up"> {
    return this.giveUp(challenge);
  }
}
