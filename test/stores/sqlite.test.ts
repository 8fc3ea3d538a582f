import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SqliteStore } from "../../src/node/stores/sqlite.ts";
import { storeContract } from "./contract-suite.ts";

storeContract("sqlite", async () => {
  const folder = await mkdtemp(join(tmpdir(), "mcp-client-auth-"));
  return { open: async () => new SqliteStore({ app: "test", folder }), close: () => rm(folder, { recursive: true, force: true }) };
});
