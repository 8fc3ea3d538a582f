/**
 * The client of `@modelcontextprotocol/sdk` (v1) at a protected server.
 *
 *     node examples/sdk-v1.ts https://mcp.example.com/mcp
 */
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { createMcpAuth } from "mcp-client-auth/node";
import { target } from "./support/target.ts";

const server = await target();
const auth = createMcpAuth(server.url, { clientName: "SDK v1 example", ...server.options });
const client = new Client({ name: "sdk-v1-example", version: "1.0.0" });

try {
  // A user may need longer than a request may take, so the login comes first.
  await auth.authorize();
  await client.connect(new StreamableHTTPClientTransport(auth.serverUrl, { fetch: auth.fetch }));

  const { tools } = await client.listTools();
  console.log(`Tools: ${tools.map((tool) => tool.name).join(", ")}`);
} finally {
  await client.close();
  await auth.dispose();
  await server.close();
}
