import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js";
import { systemClock, type TokenManager } from "mcp-client-auth";
import { createMcpAuth, type McpAuthOptions } from "mcp-client-auth/node";
import { person, recordingFetch } from "../test/fixture/index.ts";
import { type BenchClient, type Connection, connection } from "./client.ts";
import { lifetimeSeconds } from "./servers.ts";

/** What surrounds a client: a user, and time. */
export interface Surroundings extends Pick<McpAuthOptions, "fetch" | "folder"> {
  isPresent: () => boolean;
  openWindow: () => void;
  aheadMs: () => number;
}

export function createOurs(url: string, { isPresent, openWindow, aheadMs, ...options }: Surroundings): TokenManager {
  return createMcpAuth(url, {
    ...options,
    // Whether the machine has a keychain must not matter.
    keychain: false,
    clock: { ...systemClock, now: () => Date.now() + aheadMs() },
    interactive: true,
    print: () => {},
    openBrowser: async (window) => {
      openWindow();
      if (isPresent()) void person(window, options.fetch ? { fetch: options.fetch } : {});
    },
  });
}

export async function connectOurs(auth: Pick<TokenManager, "serverUrl" | "fetch">): Promise<Connection> {
  const client = new Client({ name: "bench", version: "1" });
  const transport = new StreamableHTTPClientTransport(auth.serverUrl, { fetch: auth.fetch });
  await client.connect(transport as Transport);
  return connection(client);
}

/** This package, as built, below the transport of SDK v1, with its default store. */
export const ours: BenchClient = {
  name: "mcp-client-auth",
  async start(server) {
    const fetch = recordingFetch();
    const user = { present: true, windows: 0 };
    const folder = mkdtempSync(join(tmpdir(), "bench-ours-"));
    let aheadMs = 0;
    const auth = createOurs(server.url, {
      fetch,
      folder,
      isPresent: () => user.present,
      openWindow: () => {
        user.windows++;
      },
      aheadMs: () => aheadMs,
    });
    return Object.assign(user, {
      log: fetch.log,
      expireToken: () => {
        aheadMs += lifetimeSeconds * 1000;
      },
      connect: () => connectOurs(auth),
      async [Symbol.asyncDispose]() {
        await auth.dispose();
        rmSync(folder, { recursive: true, force: true });
      },
    });
  },
};
