/** A server that answers as the test says, and a credential that does as it is told. */
import { once } from "node:events";
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { onTestFinished, vi } from "vitest";
import type { Credential } from "../../src/index.ts";

/** A request as the server got it, whole. */
export interface Received {
  method: string;
  path: string;
  headers: IncomingHttpHeaders;
  body: string;
}

export type Answer = (request: Received, response: ServerResponse, raw: IncomingMessage) => void | Promise<void>;

export interface PlainServer {
  url: string;
  origin: string;
  received: Received[];
  /** Connections that are open now. */
  readonly connections: number;
}

/** Answers when the whole request has arrived; `early` answers before its body is read. */
export async function plainServer(answer: Answer, { early = false } = {}): Promise<PlainServer> {
  const received: Received[] = [];
  const sockets = new Set<object>();
  const server = createServer(async (raw, response) => {
    const request: Received = { method: raw.method ?? "", path: raw.url ?? "", headers: raw.headers, body: "" };
    received.push(request);
    if (early) return void answer(request, response, raw);
    for await (const chunk of raw) request.body += String(chunk);
    await answer(request, response, raw);
  });
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    origin,
    url: `${origin}/mcp`,
    received,
    get connections() {
      return sockets.size;
    },
  };
}

/** Sends `token-1`, after one refusal `token-2`, and so on. */
export function countingCredential(decide: (refused: number) => "retry" | "give-up" | Promise<"retry" | "give-up"> = () => "retry") {
  let refused = 0;
  return {
    headers: vi.fn<Credential["headers"]>(async () => ({ authorization: `Bearer token-${refused + 1}` })),
    onChallenge: vi.fn<Credential["onChallenge"]>(async () => decide(++refused)),
    onResponse: vi.fn<NonNullable<Credential["onResponse"]>>(),
  } satisfies Credential;
}

/** 401 to everything but `token-2`, which is echoed. */
export const wantsSecondToken: Answer = (request, response) => {
  if (request.headers.authorization !== "Bearer token-2") return void response.writeHead(401, { "www-authenticate": "Bearer" }).end("no");
  response.writeHead(200).end(request.body);
};

export const status =
  (code: number, body = "", headers: Record<string, string> = {}): Answer =>
  (_request, response) =>
    void response.writeHead(code, headers).end(body);
