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
  readonly headers: Headers;
  /** The body where it is text. */
  readonly text: string | undefined;
  /** Which JSON-RPC call this is: method and, for tools and the like, name. */
  operation(): string | undefined;
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
  const headers = request?.headers ?? new Headers(init?.headers);
  const body = request ? undefined : init?.body;
  const text = typeof body === "string" ? body : undefined;
  const redirect = init?.redirect ?? request?.redirect ?? "follow";

  const sendOnce = (fetch: typeof globalThis.fetch, target: URL, changes: RequestInit) =>
    request
      ? // The clone keeps the body for another time.
        fetch(new Request(new Request(target, request.clone()), { ...changes, redirect: redirect === "error" ? "error" : "manual" }))
      : fetch(target, { ...init, ...changes, redirect: redirect === "error" ? "error" : "manual" });

  return {
    url,
    method,
    signal,
    headers,
    text,
    replayable: isReplayable(body),
    isStream: method === "GET" && (headers.get("accept") ?? "").includes("text/event-stream"),
    operation: () => operationOf(text),
    async send(fetch, credentials) {
      const withCredentials = new Headers(headers);
      for (const [name, value] of Object.entries(credentials)) withCredentials.set(name, value);
      let changes: RequestInit = { method, headers: withCredentials };
      let target = url;
      for (let redirects = 0; ; redirects++) {
        const response = await sendOnce(fetch, target, changes);
        const next = redirect === "follow" && redirects < maxRedirects ? redirectTarget(response, target) : undefined;
        if (!next) return response;
        // RFC 9110 §15.4: 303 always, 301 and 302 by custom, turn other methods into GET.
        if (response.status === 303 || (response.status < 303 && method === "POST")) {
          if (request) return response;
          withCredentials.delete("content-type");
          changes = { method: "GET", headers: withCredentials, body: null };
        } else if (!isReplayable(body)) {
          return response;
        }
        await response.body?.cancel();
        target = next;
      }
    },
  };
}

/** Where a redirect within the origin leads. */
function redirectTarget(response: Response, from: URL): URL | undefined {
  const location = [301, 302, 303, 307, 308].includes(response.status) ? response.headers.get("location") : null;
  const target = location && URL.canParse(location, from) ? new URL(location, from) : undefined;
  return target?.origin === from.origin ? target : undefined;
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

function operationOf(text: string | undefined): string | undefined {
  try {
    const message = JSON.parse(text ?? "") as { method?: unknown; params?: { name?: unknown } } | null;
    if (typeof message?.method !== "string") return undefined;
    return typeof message.params?.name === "string" ? `${message.method} ${message.params.name}` : message.method;
  } catch {
    return undefined;
  }
}
