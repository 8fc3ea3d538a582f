import { McpAuthError } from "../errors.ts";
import { addressOf } from "./address.ts";

/** Stores cookies and decides where they are sent: the `CookieJar` of `tough-cookie`, or an object with the same methods. */
export interface CookieJar {
  /** Value of the `Cookie` header for a URL; empty without cookies. */
  getCookieString(url: string): Promise<string>;
  /** Stores a `Set-Cookie` line of a response from `url`. */
  setCookie(cookie: string, url: string): Promise<unknown>;
}

/**
 * A jar in memory.
 *
 * @throws McpAuthError `invalid_option` when `tough-cookie` is not installed
 */
export async function memoryJar(): Promise<CookieJar> {
  try {
    const { CookieJar } = await import("tough-cookie");
    return new CookieJar();
  } catch (cause) {
    throw new McpAuthError("invalid_option", {
      detail: "session cookies need tough-cookie or a `jar`",
      hint: "Run `npm install tough-cookie`.",
      cause,
    });
  }
}

/**
 * A `fetch` that sends the jar's cookies and stores those of each response, redirects and refusals included.
 *
 * @param isCurrent whether the cookies of a response that arrives now are stored
 */
export function withCookies(jar: CookieJar, fetch: typeof globalThis.fetch, isCurrent = () => true): typeof globalThis.fetch {
  return async (input, init) => {
    const url = addressOf(input).href;
    const headers = new Headers(init?.headers ?? (input instanceof Request ? input.headers : undefined));
    const cookie = await jar.getCookieString(url);
    if (cookie) headers.set("cookie", cookie);
    const response = await fetch(input, { ...init, headers });
    // A cookie that the jar refuses is ignored.
    if (isCurrent()) for (const line of response.headers.getSetCookie()) await jar.setCookie(line, url).catch(() => {});
    return response;
  };
}
