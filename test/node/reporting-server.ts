/** A stdio MCP server of the official SDK, which tells what it was started with. */
import { readFileSync } from "node:fs";
import { Server } from "@modelcontextprotocol/sdk/server/index.js";
import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js";
import { CallToolRequestSchema } from "@modelcontextprotocol/sdk/types.js";

const server = new Server({ name: "reporting", version: "1" }, { capabilities: { tools: {} } });
server.setRequestHandler(CallToolRequestSchema, () => {
  const commandLine = process.platform === "linux" ? readFileSync("/proc/self/cmdline", "utf8") : process.argv.join("\0");
  return { content: [{ type: "text", text: JSON.stringify({ env: process.env, commandLine, cwd: process.cwd() }) }] };
});
await server.connect(new StdioServerTransport());
