/** A web application that logs its users in: several machines with one store, and browsers with cookies. */
import { onTestFinished } from "vitest";
import { HostedLogin, type HostedLoginOptions } from "../../src/hosted/index.ts";
import { type AuthEvent, McpAuthError, MemoryStore, TokenManager } from "../../src/index.ts";
import { type ProtectedServer, type ProtectedServerOptions, person, startProtectedServer } from "../fixture/index.ts";

export const redirectUri = "https://app.example/mcp/callback";

/** A protected server that ends with the test. */
export async function startServer(options?: ProtectedServerOptions): Promise<ProtectedServer> {
  const server = await startProtectedServer(options);
  onTestFinished(() => server.close());
  return server;
}

/** Machines of one application. Times pass when the test says so. */
export function application(options: Partial<HostedLoginOptions> = {}) {
  const store = options.store ?? new MemoryStore();
  const events: AuthEvent[] = [];
  const clock = {
    offset: 0,
    now: () => Date.now() + clock.offset,
    sleep: (ms: number, { signal }: { signal?: AbortSignal } = {}) =>
      new Promise<void>((resolve, reject) => {
        const timer = setTimeout(resolve, ms);
        timer.unref();
        signal?.addEventListener("abort", () => {
          clearTimeout(timer);
          reject(signal.reason);
        });
      }),
  };
  const machine = (more: Partial<HostedLoginOptions> = {}) =>
    new HostedLogin({ redirectUri, clock, clientName: "Acme", onEvent: (event) => events.push(event), ...options, ...more, store });
  const managerOf = (serverUrl: string, account: string) => {
    const auth = new TokenManager({ serverUrl, account, store, clock });
    onTestFinished(() => auth.dispose());
    return auth;
  };
  return { store, events, clock, machine, managerOf, types: () => events.map(({ type }) => type) };
}

/** The user logs in at the authorization server and allows, or denies; the redirect is returned, not followed. */
export async function visit(url: URL, options: Parameters<typeof person>[1] = {}): Promise<string> {
  const isCallback = ({ origin }: URL) => origin === new URL(redirectUri).origin;
  const { callbackUrl, page } = await person(url, { followCallback: false, isCallback, ...options });
  if (!callbackUrl) throw new Error(`no callback: ${page}`);
  return callbackUrl.href;
}

/** A value; or the code of the error, and what it says. */
export async function outcome(promise: Promise<unknown>): Promise<unknown> {
  try {
    return await promise;
  } catch (error) {
    if (!(error instanceof McpAuthError)) throw error;
    return error.code;
  }
}
