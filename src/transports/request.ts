import { members, text } from "../http/json.ts";
import { redirectTarget } from "../http/redirect.ts";

const maxRedirects = 5;

/** A request that can be sent several times, each time with other credentials. */
export interface Outgoing {
  readonly url: URL;
  readonly method: string;
  readonly signal: AbortSignal | undefined;
  /** Whether the body can be sent again. */
  readonly replayable: boolean;
  /** A GET of an event stream, which reconnects by itself. */
  readonly isStream: boolean;
  /** The body where it is text. */
  readonly text: string | undefined;
  /** Sends with `credentials` added; follows redirects within the origin unless the caller wanted otherwise. */
  send(fetch: typeof globalThis.fetch, credentials: Record<string, string>): Promise<Response>;
}

/** Reads the arguments of a `fetch` call once. */
export function outgoing(input: string | URL | Request, init: RequestInit | undefined): Outgoing {
  // Another realm's or library's Request has no common class: what it has is a URL and a clone method.
  const request = typeof input === "object" && "clone" in input ? new Request(input, init) : undefined;
  const url = new URL(request?.url ?? (input as string | URL));
  const method = (request?.method ?? init?.method ?? "GET").toUpperCase();
  const signal = request?.signal ?? init?.signal ?? undefined;
  const headers = request?.headers ?? init?.headers;
  const body = request ? undefined : init?.body;
  const redirect = init?.redirect ?? request?.redirect ?? "follow";

  return {
    url,
    method,
    signal,
    text: typeof body === "string" ? body : undefined,
    replayable: isReplayable(body),
    isStream: method === "GET" && new Headers(headers).get("accept")?.includes("text/event-stream") === true,
    async send(fetch, credentials) {
      const withCredentials = new Headers(headers);
      for (const [name, value] of Object.entries(credentials)) withCredentials.set(name, value);
      let changes: RequestInit = { method, headers: withCredentials, redirect: redirect === "error" ? "error" : "manual" };
      let target = url;
      for (let redirects = 0; ; redirects++) {
        // The clone keeps the body for another time.
        const again = request && new Request(new Request(target, request.clone()), changes);
        const response = await (again ? fetch(again) : fetch(target, { ...init, ...changes }));
        const next = redirectTarget(response, target);
        if (redirect !== "follow" || redirects === maxRedirects || next?.origin !== target.origin) return response;
        // RFC 9110 §15.4: 303 always, 301 and 302 by custom, turn other methods into GET.
        if (response.status === 303 || (response.status < 303 && method === "POST")) {
          if (request) return response;
          withCredentials.delete("content-type");
          changes = { ...changes, method: "GET", body: null };
        } else if (!isReplayable(body)) {
          return response;
        }
        await response.body?.cancel();
        target = next;
      }
    },
  };
}

function isReplayable(body: unknown): boolean {
  return (
    body === undefined ||
    body === null ||
    typeof body === "string" ||
    body instanceof ArrayBuffer ||
    ArrayBuffer.isView(body) ||
    body instanceof URLSearchParams ||
    body instanceof FormData ||
    body instanceof Blob
  );
}

/** Which JSON-RPC call a body is: method and, for tools and the like, name. */
export function operationOf(body: string | undefined): string | undefined {
  const { method, params } = members(body ?? "");
  return text(method) && [method, text(Object(params).name)].filter(Boolean).join(" ");
}
