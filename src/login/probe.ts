import { deadline } from "../async.ts";
import { type Challenge, challengeOf } from "../discovery/challenge.ts";
import { McpAuthError } from "../errors.ts";
import { faultOf, unreachable } from "../http/fault.ts";
import type { ServerSession } from "../tokens/session.ts";

const protocolVersion = "2026-07-28";
const limitMs = 10_000;

/** One request of the current revision that any server may answer, and that opens neither session nor stream. */
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
 * Asks the protected server, without a token, whether it wants one.
 *
 * @returns its refusal; `undefined` when it answers without one
 * @throws McpAuthError `network_error`, `timeout`, `server_error`, `rate_limited`, and what a `fetch` of ours throws
 */
export async function probe(session: ServerSession, signal: AbortSignal | undefined): Promise<Challenge | undefined> {
  const posted = await ask(session, signal, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      accept: "application/json, text/event-stream",
      "mcp-protocol-version": protocolVersion,
      "mcp-method": "server/discover",
    },
    body: discoverRequest,
  });
  // Servers with the older SSE transport only know a GET at this URL.
  const response =
    posted.status === 404 || posted.status === 405 ? await ask(session, signal, { headers: { accept: "text/event-stream" } }) : posted;
  if (response.status === 401) return challengeOf(response);
  const fault = faultOf(response, { serverUrl: session.server }, session.clock.now());
  if (fault) throw fault;
  return undefined;
}

/** Only status and headers count: the body, an endless stream perhaps, is closed at once. */
async function ask(
  { serverUrl, server, options, clock }: ServerSession,
  outer: AbortSignal | undefined,
  init: RequestInit,
): Promise<Response> {
  const { signal, stop } = deadline(clock, limitMs, () => new McpAuthError("timeout", { serverUrl: server }), outer);
  const send = options.fetch ?? globalThis.fetch;
  try {
    const response = await send(serverUrl, { ...init, redirect: "manual", signal });
    await response.body?.cancel();
    return response;
  } catch (cause) {
    signal.throwIfAborted();
    // A `fetch` of ours, such as that for client certificates, has said what is wrong.
    if (cause instanceof McpAuthError) throw cause;
    throw unreachable(cause, undefined, server);
  } finally {
    stop();
  }
}
