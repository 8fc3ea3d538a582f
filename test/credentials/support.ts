/** Servers that are protected without OAuth, and looks at what a credential shows. */
import { inspect } from "node:util";
import { expect, onTestFinished } from "vitest";
import type { AuthEvent, Clock } from "../../src/index.ts";
import { type McpServer, type Protection, startMcpServer } from "../fixture/index.ts";
import { httpKinds, type Kind, sseKinds } from "../interop/support.ts";

export { httpKinds, sseKinds };

/** A server for the running test. */
export async function protectedBy(protection: Protection): Promise<McpServer> {
  const server = await startMcpServer({ protection });
  onTestFinished(() => server.close());
  return server;
}

/** Whom the server takes a real SDK client for. */
export async function whoami(kind: Kind, auth: { serverUrl: URL; fetch: typeof globalThis.fetch }): Promise<unknown> {
  const sdk = kind.create(auth.serverUrl, { fetch: auth.fetch });
  await sdk.connect();
  const { sub } = (await sdk.call("whoami")) as { sub: string };
  await sdk.close();
  return sub;
}

const initialize = { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "test", version: "1" } };

/** A request that a server answers with 200, without a client. */
export const post = (auth: { serverUrl: URL; fetch: typeof globalThis.fetch }, init: RequestInit = {}): Promise<Response> =>
  auth.fetch(auth.serverUrl, {
    method: "POST",
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "initialize", params: initialize }),
    headers: { "content-type": "application/json", accept: "application/json, text/event-stream" },
    ...init,
  });

/** Events as they come; `onEvent` is an option. */
export function listening() {
  const events: AuthEvent[] = [];
  return { events, onEvent: (event: AuthEvent) => void events.push(event) };
}

/** A clock that stands still until it is moved. Timers never end. */
export function stillClock(now = Date.UTC(2026, 0, 1)): Clock & { advance(ms: number): void } {
  let time = now;
  return {
    now: () => time,
    sleep: (_ms, { signal } = {}) =>
      new Promise((_, reject) => signal?.addEventListener("abort", () => reject(signal.reason), { once: true })),
    advance(ms) {
      time += ms;
    },
  };
}

/** All that one could see of `things`, and of errors what is below them, holds none of `secrets`. */
export function expectHidden(secrets: readonly string[], ...things: unknown[]): void {
  for (const thing of things) {
    const shown = inspect(thing, { depth: 8, showHidden: true, getters: true }) + JSON.stringify(thing) + String(thing);
    for (const secret of secrets) expect(shown).not.toContain(secret);
  }
}

/** The error that `work` ends with. */
export async function failureOf(work: Promise<unknown> | (() => unknown)): Promise<unknown> {
  try {
    await (typeof work === "function" ? work() : work);
  } catch (error) {
    return error;
  }
  throw new Error("it did not fail");
}
