import type { Clock } from "../clock.ts";
import { McpAuthError, unless, withoutQuery } from "../errors.ts";
import { faultOf } from "../http/fault.ts";
import { boundedHttp, type Http } from "../http/http.ts";
import { callback, checkOptions, needed, type Rule, type Rules, record, text, textsByName, url } from "../options.ts";
import { outgoing } from "../transports/request.ts";
import { type CookieJar, withCookies } from "./cookies.ts";
import { ask } from "./secret.ts";

/** A request that begins a session. */
export interface SessionLoginRequest {
  /** https, or http on loopback. */
  url: string | URL;
  /** Default `POST`. */
  method?: string | undefined;
  /** Further headers. */
  headers?: Readonly<Record<string, string>> | undefined;
  /** Fields of a form; or text that is sent unchanged, with its `content-type` in `headers`. */
  body?: Readonly<Record<string, string>> | string | undefined;
}

/**
 * How a session begins: with one request, or with a function. The function's `fetch` stores cookies, follows redirects within
 * an origin, and has limits (10 s, 1 MiB). It may return the response that decides, and throws when the login failed.
 */
export type SessionLogin =
  | SessionLoginRequest
  // biome-ignore lint/suspicious/noConfusingVoidType: a function that returns nothing will do
  | ((fetch: (url: string | URL, init?: RequestInit) => Promise<Response>) => Promise<Response | void>);

export const sessionLoginRule: Rule = ["a request, or a function that logs in", (value) => callback[1](value) || record[1](value)];

export const sessionLoginRequestRules = (): Rules<SessionLoginRequest> => ({
  url: needed(url),
  method: text,
  headers: textsByName,
  body: ["a text, or an object of texts", (value) => typeof value === "string" || textsByName[1](value)],
});

/**
 * Checks the option `login`.
 *
 * @returns a function that logs in. It throws McpAuthError `credential_refused` for a 4xx, or without a cookie for the server;
 *   `server_error`, `rate_limited`, `network_error`, `timeout`, `response_too_large`, `redirect_refused`
 */
export function sessionLogin(
  options: {
    login: SessionLogin;
    fetch?: typeof globalThis.fetch | undefined;
    allowInsecure?: readonly string[] | undefined;
    clock: Clock;
  },
  serverUrl: URL,
): (jar: CookieJar) => Promise<void> {
  const { login, fetch, allowInsecure, clock } = options;
  if (typeof login !== "function") boundedHttp({ allowInsecure }).checkUrl(checkOptions(login, sessionLoginRequestRules()).url);
  const begin = typeof login === "function" ? login : (send: Http["fetch"]) => request(login, send);

  return async (jar) => {
    const http = boundedHttp({ allowInsecure, clock, fetch: browsing(jar, fetch) });
    const response = await ask(() => begin(http.fetch), "login", serverUrl);
    const where = typeof login === "function" ? "" : ` at ${withoutQuery(new URL(login.url).href)}`;
    const facts = { serverUrl: serverUrl.href, detail: `the login${where} was refused`, status: response?.status };
    if (response && response.status >= 400) {
      throw faultOf(response, { serverUrl: serverUrl.href }, clock.now()) ?? new McpAuthError("credential_refused", facts);
    }
    if (!(await jar.getCookieString(serverUrl.href))) {
      throw new McpAuthError("credential_refused", {
        ...facts,
        detail: `the login${where} set no cookie for ${withoutQuery(serverUrl.href)}`,
      });
    }
  };
}

/** Sends the login request. A redirect to another origin or a large page is no failure: the cookies are stored already. */
function request({ url, method = "POST", headers, body }: SessionLoginRequest, fetch: Http["fetch"]) {
  const sent = typeof body === "object" ? new URLSearchParams(body) : body;
  const answer = fetch(url, { method, headers: { ...headers }, ...(sent !== undefined && { body: sent }) });
  return unless("response_too_large", unless("redirect_refused", answer));
}

/** A `fetch` that follows redirects within the origin and stores the cookies of each response. */
function browsing(jar: CookieJar, fetch: typeof globalThis.fetch | undefined): typeof globalThis.fetch {
  return (input, init) =>
    outgoing(input, { ...init, redirect: "follow" }).send(
      withCookies(jar, (...request) => (fetch ?? globalThis.fetch)(...request)),
      {},
    );
}
