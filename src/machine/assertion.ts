import type { Clock } from "../clock.ts";
import type { Http } from "../http/http.ts";

/** What an assertion is to be used for. Whoever makes it decides how much of that it says. */
export interface AssertionRequest {
  /** The authorization server: the usual audience. */
  issuer: string;
  /** Where the assertion will be sent: the audience that some servers want instead. */
  tokenEndpoint: string;
  /** The protected resource. */
  resource?: string | undefined;
  /** Space-separated scopes. */
  scope?: string | undefined;
  /** What sends, within bounds. */
  http: Http;
  /** Time. */
  clock: Clock;
  /** Ends the waiting. */
  signal?: AbortSignal | undefined;
}

/**
 * Where a JWT comes from that speaks for this program, or for the user behind it (RFC 7523 §2.1): asked anew for each
 * token request.
 *
 * Any function will do. One that throws ends the token request with `assertion_unavailable`.
 */
export interface AssertionSource {
  (request: AssertionRequest): string | Promise<string>;
  /** Whose assertions these are: keeps the tokens of several workloads or users apart in a shared store. */
  readonly identity?: string | undefined;
}
