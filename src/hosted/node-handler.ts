import { callback, checkOptions, needed, type Rule, url } from "../options.ts";
import type { WebHandler } from "./handlers.ts";

/** A request of Node, Express or Connect, by its shape: whoever imports this entry needs no types of theirs. */
export interface NodeRequest {
  readonly method?: string | undefined;
  /** Path and query. */
  readonly url?: string | undefined;
  /** Express: the same before a router has cut its own path off. */
  readonly originalUrl?: string | undefined;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
}

/** A response of the same. */
export interface NodeResponse {
  /** HTTP status. */
  statusCode: number;
  /** Before `end`. */
  setHeader(name: string, value: string | readonly string[]): unknown;
  /** Sends it. */
  end(body?: string): unknown;
}

/** Options of {@link nodeHandler}. */
export interface NodeHandlerOptions {
  /** The app's address as browsers know it. No header of a request can change it. */
  baseUrl: string | URL;
}

const absolute: Rule = ["an absolute URL", (value) => url[1](value) && URL.canParse(String(value))];

const originals = new WeakMap<Request, NodeRequest>();

/**
 * A handler for Express, Connect and `node:http`. It reads no body, so that it does not matter what has parsed it before.
 *
 * @example
 * ```ts
 * const node = (handler: WebHandler) => nodeHandler(handler, { baseUrl: "https://app.example" });
 * app.post("/mcp/connect", node(connect));
 * ```
 *
 * @throws McpAuthError `invalid_option`
 */
export function nodeHandler(
  handler: WebHandler,
  options: NodeHandlerOptions,
): (request: NodeRequest, response: NodeResponse, next?: (error?: unknown) => void) => Promise<void> {
  checkOptions({ handler }, { handler: needed(callback) });
  checkOptions(options, { baseUrl: needed(absolute) });
  const { origin } = new URL(options.baseUrl);
  return async (incoming, response, next) => {
    try {
      await answer(handler, incoming, response, origin);
    } catch (error) {
      if (next) return next(error);
      response.statusCode = 500;
      response.end();
      throw error;
    }
  };
}

/**
 * The request of Node or Express behind a `Request`: for `account`, which needs the app's own session.
 *
 * @example
 * ```ts
 * account: (request) => nodeRequestOf<express.Request>(request)?.session.userId
 * ```
 */
export function nodeRequestOf<T extends NodeRequest = NodeRequest>(request: Request): T | undefined {
  return originals.get(request) as T | undefined;
}

async function answer(handler: WebHandler, incoming: NodeRequest, response: NodeResponse, origin: string): Promise<void> {
  const path = incoming.originalUrl ?? incoming.url ?? "";
  // A proxy's form names a host of the sender's choice.
  if (!path.startsWith("/")) {
    response.statusCode = 400;
    response.end();
    return;
  }
  const request = new Request(origin + path, { method: incoming.method ?? "GET", headers: headersOf(incoming) });
  originals.set(request, incoming);
  const answered = await handler(request);
  response.statusCode = answered.status;
  for (const [name, value] of answered.headers) if (name !== "set-cookie") response.setHeader(name, value);
  const cookies = answered.headers.getSetCookie();
  if (cookies.length > 0) response.setHeader("set-cookie", cookies);
  response.end(await answered.text());
}

function headersOf({ headers: received }: NodeRequest): Headers {
  const headers = new Headers();
  for (const [name, value] of Object.entries(received)) {
    // HTTP/2 has some that are no headers.
    if (value === undefined || name.startsWith(":")) continue;
    for (const one of [value].flat()) headers.append(name, one);
  }
  return headers;
}
