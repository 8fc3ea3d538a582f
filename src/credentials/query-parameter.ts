import { McpAuthError, withoutQuery } from "../errors.ts";
import { addressOf } from "./address.ts";

/**
 * A `fetch` that moves the key from its header into the URL, only for the protected server's origin. The response's `url` does
 * not show the key.
 *
 * @throws McpAuthError `invalid_option` unless `query.exposeKeyInUrls` is true
 */
export function sendInQuery(
  serverUrl: URL,
  header: string,
  query: { parameter: string; exposeKeyInUrls: true },
  fetch: typeof globalThis.fetch | undefined,
): typeof globalThis.fetch {
  const { parameter, exposeKeyInUrls } = query as { parameter: unknown; exposeKeyInUrls: unknown };
  if (typeof parameter !== "string" || parameter === "") throw new McpAuthError("invalid_option", { detail: "`query.parameter` is empty" });
  if (exposeKeyInUrls !== true) {
    const detail = "a key in a URL is written to the logs of servers and proxies, to histories, and to other sites as referrer";
    const hint = "Send it in a `header`, or insist with `query.exposeKeyInUrls: true`.";
    throw new McpAuthError("invalid_option", { detail, hint });
  }
  return async (input, init) => {
    const send = fetch ?? globalThis.fetch;
    const url = addressOf(input);
    const headers = new Headers(init?.headers ?? (input instanceof Request ? input.headers : undefined));
    const key = headers.get(header);
    if (url.origin !== serverUrl.origin || key === null) return send(input, init);
    headers.delete(header);
    const bare = withoutQuery(url.href);
    url.searchParams.set(parameter, key);
    const response = await send(input instanceof Request ? new Request(url, input) : url, { ...init, headers }).catch((error: unknown) => {
      (init?.signal ?? (input instanceof Request ? input.signal : undefined))?.throwIfAborted();
      // The runtime's error is not passed on: on Deno and Bun it quotes the URL.
      throw error instanceof McpAuthError ? error : new McpAuthError("network_error", { serverUrl: bare });
    });
    return Object.defineProperty(response, "url", { value: bare });
  };
}
