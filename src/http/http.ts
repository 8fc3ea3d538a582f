import { abortable, finished } from "../async.ts";
import { type Clock, systemClock } from "../clock.ts";
import { McpAuthError, type McpAuthErrorDetails, withoutQuery } from "../errors.ts";
import { bytes, callback, checkOptions, clock as clockRule, milliseconds, type Rules, texts } from "../options.ts";
import { checkRuntime } from "../runtime.ts";
import { unreachable } from "./fault.ts";
import { isSamePlace, redirectTarget } from "./redirect.ts";

/** How requests to metadata, registration and token endpoints are made. */
export interface HttpOptions {
  /** The app's own `fetch` (proxies, custom CAs). Default: the global one, looked up at each call. */
  fetch?: typeof globalThis.fetch | undefined;
  /** Host names (without port) to which plain http is allowed although they are not loopback. For development. */
  allowInsecure?: readonly string[] | undefined;
  /** Time for one request with its redirects and body, in milliseconds. Default: 10,000 for a GET, which may be repeated, else 30,000. */
  requestTimeout?: number | undefined;
  /** Largest body, in bytes. Default 1 MiB. */
  maxBytes?: number | undefined;
  /** Measures that time. Default: `systemClock`. */
  clock?: Clock | undefined;
}

const httpRules = (): Rules<HttpOptions> => ({
  fetch: callback,
  allowInsecure: texts,
  requestTimeout: milliseconds,
  maxBytes: bytes,
  clock: clockRule(),
});

/** Bounded requests: time, size, redirects and schemes. */
export interface Http {
  /**
   * A `fetch` whose responses have arrived whole. GETs follow at most 3 redirects, within the origin; others only such that add
   * or remove a final slash, with method and body. Any status is a response, not an error.
   *
   * @param limitMs time for it in place of `requestTimeout`, in ms
   * @throws McpAuthError `insecure_url`, `invalid_url`, `network_error`, `timeout`, `response_too_large`,
   *   `redirect_refused`; the caller's `signal.reason` when it aborts.
   */
  fetch(url: string | URL, init?: RequestInit, limitMs?: number): Promise<Response>;
  /**
   * The URL, parsed, if it may be used for OAuth: https, or http on loopback or an allowed host; no user info.
   *
   * @param whose where the URL comes from, for the error. Default: the app
   * @throws McpAuthError `insecure_url` or `invalid_url`.
   */
  checkUrl(url: string | URL, whose?: McpAuthErrorDetails): URL;
}

/** Whether a URL's host never leaves the machine. IPv4 addresses are canonical after URL parsing (127.1 → 127.0.0.1). */
export function isLoopback({ hostname }: URL): boolean {
  return /^(\[::1\]|(.+\.)?localhost|127(\.\d{1,3}){3})$/.test(hostname);
}

const maxRedirects = 3;
/** Time for a request that reads, and for one that spends something, in ms. */
const metadataMs = 10_000;
export const spendingMs = 30_000;

const isGet = ({ method = "GET" }: RequestInit) => method.toUpperCase() === "GET";

/**
 * Makes bounded requests with the app's or the global `fetch`.
 *
 * @throws McpAuthError `invalid_option`, `unsupported_runtime`; the two methods throw as {@link Http} says.
 */
export function createHttp(options: HttpOptions = {}): Http {
  checkOptions(options, httpRules());
  return boundedHttp(options);
}

/** {@link createHttp}, unchecked. */
export function boundedHttp(options: HttpOptions): Http {
  // Managers, credentials and single functions all begin here.
  checkRuntime();
  const { maxBytes = 1024 * 1024, clock = systemClock } = options;
  const insecure = options.allowInsecure?.map((host) => host.toLowerCase());

  function checkUrl(input: string | URL, whose?: McpAuthErrorDetails): URL {
    const url = URL.parse(input);
    const invalid = (detail: string) => new McpAuthError("invalid_url", { ...whose, detail });
    // What cannot be parsed is not quoted: it may be a secret in the wrong place.
    if (!url) throw invalid("it must begin with https://");
    const place = `${url.protocol}//${url.host}${url.pathname}`;
    if (!/^https?:$/.test(url.protocol)) throw invalid(`its scheme is ${url.protocol}`);
    if (url.username || url.password) throw invalid(`${place} with a user name or password`);
    if (url.protocol === "http:" && !isLoopback(url) && !insecure?.includes(url.hostname))
      throw new McpAuthError("insecure_url", { ...whose, detail: place });
    return url;
  }

  /** Sends, follows the redirects that may be followed, and reads the whole response. */
  async function load(url: URL, init: RequestInit): Promise<Response> {
    const mayRepeat = isGet(init);
    for (let redirects = 0; ; redirects++) {
      const response = await (options.fetch ?? globalThis.fetch)(url.href, { ...init, redirect: "manual" });
      const target = redirectTarget(response, url);
      if (target === undefined) return new Response(await readBody(response, maxBytes, url), response);
      const mayFollow = target?.origin === url.origin && (mayRepeat || (response.status !== 303 && isSamePlace(url, target)));
      if (redirects === maxRedirects || !mayFollow) {
        const to = target ? ` to ${target.origin}${target.pathname}` : "";
        throw new McpAuthError("redirect_refused", { detail: `${withoutQuery(url.href)}${to}`, status: response.status || undefined });
      }
      await response.body?.cancel();
      url = checkUrl(target);
    }
  }

  return {
    checkUrl,
    async fetch(input, init = {}, limitMs) {
      const url = checkUrl(input);
      const end = new AbortController();
      const signal = init.signal ? AbortSignal.any([init.signal, end.signal]) : end.signal;
      signal.throwIfAborted();
      // What a POST spends, such as a code, is spent although nobody waits for the answer any more.
      const requestTimeout = limitMs ?? options.requestTimeout ?? (isGet(init) ? metadataMs : spendingMs);
      const tooLate = () => end.abort(new McpAuthError("timeout", { detail: `${withoutQuery(url.href)}, ${requestTimeout} ms` }));
      clock.sleep(requestTimeout, { signal: end.signal, background: true, limit: true }).then(tooLate, () => {});
      try {
        // A `fetch` of the app's own may ignore the signal: waiting ends all the same.
        return await abortable(load(url, { ...init, signal }), signal);
      } catch (error) {
        if (signal.aborted) throw signal.reason;
        if (error instanceof McpAuthError) throw error;
        throw unreachable(error, withoutQuery(url.href));
      } finally {
        // Ends the time limit, too, and closes what is still open, such as a response that is too large.
        end.abort(finished);
      }
    },
  };
}

/** Reads within the limit; what is over it is never received. */
async function readBody(response: Response, maxBytes: number, url: URL): Promise<Blob | null> {
  if (!response.body) return null;
  const reader = response.body.getReader();
  const parts: Uint8Array<ArrayBuffer>[] = [];
  for (let size = 0; ; ) {
    const { done, value } = await reader.read();
    if (done) return new Blob(parts);
    size += value.byteLength;
    if (size > maxBytes) {
      reader.cancel().catch(() => {});
      throw new McpAuthError("response_too_large", {
        detail: `${withoutQuery(url.href)}, more than ${maxBytes} bytes`,
        status: response.status,
      });
    }
    parts.push(value);
  }
}
