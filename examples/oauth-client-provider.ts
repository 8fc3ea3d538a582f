/**
 * A framework that takes nothing but an `OAuthClientProvider` of `@modelcontextprotocol/sdk` (v1).
 *
 *     node examples/oauth-client-provider.ts https://mcp.example.com/mcp
 *
 * Where a framework also takes a `fetch`, give it `auth.fetch` instead: it can do more (see README, "Integration").
 */
import type { OAuthClientProvider } from "@modelcontextprotocol/sdk/client/auth.js";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { createMcpAuth } from "mcp-client-auth/node";
import { authProvider } from "mcp-client-auth/sdk-v1";
import { target } from "./support/target.ts";

/** Stands in for the framework: the transport is its own affair. */
async function connectTo(url: URL, provider: OAuthClientProvider): Promise<Client> {
  const client = new Client({ name: "some-framework", version: "1.0.0" });
  await client.connect(new StreamableHTTPClientTransport(url, { authProvider: provider }));
  return client;
}

const server = await target();
const auth = createMcpAuth(server.url, { clientName: "OAuthClientProvider example", ...server.options });

try {
  await auth.authorize();
  const client = await connectTo(auth.serverUrl, authProvider(auth));

  const { tools } = await client.listTools();
  console.log(`Tools: ${tools.map((tool) => tool.name).join(", ")}`);
  await client.close();
} finally {
  await auth.dispose();
  await server.close();
}
