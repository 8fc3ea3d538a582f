import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { TokenManager } from "mcp-client-auth";
import { sqliteStore } from "mcp-client-auth/node";
import { median, rounded } from "./numbers.ts";

export interface WarmStart {
  what: string;
  "minimum, ms": number;
  "median, ms": number;
}

const root = fileURLToPath(new URL("..", import.meta.url));
const serverUrl = "https://mcp.example/mcp";

/** Times in ms since the process began, at the end of each step. */
const steps = `
const times = [performance.now()];
const { createMcpAuth } = await import("mcp-client-auth/node");
times.push(performance.now());
const auth = createMcpAuth(${JSON.stringify(serverUrl)}, { app: "bench" });
times.push(performance.now());
const token = await auth.getAccessToken();
times.push(performance.now());
if (token.length !== 800) throw new Error("no token");
process.stdout.write(JSON.stringify(times));
`;

/** What a program that starts anew pays before it has its token; Node's own start is subtracted. */
export async function warmStart(runs = 31): Promise<WarmStart[]> {
  const folder = mkdtempSync(join(tmpdir(), "bench-warm-"));
  try {
    await using auth = new TokenManager({ serverUrl, store: sqliteStore({ app: "bench", folder, keychain: false }) });
    await auth.setTokens({ accessToken: "a".repeat(800), expiresIn: 3600 });
    const times: number[][] = [];
    for (let run = 0; run < runs; run++) times.push(await fresh(folder));
    const step = (what: string, from: number, to: number): WarmStart => {
      const spent = times.map((all) => (all[to] ?? Number.NaN) - (all[from] ?? Number.NaN));
      return { what, "minimum, ms": rounded(Math.min(...spent)), "median, ms": rounded(median(spent)) };
    };
    return [
      step("createMcpAuth to the first token, with the import", 0, 3),
      step("… import", 0, 1),
      step("… createMcpAuth()", 1, 2),
      step("… getAccessToken()", 2, 3),
    ];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function fresh(folder: string): Promise<number[]> {
  // As on a desktop: without a display it is asked whether there is a terminal.
  const env = { ...process.env, MCP_AUTH_DATA_DIR: folder, DISPLAY: ":0" };
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", steps], { cwd: root, env });
  return JSON.parse(stdout) as number[];
}
