/** How requests to metadata, registration and token endpoints are made. */
export interface HttpOptions {
  /** The app's own `fetch` (proxies, custom CAs). Default: the global one, looked up at each call. */
  fetch?: typeof globalThis.fetch | undefined;
  /** Host names (without port) to which plain http is allowed although they are not loopback. For development. */
  allowInsecure?: readonly string[] | undefined;
  /** Time for one request with its redirects and body, in milliseconds. Default 10,000. */
  timeoutMs?: number | undefined;
  /** Largest body, in bytes. Default 1 MiB. */
  maxBytes?: number | undefined;
}

/** Bounded requests: time, size, redirects and schemes. */
export interface Http {
  /**
   * A `fetch` whose answers have arrived whole. GETs follow at most 3 redirects, within the origin; others none.
   * Any status is an answer, not an error.
   *
   * @throws McpAuthError `insecure_url`, `invalid_url`, `network_error`, `timeout`, `response_too_large`,
   *   `redirect_refused`; the caller's `signal.reason` when it aborts.
   */
  fetch(url: string | URL, init?: RequestInit): Promise<Response>;
  /**
   * The URL, parsed, if it may be used for OAuth: https, or http on loopback or an allowed host; no user info.
   *
   * @throws McpAuthError `insecure_url` or `invalid_url`.
   */
  checkUrl(url: string | URL): URL;
}
