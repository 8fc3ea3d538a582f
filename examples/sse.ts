/**
 * A server with the older SSE transport. The same works with the `SSEClientTransport` of `@modelcontextprotocol/client`.
 *
 *     node examples/sse.ts https://mcp.example.com/sse
 */
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport } from "@modelcontextprotocol/sdk/client/sse.js";
import { createMcpAuth } from "mcp-client-auth/node";
import { target } from "./support/target.ts";

const server = await target("sse");
const auth = createMcpAuth(server.url, { clientName: "SSE example", ...server.options });
const client = new Client({ name: "sse-example", version: "1.0.0" });

try {
  // Not optional here: the first request is a stream, and a stream never opens a browser.
  await auth.authorize();
  await client.connect(new SSEClientTransport(auth.serverUrl, { fetch: auth.fetch }));

  const { tools } = await client.listTools();
  console.log(`Tools: ${tools.map((tool) => tool.name).join(", ")}`);
} catch (error) {
  // The transport turns every failure into an `SseError` without code; the reason is kept here.
  throw auth.lastError ?? error;
} finally {
  await client.close();
  await auth.dispose();
  await server.close();
}
