/**
 * The client of `@modelcontextprotocol/client` (v2) at a protected server.
 *
 *     node examples/sdk-v2.ts https://mcp.example.com/mcp
 */
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { createMcpAuth } from "mcp-client-auth/node";
import { target } from "./support/target.ts";

const server = await target();
const auth = createMcpAuth(server.url, { clientName: "SDK v2 example", ...server.options });
// Both generations of the protocol: the client asks the server which one it speaks.
const client = new Client({ name: "sdk-v2-example", version: "1.0.0" }, { versionNegotiation: { mode: "auto" } });

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
