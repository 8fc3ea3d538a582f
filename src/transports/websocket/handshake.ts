import { McpAuthError } from "../../errors.ts";

/** What a handshake carries, beside its URL. */
export interface Handshake {
  /** Subprotocols on offer, `mcp` first. */
  protocols: string[];
  /** Headers of the request; empty where the credential travels otherwise. */
  headers: Record<string, string>;
}

/** Opens a WebSocket: where the runtime's own cannot carry headers, but a library's can. */
export type OpenWebSocket = (url: string, handshake: Handshake) => WebSocket;

/** How the credential travels where headers cannot. Without one of these: as headers. */
export interface HandshakeOptions {
  /**
   * A subprotocol that carries the token, in the form that the server knows, such as `bearer.` and the token. It is offered
   * beside `mcp`.
   */
  subprotocol?: ((token: string) => string) | undefined;
  /** A query parameter that carries the token, for servers that take it nowhere else. */
  query?: { parameter: string; exposeTokenInUrls: true } | undefined;
}

/**
 * What a handshake is made of.
 *
 * @throws McpAuthError `invalid_option` when the credential does not fit the chosen form
 */
export function handshakeOf(
  url: URL,
  headers: Record<string, string>,
  { subprotocol, query }: HandshakeOptions,
): [url: string, handshake: Handshake] {
  if (!subprotocol && !query) return [url.href, { protocols: ["mcp"], headers }];
  const token = tokenOf(headers);
  if (subprotocol) {
    const carrier = subprotocol(token);
    if (!/^[\w!#$%&'*+.^`|~-]+$/.test(carrier)) {
      throw new McpAuthError("invalid_option", {
        detail: "`subprotocol` returns characters that a header cannot carry",
        hint: "Encode the token as base64url.",
      });
    }
    return [url.href, { protocols: ["mcp", carrier], headers: {} }];
  }
  if ((query?.exposeTokenInUrls as unknown) !== true) {
    const detail = "a token in a URL is written to the logs of servers and proxies";
    const hint = "Use `subprotocol`, or insist with `query.exposeTokenInUrls: true`.";
    throw new McpAuthError("invalid_option", { detail, hint });
  }
  const target = new URL(url);
  target.searchParams.set(query?.parameter ?? "", token);
  return [target.href, { protocols: ["mcp"], headers: {} }];
}

/**
 * The runtime's own WebSocket. Those that know no headers take the handshake for a subprotocol with an impossible name, and
 * refuse it before anything is sent.
 *
 * @throws McpAuthError `invalid_option`
 */
export function openWebSocket(url: string, { protocols, headers }: Handshake): WebSocket {
  if (Object.keys(headers).length === 0) return new WebSocket(url, protocols);
  try {
    // Node's and Bun's extension of the standard.
    return new WebSocket(url, { protocols, headers } as unknown as string[]);
  } catch {
    // What it threw may hold a header.
    const detail = "a WebSocket cannot carry these headers in this runtime";
    throw new McpAuthError("invalid_option", { detail, hint: "Use `subprotocol`, or pass a `webSocket` that can." });
  }
}

/** The secret itself: of `Authorization`, or of the only header. */
function tokenOf(headers: Record<string, string>): string {
  const { authorization, ...others } = headers;
  const values = Object.values(others);
  const token = authorization?.replace(/^Bearer /i, "") ?? values[0];
  if (!token || values.length > (authorization ? 0 : 1)) {
    throw new McpAuthError("invalid_option", {
      detail: "`credential` is more than one token, which neither `subprotocol` nor `query` can carry",
    });
  }
  return token;
}
