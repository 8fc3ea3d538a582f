/**
 * A user's program: it has installed the tarball and the official SDKs, and knows nothing of the repository.
 *
 * Imports every entry point, then logs in at the server that `MCP_SERVER_URL` names and calls a tool, with both SDKs.
 * Whoever runs it is the user: opens the address of each line `open <URL>`.
 */
import { strict as assert } from "node:assert";
import { createRequire } from "node:module";

const manifest = createRequire(import.meta.url)("mcp-client-auth/package.json");
const entries = Object.keys(manifest.exports).filter((entry) => entry !== "./package.json");
for (const entry of entries) {
  const exported = await import(entry.replace(".", "mcp-client-auth"));
  assert.notEqual(Object.keys(exported).length, 0, entry);
}
console.log(`${process.version}: all entry points (${entries.join(", ")})`);

const { createMcpAuth, loopbackLogin } = await import("mcp-client-auth/node");
const v1 = {
  ...(await import("@modelcontextprotocol/sdk/client/index.js")),
  ...(await import("@modelcontextprotocol/sdk/client/streamableHttp.js")),
};
const v2 = await import("@modelcontextprotocol/client");

const auth = createMcpAuth(process.env.MCP_SERVER_URL, {
  clientName: "Consumer",
  interactive: true,
  loginHandler: loopbackLogin({ openBrowser: async (url) => console.log(`open ${url}`), print: () => {} }),
});
await auth.authorize();
for (const [name, { Client, StreamableHTTPClientTransport }] of Object.entries({ v1, v2 })) {
  const client = new Client({ name: "consumer", version: "1.0.0" });
  await client.connect(new StreamableHTTPClientTransport(new URL(auth.serverUrl), { fetch: auth.fetch }));
  const { content } = await client.callTool({ name: "add", arguments: { a: 2, b: 3 } });
  console.log(`${name}: 2 + 3 = ${content[0].text}`);
  await client.close();
}
await auth.dispose();
