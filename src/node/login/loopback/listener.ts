import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { systemClock } from "../../../clock.ts";
import { McpAuthError } from "../../../errors.ts";
import type { Answer } from "./page.ts";

/** What the listener serves. */
export interface ListenerOptions {
  /** 0 for any free port. */
  port: number;
  /** The one address to listen on. Default: 127.0.0.1 and, where the machine has it, ::1. */
  bindAddress: string | undefined;
  /** The only path that is answered. */
  path: string;
  /** Further `Host` values to accept, with port: that of a proxy before the listener. */
  proxyHost: (port: number) => string | undefined;
  /** Answers a response to an authorization request. `query` is without its question mark. `isAhead`: nobody sees the answer yet. */
  answer: (query: string, isAhead: boolean) => Promise<Answer>;
}

/** A bound port. */
export interface Listener {
  readonly port: number;
  /** Whether `[::1]` is served, too. */
  readonly ipv6: boolean;
  /** Lets answers on their way out finish, then frees the port and every connection. Safe to call twice. */
  close(): Promise<void>;
  /** Closes after a while. Until then it goes on answering, keeps no process alive, and gives the port to a login that wants it. */
  closeLater(): void;
}

/** How long an answer on its way out may take after `close()`, in milliseconds. */
const flushMs = 1000;
/** How long the navigation that follows a prefetch is waited for, in milliseconds. */
const lingerMs = 3000;
/** How to end the listeners that close later, by port. */
const lingering = new Map<number, () => Promise<void>>();

/**
 * Listens for authorization responses.
 *
 * Both loopback addresses are taken on one port, or the port is not taken at all: `localhost` may resolve to either, and a
 * foreign program on the other one would receive the code.
 *
 * @returns nothing when the port cannot be had
 * @see RFC 8252 §7.3, §8.3
 */
export async function listen(options: ListenerOptions): Promise<Listener | undefined> {
  const answering = new Set<Promise<void>>();
  let port = 0;
  const onRequest = (request: IncomingMessage, response: ServerResponse) => {
    const sent = new Promise<void>((resolve) => response.once("close", resolve));
    answering.add(sent);
    sent.then(() => answering.delete(sent));
    respond(options, port, request, response).catch(() => response.destroy());
  };

  await lingering.get(options.port)?.();
  const servers = await bindAll(options, onRequest);
  const address = servers?.[0]?.address();
  if (!servers || !address || typeof address === "string") return undefined;
  port = address.port;

  let closing: Promise<void> | undefined;
  const close = () => {
    closing ??= closeAll(servers, answering).finally(() => lingering.delete(port));
    return closing;
  };
  return {
    port,
    ipv6: servers.length > 1,
    close,
    closeLater() {
      for (const server of servers) server.unref();
      lingering.set(port, close);
      setTimeout(close, lingerMs).unref();
    },
  };
}

async function closeAll(servers: readonly Server[], answering: ReadonlySet<Promise<void>>): Promise<void> {
  const closed = servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve())));
  const flushed = new AbortController();
  const tooLong = systemClock.sleep(flushMs, { signal: flushed.signal, limit: true }).catch(() => {});
  await Promise.race([Promise.all(answering), tooLong]);
  flushed.abort();
  for (const server of servers) server.closeAllConnections();
  await Promise.all(closed);
}

type RequestListener = (request: IncomingMessage, response: ServerResponse) => void;

/** Servers on all addresses and the same port, or nothing. */
async function bindAll({ port, bindAddress }: ListenerOptions, onRequest: RequestListener): Promise<Server[] | undefined> {
  // A free port of the first address may be taken on the second: then another one is drawn.
  for (let attempt = port === 0 ? 10 : 1; attempt > 0; attempt--) {
    const first = await bind(bindAddress ?? "127.0.0.1", port, onRequest);
    if (first === "absent")
      throw new McpAuthError("invalid_option", { detail: `\`bindAddress\` ${bindAddress} is not an address of this machine` });
    if (first === "taken") continue;
    if (bindAddress !== undefined) return [first];
    const address = first.address();
    const second = typeof address === "object" && address ? await bind("::1", address.port, onRequest) : "absent";
    if (second === "absent") return [first];
    if (second !== "taken") return [first, second];
    await new Promise((resolve) => first.close(resolve));
  }
  return undefined;
}

async function bind(host: string, port: number, onRequest: RequestListener): Promise<Server | "taken" | "absent"> {
  // Importing `node:http` as a module loads much more than the server; this does not.
  const { createServer } = process.getBuiltinModule("node:http");
  // Nobody may hold a connection by sending slowly. Headers are larger than usual because browsers send the cookies of
  // every program on `localhost`, whatever its port.
  const server = createServer(
    { headersTimeout: 5000, requestTimeout: 10_000, connectionsCheckingInterval: 1000, maxHeaderSize: 65_536 },
    onRequest,
  );
  return new Promise((resolve) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      resolve(error.code === "EADDRNOTAVAIL" || error.code === "EAFNOSUPPORT" || error.code === "ENOTFOUND" ? "absent" : "taken");
    });
    // `exclusive`: workers of a cluster would share the port, and one would get the other's response.
    server.listen({ host, port, exclusive: true }, () => {
      server.on("error", () => {});
      resolve(server);
    });
  });
}

/** Everything about HTTP that comes before the response is looked at. */
async function respond(options: ListenerOptions, port: number, request: IncomingMessage, response: ServerResponse): Promise<void> {
  response.setHeader("Connection", "close");
  response.setHeader("Cache-Control", "no-store");
  response.setHeader("X-Content-Type-Options", "nosniff");
  response.setHeader("Referrer-Policy", "no-referrer");
  const plain = (status: number) => {
    response.writeHead(status, { "Content-Type": "text/plain", "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'" });
    response.end();
  };

  // A foreign name that resolves to loopback (DNS rebinding) must not make us answer its pages.
  const host = request.headers.host?.toLowerCase();
  const hosts = [`127.0.0.1:${port}`, `localhost:${port}`, `[::1]:${port}`, options.proxyHost(port)];
  if (host === undefined || !hosts.includes(host)) return plain(403);

  const [path, query = ""] = splitOnce(request.url ?? "", "?");
  if (path !== options.path) return plain(404);
  if (request.method !== "GET") {
    response.setHeader("Allow", "GET");
    return plain(405);
  }

  const { status, html, csp } = await options.answer(query, isAhead(request));
  response.writeHead(status, { "Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": csp });
  response.end(html);
}

/** Whether a browser loads the page before the user goes there; the navigation may then send a request of its own. */
function isAhead({ headers }: IncomingMessage): boolean {
  return [headers["sec-purpose"], headers.purpose, headers["x-moz"]].some((purpose) => String(purpose ?? "").startsWith("prefetch"));
}

function splitOnce(text: string, separator: string): [string, string?] {
  const at = text.indexOf(separator);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}
