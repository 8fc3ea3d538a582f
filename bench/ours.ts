import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js";
import { systemClock } from "mcp-client-auth";
import { createMcpAuth } from "mcp-client-auth/node";
import { person, recordingFetch } from "../test/fixture/index.ts";
import { type BenchClient, connection } from "./client.ts";
import { lifetimeSeconds } from "./servers.ts";

/** This package, as built, below the transport of SDK v1. */
export const ours: BenchClient = {
  name: "mcp-client-auth",
  async start(server) {
    const fetch = recordingFetch();
    const user = { present: true, windows: 0 };
    let aheadMs = 0;
    const auth = createMcpAuth(server.url, {
      fetch,
      clock: { ...systemClock, now: () => Date.now() + aheadMs },
      interactive: true,
      print: () => {},
      openBrowser: async (url) => {
        user.windows++;
        if (user.present) void person(url, { fetch });
      },
    });
    return Object.assign(user, {
      log: fetch.log,
      expireToken: () => {
        aheadMs += lifetimeSeconds * 1000;
      },
      async connect() {
        const client = new Client({ name: "bench", version: "1" });
        const transport = new StreamableHTTPClientTransport(auth.serverUrl, { fetch: auth.fetch });
        await client.connect(transport as Transport);
        return connection(client);
      },
      [Symbol.asyncDispose]: () => auth.dispose(),
    });
  },
};
