import { existsSync, globSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { type BenchClient, connection } from "./client.ts";

const program = fileURLToPath(import.meta.resolve("../node_modules/mcp-remote/dist/proxy.js"));
const user = import.meta.resolve("../test/fixture/person.ts");

/** The stdio bridge as its users run it: a process a connection, all with one folder, whose browser is a script. */
export const mcpRemote: BenchClient = {
  name: "mcp-remote",
  async start(server) {
    const folder = await mkdtemp(join(tmpdir(), "bench-mcp-remote-"));
    const [windows, away, browser] = [join(folder, "windows"), join(folder, "away"), join(folder, "browser")];
    const play = `const { user } = await import(${JSON.stringify(user)}); await person(process.argv[1]);`;
    const script = `#!/bin/sh
echo window >> ${windows}
[ -e ${away} ] || ${process.execPath} --input-type=module -e '${play}' "$1" > /dev/null 2>&1 &
`;
    writeFileSync(browser, script, { mode: 0o755 });
    const env = { ...process.env, MCP_REMOTE_CONFIG_DIR: join(folder, "config"), BROWSER: browser } as Record<string, string>;
    delete env.DISPLAY;
    delete env.WAYLAND_DISPLAY;
    return {
      log: undefined,
      get present() {
        return !existsSync(away);
      },
      set present(isPresent) {
        if (isPresent) rmSync(away, { force: true });
        else writeFileSync(away, "");
      },
      get windows() {
        return existsSync(windows) ? readFileSync(windows, "utf8").split("\n").length - 1 : 0;
      },
      expireToken() {
        // It reads this file before each request.
        for (const file of globSync(join(folder, "config/**/*_tokens.json"))) {
          const tokens = JSON.parse(readFileSync(file, "utf8")) as object;
          writeFileSync(file, JSON.stringify({ ...tokens, expires_at: Date.now() - 1000 }));
        }
      },
      async connect() {
        const client = new Client({ name: "bench", version: "1" });
        const bridge = { command: process.execPath, args: [program, server.url, "--silent"], env, stderr: "ignore" as const };
        const transport = new StdioClientTransport(bridge);
        try {
          await client.connect(transport);
        } catch (error) {
          await transport.close();
          throw error;
        }
        return connection(client);
      },
      [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
    };
  },
};
