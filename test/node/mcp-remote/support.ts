/** Logins made by the real mcp-remote: the bridge runs against a fixture, its browser is a script that plays the user. */
import { chmodSync, cpSync, globSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { onTestFinished } from "vitest";
import { type ProtectedServer, type ProtectedServerOptions, startProtectedServer } from "../../fixture/index.ts";

const program = fileURLToPath(import.meta.resolve("../../../node_modules/mcp-remote/dist/proxy.js"));
const person = import.meta.resolve("../../fixture/person.ts");

/** A server with strict rotation. mcp-remote names the resource's scopes at registration: it must know them as its own, too. */
export function startServer(options: ProtectedServerOptions = {}): Promise<ProtectedServer> {
  const configuration = { scopes: ["openid", "offline_access", "mcp:read", "mcp:write"] };
  return startProtectedServer({
    ...options,
    authorizationServer: { accessTokenTtlSeconds: 120, configuration, ...options.authorizationServer },
  });
}

/** mcp-remote's folder after it has logged in at a server and called a tool. */
export interface Leftovers {
  /** What `MCP_REMOTE_CONFIG_DIR` was. */
  folder: string;
  /** Path of its file with this ending. */
  file(ending: "tokens.json" | "client_info.json"): string;
  /** Changes what a file says. */
  edit(ending: "tokens.json" | "client_info.json", change: (json: Record<string, unknown>) => Record<string, unknown>): void;
  /** Moves everything to where a version of long ago kept it. */
  moveTo(version: string): void;
  /** Everything that a reader could have changed. */
  snapshot(): unknown;
}

/** Runs mcp-remote as its users do, once, up to a tool call. @param home takes its folder */
export async function mcpRemote({ url }: ProtectedServer, home: string, options: string[] = []): Promise<Leftovers> {
  const [folder, browser] = [join(home, "config"), join(home, "browser")];
  const play = `const { person } = await import(${JSON.stringify(person)}); await person(process.argv[1]);`;
  writeFileSync(browser, `#!/bin/sh\n${process.execPath} --input-type=module -e '${play}' "$1" > /dev/null 2>&1 &\n`, { mode: 0o755 });
  const { DISPLAY: _, WAYLAND_DISPLAY: __, ...inherited } = process.env as Record<string, string>;
  const env = { ...inherited, MCP_REMOTE_CONFIG_DIR: folder, BROWSER: browser };
  const bridge = { command: process.execPath, args: [program, url, "--silent", ...options], env, stderr: "ignore" as const };
  // It chooses a port first and listens later: where another program was quicker it ends, and is started again.
  for (let attempt = 1; ; attempt++) {
    const client = new Client({ name: "test", version: "1" });
    try {
      await client.connect(new StdioClientTransport(bridge));
      await client.callTool({ name: "add", arguments: { a: 1, b: 2 } });
      break;
    } catch (error) {
      if (attempt === 3 || !String(error).includes("Connection closed")) throw error;
      rmSync(folder, { recursive: true, force: true });
    } finally {
      await client.close();
    }
  }
  return leftovers(folder);
}

/** A copy that may be changed, in a folder of its own. */
export function copyOf({ folder }: Leftovers, home: string): Leftovers {
  cpSync(folder, join(home, "config"), { recursive: true, preserveTimestamps: true });
  return leftovers(join(home, "config"));
}

/** A folder for the running test. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "mcp-remote-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return folder;
}

function leftovers(folder: string): Leftovers {
  const paths = () => globSync("**", { cwd: folder }).sort();
  const file: Leftovers["file"] = (ending) => {
    const [path, ...more] = paths().filter((name) => name.endsWith(`_${ending}`));
    if (path === undefined || more.length > 0) throw new Error(`not one ${ending}: ${paths()}`);
    return join(folder, path);
  };
  return {
    folder,
    file,
    edit(ending, change) {
      writeFileSync(file(ending), JSON.stringify(change(JSON.parse(readFileSync(file(ending), "utf8")))));
    },
    moveTo(version) {
      const target = join(folder, `mcp-remote-${version}`);
      mkdirSync(target, { recursive: true });
      for (const path of [file("tokens.json"), file("client_info.json")]) {
        renameSync(path, join(target, basename(path)));
        chmodSync(join(target, basename(path)), 0o644);
      }
      rmSync(join(folder, "mcp-remote-v1"), { recursive: true });
    },
    snapshot: () =>
      paths().map((path) => {
        const { mode, mtimeMs, ctimeMs, ino, size } = lstatSync(join(folder, path));
        return { path, mode, mtimeMs, ctimeMs, ino, size, text: mode & 0o040000 ? undefined : readFileSync(join(folder, path), "utf8") };
      }),
  };
}
