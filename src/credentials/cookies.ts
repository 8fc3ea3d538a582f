import { McpAuthError } from "../errors.ts";
import { addressOf } from "./address.ts";

/** Keeps cookies and decides where they go: `CookieJar` of `tough-cookie`, or one that has these methods, too. */
export interface CookieJar {
  /** Value of the `Cookie` header for a URL; empty without cookies. */
  getCookieString(url: string): Promise<string>;
  /** Takes a `Set-Cookie` line that `url` answered with. */
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
 * A `fetch` that sends the jar's cookies and learns what each answer sets, redirects and refusals included.
 *
 * @param isCurrent whether an answer that comes now still counts
 */
export function withCookies(jar: CookieJar, fetch: typeof globalThis.fetch, isCurrent = () => true): typeof globalThis.fetch {
  return async (input, init) => {
    const url = addressOf(input).href;
    const headers = new Headers(init?.headers ?? (input instanceof Request ? input.headers : undefined));
    const cookie = await jar.getCookieString(url);
    if (cookie) headers.set("cookie", cookie);
    const response = await fetch(input, { ...init, headers });
    // A cookie that the jar does not accept is none.
    if (isCurrent()) for (const line of response.headers.getSetCookie()) await jar.setCookie(line, url).catch(() => {});
    return response;
  };
}
