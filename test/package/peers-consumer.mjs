/**
 * A user's program with both SDKs, in whichever versions are installed: login, a tool call, a token that the server refuses, by
 * way of `fetch` and of `authProvider`. Whoever runs it opens the address of each line `open <URL>`, and refuses the token and
 * writes a line to stdin at each line `refuse`.
 */
import { createInterface } from "node:readline";
import { createMcpAuth, loopbackLogin } from "mcp-client-auth/node";
import { authProvider as providerV1 } from "mcp-client-auth/sdk-v1";
import { authProvider as providerV2 } from "mcp-client-auth/sdk-v2";

const v1 = {
  ...(await import("@modelcontextprotocol/sdk/client/index.js")),
  ...(await import("@modelcontextprotocol/sdk/client/streamableHttp.js")),
  provider: providerV1,
};
const v2 = { ...(await import("@modelcontextprotocol/client")), provider: providerV2 };
const answers = createInterface(process.stdin)[Symbol.asyncIterator]();

const auth = createMcpAuth(process.env.MCP_SERVER_URL, {
  clientName: "Consumer",
  interactive: true,
  loginHandler: loopbackLogin({ openBrowser: async (url) => console.log(`open ${url}`), print: () => {} }),
});
await auth.authorize();
for (const [name, { Client, StreamableHTTPClientTransport, provider }] of Object.entries({ v1, v2 })) {
  for (const [way, options] of Object.entries({ fetch: { fetch: auth.fetch }, authProvider: { authProvider: provider(auth) } })) {
    const client = new Client({ name: "consumer", version: "1.0.0" });
    await client.connect(new StreamableHTTPClientTransport(new URL(auth.serverUrl), options));
    console.log("refuse");
    await answers.next();
    const { content } = await client.callTool({ name: "add", arguments: { a: 2, b: 3 } });
    console.log(`${name} ${way}: 2 + 3 = ${content[0].text}`);
    await client.close();
  }
}
await auth.dispose();
process.exit();
