/** The store on disk, as a program on this machine has it, and what can happen to its files. */
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { onTestFinished } from "vitest";
import { SqliteStore } from "../../src/node/stores/sqlite.ts";

export interface Disk {
  /** A store of its own, as another program has it. */
  open(): SqliteStore;
  /** One record cannot be read any more. */
  damage(key: string): void;
  /** Somebody deletes the folder while programs use it. */
  deleteFolder(): Promise<void>;
}

export function disk(): Disk {
  const folder = join(process.env.MCP_AUTH_DATA_DIR ?? tmpdir(), "disk");
  const app = join(folder, "test");
  const remove = () => rm(app, { recursive: true, force: true });
  onTestFinished(remove);
  return {
    open: () => new SqliteStore({ app: "test", folder, keychain: false }),
    damage(key) {
      const database = new DatabaseSync(join(app, "records.sqlite"));
      const { changes } = database.prepare("UPDATE records SET value = 'damaged' WHERE key = ?").run(key);
      database.close();
      if (changes !== 1) throw new Error(`there is no record ${key}`);
    },
    deleteFolder: remove,
  };
}
