import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

/** How the managers of a process are made. */
export type ManagerKind = "shared store" | "own store" | "family" | "createMcpAuth" | "provider";

export interface Memory {
  what: string;
  "never used, bytes": number;
  "left alone, bytes": number | undefined;
}

const kinds: readonly [ManagerKind, string][] = [
  ["shared store", "TokenManager, one store for all"],
  ["own store", "TokenManager with a store of its own; left alone, its login included"],
  ["family", "TokenManagers.forAccount"],
  ["createMcpAuth", "createMcpAuth with its default store"],
  ["provider", "an SDK OAuthClientProvider"],
];

const program = join(import.meta.dirname, "memory-process.ts");

/** What a manager for an account of its own keeps of the heap: each kind in a fresh process. */
export async function memory(count = 10_000): Promise<Memory[]> {
  const rows: Memory[] = [];
  for (const [kind, what] of kinds) {
    const folder = mkdtempSync(join(tmpdir(), "bench-memory-"));
    const { stdout } = await promisify(execFile)(process.execPath, ["--expose-gc", program, kind, String(count), folder]);
    rmSync(folder, { recursive: true });
    const { unused, idle } = JSON.parse(stdout) as { unused: number; idle?: number };
    rows.push({ what, "never used, bytes": unused, "left alone, bytes": idle });
  }
  return rows;
}
