import { McpAuthError } from "../../errors.ts";
import { callback, type Rules, record } from "../../options.ts";

/** The parts of a handshake, beside its URL. */
export interface Handshake {
  /** Subprotocols on offer, `mcp` first. */
  protocols: string[];
  /** Headers of the request; empty if the credential is in a subprotocol or in the URL. */
  headers: Record<string, string>;
}

/** Opens a WebSocket, for example with a library that can send headers where the runtime's own cannot. */
export type OpenWebSocket = (url: string, handshake: Handshake) => WebSocket;

/** How to send the credential if the runtime cannot send headers. Default: as headers. */
export interface HandshakeOptions {
  /**
   * Returns a subprotocol that holds the token in the form that the server expects, such as `bearer.` and the token. It is
   * offered beside `mcp`.
   */
  subprotocol?: ((token: string) => string) | undefined;
  /** Sends the token in a query parameter, for servers that accept it only there. */
  query?: { parameter: string; exposeTokenInUrls: true } | undefined;
}

export const handshakeRules = (): Rules<HandshakeOptions> => ({ subprotocol: callback, query: record });

/** @throws McpAuthError `invalid_option` unless the app insists on a token in the URL, and names the parameter */
export function checkHandshake({ query }: HandshakeOptions): void {
  if (!query) return;
  const { parameter, exposeTokenInUrls } = query as { parameter: unknown; exposeTokenInUrls: unknown };
  if (typeof parameter !== "string" || parameter === "") throw new McpAuthError("invalid_option", { detail: "`query.parameter` is empty" });
  if (exposeTokenInUrls === true) return;
  const detail = "a token in a URL is written to the logs of servers and proxies";
  const hint = "Use `subprotocol`, or insist with `query.exposeTokenInUrls: true`.";
  throw new McpAuthError("invalid_option", { detail, hint });
}

/**
 * Makes the URL, the subprotocols and the headers of a handshake.
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
  const target = new URL(url);
  target.searchParams.set(query?.parameter ?? "", token);
  return [target.href, { protocols: ["mcp"], headers: {} }];
}

/**
 * Opens the runtime's own WebSocket. A runtime without headers reads the second argument as an invalid subprotocol, and throws
 * before anything is sent.
 *
 * @throws McpAuthError `invalid_option`
 */
export function openWebSocket(url: string, { protocols, headers }: Handshake): WebSocket {
  if (Object.keys(headers).length === 0) return new WebSocket(url, protocols);
  try {
    // An extension of the standard in Node and Bun.
    return new WebSocket(url, { protocols, headers } as unknown as string[]);
  } catch {
    // No `cause`: the runtime's error may quote a header.
    const detail = "a WebSocket cannot carry these headers in this runtime";
    throw new McpAuthError("invalid_option", { detail, hint: "Use `subprotocol`, or pass a `webSocket` that can." });
  }
}

/** The token: from `Authorization`, or the value of the only header. */
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
