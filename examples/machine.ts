/**
 * A program without a user, such as a job in CI. What it is and where it goes is in the environment; `examples/ci` has
 * jobs for GitHub, GitLab and Kubernetes.
 *
 *     MCP_AUTH_SERVER_URL=https://mcp.example.com/mcp MCP_AUTH_CLIENT_ID=nightly MCP_AUTH_CLIENT_SECRET_FILE=secret node examples/machine.ts
 */
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { McpAuthError } from "mcp-client-auth";
import { extensions } from "mcp-client-auth/machine";
import { fromEnvironment } from "mcp-client-auth/node";
import { environment } from "./support/environment.ts";

const { options, close } = await environment();

async function report(): Promise<void> {
  const auth = await fromEnvironment(options);
  const client = new Client(
    { name: "nightly-report", version: "1.0.0" },
    {
      versionNegotiation: { mode: "auto" },
      // Tells the server which extensions this program uses.
      capabilities: { extensions: { [extensions.clientCredentials]: {}, [extensions.workloadIdentity]: {} } },
    },
  );
  try {
    // Not needed, but what is wrong with the credentials is told before anything else is done.
    await auth.authorize();
    await client.connect(new StreamableHTTPClientTransport(auth.serverUrl, { fetch: auth.fetch }));

    const { tools } = await client.listTools();
    console.log(`Tools: ${tools.map((tool) => tool.name).join(", ")}`);
    if (tools.some(({ name }) => name === "whoami")) {
      const { content } = await client.callTool({ name: "whoami" });
      console.log(`whoami: ${content.map((part) => (part.type === "text" ? part.text : part.type)).join(" ")}`);
    }
  } finally {
    await client.close();
    await auth.dispose();
  }
}

try {
  await report();
} catch (error) {
  // What happened, and what to do about it. No token or secret is in it, so it may stand in a public log.
  if (!(error instanceof McpAuthError)) throw error;
  console.error(`${error.code}: ${error.message} ${error.hint}`);
  process.exitCode = 1;
} finally {
  await close();
}
