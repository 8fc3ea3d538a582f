import { members, text } from "../http/json.ts";
import { keepsRequest, redirectTarget } from "../http/redirect.ts";

const maxRedirects = 5;

/** A request that can be sent several times, with other credentials each time. */
export interface Outgoing {
  readonly url: URL;
  readonly method: string;
  readonly signal: AbortSignal | undefined;
  /** Whether the body can be sent again. */
  readonly replayable: boolean;
  /** Whether it is a GET of an event stream, which reconnects by itself. */
  readonly isStream: boolean;
  /** Whether it is a message to an MCP server. */
  readonly isCall: boolean;
  /** The body, if it is text. */
  readonly text: string | undefined;
  /** `Mcp-Session-Id`. */
  readonly sessionId: string | undefined;
  /**
   * Sends the request with `credentials` added. Follows redirects within the origin, unless the caller chose otherwise.
   *
   * @param onRedirect called for each redirect that is followed
   */
  send(fetch: typeof globalThis.fetch, credentials: Record<string, string>, onRedirect?: (to: URL) => void): Promise<Response>;
}

/** Reads the arguments of a `fetch` call once. */
export function outgoing(input: string | URL | Request, init: RequestInit | undefined): Outgoing {
  // Not `instanceof`: a Request of another realm or library has another class, but also a `clone` method.
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
    get sessionId() {
      return new Headers(headers).get("mcp-session-id") ?? undefined;
    },
    replayable: isReplayable(body),
    isStream: method === "GET" && acceptsStream(headers),
    // Read only where it matters: copies of headers are not free.
    get isCall() {
      return method === "POST" && (acceptsStream(headers) || (typeof body === "string" && body.includes('"jsonrpc"')));
    },
    async send(fetch, credentials, onRedirect) {
      const withCredentials = new Headers(headers);
      for (const [name, value] of Object.entries(credentials)) withCredentials.set(name, value);
      let changes: RequestInit = { method, headers: withCredentials, redirect: redirect === "error" ? "error" : "manual" };
      let target = url;
      for (let redirects = 0; ; redirects++) {
        // A clone, so that the body can be sent again.
        const again = request && new Request(new Request(target, request.clone()), changes);
        const response = await (again ? fetch(again) : fetch(target, { ...init, ...changes }));
        const next = redirectTarget(response, target);
        if (redirect !== "follow" || redirects === maxRedirects || next?.origin !== target.origin) return response;
        // RFC 9110 §15.4: a 303 turns other methods into GET; 301 and 302 turn POST into GET, by convention.
        if (response.status === 303 || (method === "POST" && !keepsRequest(response, target, next))) {
          if (request) return response;
          withCredentials.delete("content-type");
          changes = { ...changes, method: "GET", body: null };
        } else if (!isReplayable(body)) {
          return response;
        }
        await response.body?.cancel();
        target = next;
        onRedirect?.(target);
      }
    },
  };
}

/** Whether an event stream is wanted: of a POST, MCP clients say so by the specification. */
function acceptsStream(headers: RequestInit["headers"]): boolean {
  return new Headers(headers).get("accept")?.includes("text/event-stream") === true;
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

/** The JSON-RPC call in a body: its method and, if there is one, the name of the tool or prompt. */
export function operationOf(body: string | undefined): string | undefined {
  const { method, params } = members(body ?? "");
  return text(method) && [method, text(Object(params).name)].filter(Boolean).join(" ");
}
