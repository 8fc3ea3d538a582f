import type { Clock } from "../clock.ts";
import type { Http } from "../http/http.ts";

/** What an assertion will be used for. The source decides which of this goes into it. */
export interface AssertionRequest {
  /** The authorization server: the usual audience. */
  issuer: string;
  /** Where the assertion will be sent. Some servers expect it as the audience instead. */
  tokenEndpoint: string;
  /** The protected resource. */
  resource?: string | undefined;
  /** Scopes that the token request asks for. */
  scopes?: readonly string[] | undefined;
  /** Sends requests, with limits on time and size. */
  http: Http;
  /** Time. */
  clock: Clock;
  /** Aborts the work. */
  signal?: AbortSignal | undefined;
}

/**
 * Supplies a JWT that identifies this program, or the user for whom it acts (RFC 7523 §2.1). Called for each token request.
 *
 * Any function can be a source. If it throws, the token request fails with `assertion_unavailable`.
 */
export interface AssertionSource {
  (request: AssertionRequest): string | Promise<string>;
  /** Whose assertions these are. It separates the tokens of workloads or users in a shared store. */
  readonly identity?: string | undefined;
}
