import { McpAuthError } from "../errors.ts";
import { isSamePlace, keepsRequest, redirectTarget } from "../http/redirect.ts";
import type { Outgoing } from "./request.ts";

/** Media types with which an MCP server answers a call; some answers have no body, and none. */
const answers = /^(application\/json|text\/event-stream)\b/i;

/**
 * The error for a response to a call that no MCP server gives: a redirect to another page, what a redirect has led to, an
 * HTML page. Access proxies refuse like this. Looks at status and headers only; a GET, or a POST that is no call, may get
 * anything.
 *
 * @param place where the response comes from
 * @param isElsewhere whether a redirect has led there
 * @see MCP 2025-11-25, Streamable HTTP, "Sending Messages to the Server"
 */
export function foreignResponse(response: Response, request: Outgoing, place: URL, isElsewhere: boolean): McpAuthError | undefined {
  if (request.method !== "POST") return undefined;
  const { status, ok } = response;
  const type = response.headers.get("content-type");
  const target = redirectTarget(response, place);
  let detail: string | undefined;
  if (target) {
    if (!isSamePlace(place, target) && !followsLater(response, place)) detail = `it redirects to ${target.origin}`;
  } else if (ok && type?.startsWith("text/html")) detail = `an HTML page of ${place.origin}`;
  else if (isElsewhere && status !== 429 && status < 500 && !(ok && (type === null || answers.test(type))))
    detail = `what it redirects to at ${place.origin} is no MCP server`;
  if (detail === undefined || !request.isCall) return undefined;
  return new McpAuthError("not_an_mcp_response", { serverUrl: request.url.href, status, detail });
}

/** Whether the sender may follow a redirect that it was given: only then it shows what is there. */
function followsLater(response: Response, place: URL): boolean {
  const target = redirectTarget(response, place);
  return target?.origin === place.origin && keepsRequest(response, place, target);
}

/** How many redirects are remembered at most. */
const maxRemembered = 20;

/** Redirects that were given to senders who follow them by themselves (the SDKs do): what is there is judged when it is asked. */
export class HandedRedirects {
  /** Where a redirect came from, by where it leads. */
  readonly #sources = new Map<string, URL>();

  note(response: Response, place: URL): void {
    if (response.status < 300 || response.status > 399 || this.#sources.size === maxRemembered) return;
    const target = redirectTarget(response, place);
    if (target && followsLater(response, place) && !isSamePlace(place, target))
      this.#sources.set(target.href, this.sourceOf(place) ?? place);
  }

  sourceOf(place: URL): URL | undefined {
    return this.#sources.size === 0 ? undefined : this.#sources.get(place.href);
  }
}
