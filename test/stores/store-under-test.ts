import type { Store } from "../../src/index.ts";
import { KeychainStore } from "../../src/node/stores/keychain-store.ts";
import { SqliteStore } from "../../src/node/stores/sqlite.ts";

/** A store in this folder, by its name: for processes, which can only be told in words. */
export function openStore(name: string, folder: string): Store {
  if (name === "sqlite") return new SqliteStore({ app: "test", folder, keychain: false });
  if (name === "keychain") return new KeychainStore({ app: "test", folder, fallback: "error" });
  throw new Error(`no store is called ${name}`);
}
