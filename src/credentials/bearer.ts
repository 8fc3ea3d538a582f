import { SingleFlight } from "../async.ts";
import { type Clock, systemClock } from "../clock.ts";
import type { CredentialRequest } from "../credential.ts";
import type { Challenge } from "../discovery/challenge.ts";
import { McpAuthError } from "../errors.ts";
import { readJwtClaims } from "../grants/jwt-claims.ts";
import { checkOptions, clock as clockRule, needed, type Rules, secret } from "../options.ts";
import { bearerHeaders, bearerToken } from "../transports/bearer.ts";
import type { TokenSource } from "../transports/sdk/provided-token.ts";
import { ask, headerSafe } from "./secret.ts";
import { credentialRules, ServerCredential, type ServerCredentialOptions } from "./server-credential.ts";

/** Options of {@link BearerCredential}. */
export interface BearerOptions extends ServerCredentialOptions {
  /** The token; or a function that returns it. It is called when the token is first needed, about to expire (if a JWT), or refused. */
  token: string | (() => string | Promise<string>);
  /** Time, replaceable in tests. Default: `systemClock`. */
  clock?: Clock | undefined;
}

export const bearerRules = (): Rules<BearerOptions> => ({ ...credentialRules(), token: needed(secret), clock: clockRule() });

/** A token that expires within this time, in ms, is fetched again if there is a function. */
const leewayMs = 5_000;

/**
 * A bearer token that the app supplies: a constant, or the result of a function. Requests at the same time share one call of
 * the function. An expired JWT is not sent.
 *
 * It can be passed to `authProvider`, too.
 *
 * @see RFC 6750 §2.1
 * @example
 * ```ts
 * const auth = new BearerCredential({ serverUrl, token: () => readFile("/run/secrets/token", "utf8").then((text) => text.trim()) });
 * await client.connect(new StreamableHTTPClientTransport(auth.serverUrl, { fetch: auth.fetch }));
 * ```
 */
export class BearerCredential extends ServerCredential implements TokenSource {
  readonly #source: () => string | Promise<string>;
  readonly #clock: Clock;
  readonly #asking = new SingleFlight<string>();
  #token: string | undefined;
  /** Milliseconds since 1970. */
  #expiresAt = 0;

  /** @throws McpAuthError `invalid_option` for a token that cannot be sent; `invalid_url`, `insecure_url` */
  constructor(options: BearerOptions) {
    super(checkOptions(options, bearerRules()));
    const { token, clock = systemClock } = options;
    this.#clock = clock;
    this.#source = typeof token === "function" ? token : () => token;
    if (typeof token !== "function") this.#take(token);
  }

  /**
   * The token. It is fetched again when it is about to expire.
   *
   * @throws McpAuthError `credential_expired`; `credential_unavailable` when the function fails
   */
  async getAccessToken(): Promise<string> {
    if (this.#token !== undefined && this.#clock.now() + leewayMs < this.#expiresAt) return this.#token;
    return this.remembering(async () => {
      const token = await this.#ask();
      const now = this.#clock.now();
      if (now < this.#expiresAt) return token;
      const detail = `it ended at ${new Date(this.#expiresAt).toISOString()}, and it is now ${new Date(now).toISOString()}`;
      throw new McpAuthError("credential_expired", { serverUrl: this.serverUrl.href, detail });
    });
  }

  /** Headers that authorise one request; see `Credential`. */
  async headers(_request: CredentialRequest): Promise<Record<string, string>> {
    return bearerHeaders(await this.getAccessToken());
  }

  /** Decides what follows a refusal; see `Credential`. */
  async onChallenge(challenge: Challenge, used: Record<string, string>, request: CredentialRequest): Promise<"retry" | "give-up"> {
    if (challenge.status === 403 && challenge.error !== "invalid_token") return this.giveUp(challenge);
    const token = bearerToken(used);
    // A late refusal of an older token: another request has fetched a new one.
    if (token !== this.#token) return "retry";
    // The server has refused a fetched token, too.
    if (request.refused?.length) return this.giveUp(challenge);
    if ((await this.remembering(() => this.#ask())) === token) return this.giveUp(challenge);
    return "retry";
  }

  #ask(): Promise<string> {
    return this.#asking.run(async () => {
      const before = this.#token;
      const token = this.#take(await ask(this.#source, "token", this.serverUrl));
      if (before !== undefined && token !== before) this.emit({ type: "credential.renewed", kind: "token" });
      return token;
    });
  }

  #take(given: string): string {
    const token = headerSafe(given, "token");
    this.#token = token;
    // Unverified claims can only shorten the use of a JWT. Other tokens have no known expiry.
    this.#expiresAt = readJwtClaims(token)?.expiresAt ?? Number.POSITIVE_INFINITY;
    return token;
  }
}
