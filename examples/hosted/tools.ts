import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import type { TokenManager } from "mcp-client-auth";

/** Does something with a server's tools on behalf of a user. */
export async function withTools<T>(auth: TokenManager, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ name: "acme-agents", version: "1.0.0" }, { versionNegotiation: { mode: "auto" } });
  try {
    await client.connect(new StreamableHTTPClientTransport(auth.serverUrl, { fetch: auth.fetch }));
    return await work(client);
  } finally {
    await client.close();
  }
}

/** The text that a tool answers. */
export async function callTool(client: Client, name: string, input: Record<string, unknown> = {}): Promise<string> {
  const { content } = await client.callTool({ name, arguments: input });
  const [part] = content;
  return part?.type === "text" ? part.text : "";
}
