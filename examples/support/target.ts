import { MemoryStore } from "mcp-client-auth";
import type { McpAuthOptions } from "mcp-client-auth/node";
import { person, startProtectedServer } from "../../test/fixture/index.ts";

/** What an example connects to. */
export interface Target {
  url: string;
  /** Added to the example's own: nothing for a real server. */
  options: McpAuthOptions;
  close(): Promise<void>;
}

/** The server that the command line names; without one, a protected server in this process, and a user who is played. */
export async function target(endpoint: "mcp" | "sse" = "mcp"): Promise<Target> {
  const [, , url] = process.argv;
  if (url !== undefined) return { url, options: {}, close: async () => {} };

  const { mcpServer, close } = await startProtectedServer();
  if (endpoint === "sse") mcpServer.resource = mcpServer.origin;
  console.log(`No URL given: a protected server is started in this process, and this program plays the user who logs in there.`);
  return {
    url: endpoint === "sse" ? mcpServer.sseUrl : mcpServer.url,
    // Nothing of this is kept: the server is gone with the program.
    options: { store: new MemoryStore(), interactive: true, print: () => {}, openBrowser: async (address) => void (await person(address)) },
    close,
  };
}
