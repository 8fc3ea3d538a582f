import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TokenManager } from "mcp-client-auth";
import { sqliteStore } from "mcp-client-auth/node";
import { difference, type StartTime, startTimes } from "./starts.ts";

export interface WarmStart extends StartTime {
  what: string;
}

const serverUrl = "https://mcp.example/mcp";

const imported = `import { createMcpAuth } from "mcp-client-auth/node";`;
const created = `${imported}
const auth = createMcpAuth(${JSON.stringify(serverUrl)}, { app: "bench" });`;
const called = `${created}
if ((await auth.getAccessToken()).length !== 800) throw new Error("no token");`;

/** One thing each that the first call needs, in a program that needs nothing else. */
const alone = {
  sqlite: `process.emitWarning = () => {};
const { DatabaseSync } = process.getBuiltinModule("node:sqlite");
const database = new DatabaseSync(process.env.MCP_AUTH_DATA_DIR + "/bench/records.sqlite");
if (database.prepare("SELECT value FROM records").all().length === 0) throw new Error("no record");`,
  crypto: `const key = await crypto.subtle.importKey("raw", new Uint8Array(32), "AES-GCM", false, ["encrypt", "decrypt"]);
const algorithm = { name: "AES-GCM", iv: new Uint8Array(12) };
await crypto.subtle.decrypt(algorithm, key, await crypto.subtle.encrypt(algorithm, key, new Uint8Array(1200)));`,
};

/**
 * What a program that starts anew pays before it has its token, above an empty program, measured from outside: once as a whole,
 * then step by step. The runtime's parts of the first call are measured alone.
 */
export async function warmStart(turns = 41): Promise<WarmStart[]> {
  const folder = mkdtempSync(join(tmpdir(), "bench-warm-"));
  try {
    await using auth = new TokenManager({ serverUrl, store: sqliteStore({ app: "bench", folder, keychain: false }) });
    await auth.setTokens({ accessToken: "a".repeat(800), expiresIn: 36_000 });
    // As on a desktop: without a display it is asked whether there is a terminal.
    const env = { MCP_AUTH_DATA_DIR: folder, DISPLAY: ":0", CI: "" };
    const { empty, above } = await startTimes({ imported, created, called, ...alone }, turns, env);
    const {
      imported: first,
      created: second,
      called: third,
      sqlite,
      crypto,
    } = above as Record<keyof typeof alone | "imported" | "created" | "called", StartTime>;
    return [
      { what: "createMcpAuth to the first token, with the import", ...third },
      { what: "… import", ...first },
      { what: "… createMcpAuth()", ...difference(second, first) },
      { what: "… getAccessToken()", ...difference(third, second) },
      { what: "of that, alone: node:sqlite, opening and reading a database", ...sqlite },
      { what: "of that, alone: crypto.subtle, a key and a decryption", ...crypto },
      { what: "for comparison: the empty program", ...empty },
    ];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
