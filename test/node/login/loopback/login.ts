/** What the tests of the listener share: a login that is waiting, and requests as no browser would send them. */
import { request as httpRequest, type IncomingHttpHeaders } from "node:http";
import { onTestFinished, vi } from "vitest";
import type { LoginHandler, LoginHandlerRequest, LoginSession } from "../../../../src/authorization/login-handler.ts";
import { McpAuthError } from "../../../../src/errors.ts";
import { type LoopbackLoginOptions, loopbackLogin } from "../../../../src/node/index.ts";

export const authorizationUrl = new URL("https://as.example/authorize?state=right");

export interface WaitingLogin {
  session: LoginSession;
  port: number;
  /** Settles with the login: "ok", or what it was rejected with. */
  outcome: Promise<unknown>;
  /** What `receive` was given. */
  received: URLSearchParams[];
  abort(reason?: unknown): void;
  printed: string[];
}

export async function startSession(handler: LoginHandler, request: Partial<LoginHandlerRequest> = {}): Promise<LoginSession> {
  const session = await handler.start({
    serverUrl: "https://mcp.example/mcp",
    fixed: false,
    signal: new AbortController().signal,
    ...request,
  });
  onTestFinished(() => session.close());
  return session;
}

/** A port that is free on both loopback addresses. */
export async function freePort(): Promise<number> {
  const session = await startSession(loopbackLogin());
  await session.close();
  return Number(new URL(session.redirectUri).port);
}

/** A login that a response with `state=right` ends: by `result` when that is a function, else well. */
export async function waitingLogin(
  options: LoopbackLoginOptions = {},
  result: (parameters: URLSearchParams) => Promise<void> | void = () => {},
  request: Partial<LoginHandlerRequest> = {},
): Promise<WaitingLogin> {
  const printed: string[] = [];
  const handler = loopbackLogin({ openBrowser: async () => {}, print: (line) => printed.push(line), ...options });
  const session = await startSession(handler, request);
  const controller = new AbortController();
  const received: URLSearchParams[] = [];
  const receive = async (parameters: URLSearchParams) => {
    received.push(parameters);
    if (parameters.get("state") !== "right") throw new McpAuthError("state_mismatch");
    await result(parameters);
  };
  const outcome = session.authorize(authorizationUrl, receive, controller.signal).then(
    () => "ok",
    (reason: unknown) => reason,
  );
  return {
    session,
    port: Number(new URL(session.redirectUri).port),
    outcome,
    received,
    abort: (reason = new McpAuthError("login_timeout")) => controller.abort(reason),
    printed,
  };
}

export interface RawAnswer {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
}

/** One request on a connection of its own. */
export function send(
  port: number,
  path: string,
  options: { method?: string; host?: string; address?: string; headers?: Record<string, string> } = {},
): Promise<RawAnswer> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({
      host: options.address ?? "127.0.0.1",
      port,
      path,
      method: options.method ?? "GET",
      agent: false,
      headers: { host: options.host ?? `127.0.0.1:${port}`, ...options.headers },
    });
    request.on("error", reject);
    request.on("response", (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => {
        text += chunk;
      });
      response.on("end", () => resolve({ status: response.statusCode ?? 0, headers: response.headers, text }));
    });
    request.end();
  });
}

/** Whether anybody accepts connections. */
export async function isOpen(port: number, address = "127.0.0.1"): Promise<boolean> {
  return send(port, "/", { address }).then(
    () => true,
    () => false,
  );
}

/** On a machine that is busy, too. */
export const waitFor = <T>(check: () => T | Promise<T>) => vi.waitFor(check, { timeout: 45_000, interval: 10 });
