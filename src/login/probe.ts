import { deadline } from "../async.ts";
import { type Challenge, readChallenge } from "../discovery/challenge.ts";
import { McpAuthError } from "../errors.ts";
import { faultOf, unreachable } from "../http/fault.ts";
import { keepsRequest, redirectTarget } from "../http/redirect.ts";
import type { ServerSession } from "../tokens/session.ts";

const protocolVersion = "2026-07-28";
const limitMs = 10_000;
const maxRedirects = 3;

/** A request of the current MCP revision that opens neither a session nor a stream. */
const discoverRequest = /* @__PURE__ */ JSON.stringify({
  jsonrpc: "2.0",
  id: "mcp-client-auth",
  method: "server/discover",
  params: {
    _meta: {
      "io.modelcontextprotocol/protocolVersion": protocolVersion,
      "io.modelcontextprotocol/clientInfo": { name: "mcp-client-auth", version: "0" },
      "io.modelcontextprotocol/clientCapabilities": {},
    },
  },
});

/**
 * Asks the protected server, without a token, whether it needs one.
 *
 * @param headers of a request that is to be refused or not: a token, a session
 * @returns the server's challenge; `undefined` when it answers without a token
 * @throws McpAuthError `network_error`, `timeout`, `server_error`, `rate_limited`, and what a `fetch` of this package throws
 */
export async function probe(
  session: ServerSession,
  signal: AbortSignal | undefined,
  headers: Readonly<Record<string, string>> = {},
): Promise<Challenge | undefined> {
  const posted = await send(session, signal, {
    method: "POST",
    headers: {
      ...headers,
      "content-type": "application/json",
      accept: "application/json, text/event-stream",
      "mcp-protocol-version": protocolVersion,
      "mcp-method": "server/discover",
    },
    body: discoverRequest,
  });
  // Servers with the older SSE transport accept only GET at this URL.
  const response =
    posted.status === 404 || posted.status === 405
      ? await send(session, signal, { headers: { ...headers, accept: "text/event-stream" } })
      : posted;
  const challenge = readChallenge(response);
  // Access proxies redirect, or answer 403, and name the metadata of the resource.
  const isNamed = challenge.resourceMetadata !== undefined && response.status >= 300 && response.status < 500;
  if (response.status === 401 || isNamed) return challenge;
  const fault = faultOf(response, { serverUrl: session.server }, session.clock.now());
  if (fault) throw fault;
  return undefined;
}

/**
 * Sends a request and closes the body at once, which may be an endless stream. Only status and headers count. Follows redirects
 * as calls do: within the origin, where the request stays as it is.
 */
async function send(
  { serverUrl, server, options, clock }: ServerSession,
  outer: AbortSignal | undefined,
  init: RequestInit,
): Promise<Response> {
  const { signal, stop } = deadline(clock, limitMs, () => new McpAuthError("timeout", { serverUrl: server }), outer);
  const fetch = options.fetch ?? globalThis.fetch;
  try {
    let url = new URL(serverUrl);
    for (let redirects = 0; ; redirects++) {
      const response = await fetch(url, { ...init, redirect: "manual", signal });
      await response.body?.cancel();
      const target = redirectTarget(response, url);
      if (redirects === maxRedirects || target?.origin !== url.origin || !keepsRequest(response, url, target)) return response;
      url = target;
    }
  } catch (cause) {
    signal.throwIfAborted();
    // A `fetch` of this package, such as the one for client certificates, has already named the error.
    if (cause instanceof McpAuthError) throw cause;
    throw unreachable(cause, undefined, server);
  } finally {
    stop();
  }
}
