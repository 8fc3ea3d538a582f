import { decodeProtectedHeader } from "jose/decode/protected_header";
import type { AppNameSpace, StoreEvent } from "../../events.ts";
import type { HeldLock, LockOptions, Store, StoredRecord, StoreStatus } from "../../stores/store.ts";
import { join } from "../builtins.ts";
import { type StoreKey, seal, unseal } from "./encryption.ts";
import { typed } from "./error.ts";
import { type AppFolder, appFolder } from "./folder.ts";
import { findKey, openKey } from "./key.ts";
import { FileLocks } from "./lock.ts";
import { networkFileSystem } from "./lock-check.ts";
import type { SqliteStoreOptions } from "./options.ts";
import { Records } from "./records.ts";

/**
 * Records of one app on this machine, shared by all its processes: a SQLite database with encrypted values, and locks that the
 * operating system frees when their holder dies. Nothing is created before the first write.
 */
export class SqliteStore implements Store {
  readonly #options: SqliteStoreOptions;
  readonly #folder: string;
  readonly #app: AppNameSpace;
  readonly #locks: FileLocks;
  readonly #records: Records;
  #key: Promise<StoreKey> | undefined;
  /** The restart of the database after which something was written under a lock. */
  readonly #confirmed = new Map<string, number>();

  /** @throws McpAuthError `store_unusable` as {@link appFolder}; `unsupported_runtime` */
  constructor(options: SqliteStoreOptions = {}, { path, app }: AppFolder = appFolder(options)) {
    this.#options = options;
    this.#folder = path;
    this.#app = app;
    this.#locks = new FileLocks(join(this.#folder, "locks"));
    const tell = (event: StoreEvent) => {
      // A new folder gets a new key.
      if (event.type === "store.restarted") this.#key = undefined;
      options.onEvent?.(event);
    };
    this.#records = new Records({ path: join(this.#folder, "records.sqlite"), locks: this.#locks, tell });
  }

  async get(key: string): Promise<StoredRecord | undefined> {
    const row = await this.#records.read((database) => database.prepare("SELECT value FROM records WHERE key = ?").get(key));
    return row && unseal(await this.#openKey(), key, String(row.value));
  }

  async set(key: string, value: StoredRecord): Promise<void> {
    const sealed = await seal(await this.#openKey(), key, value);
    await this.#records.write((database) => database.prepare("INSERT OR REPLACE INTO records VALUES (?, ?)").run(key, sealed));
  }

  async delete(key: string): Promise<void> {
    await this.#records.read((database) => database.prepare("DELETE FROM records WHERE key = ?").run(key));
  }

  async take(key: string): Promise<StoredRecord | undefined> {
    // `all`, although there is one row: a statement that is not read to its end hides the failure of its commit.
    const rows = await this.#records.read((database) => database.prepare("DELETE FROM records WHERE key = ? RETURNING value").all(key));
    const row = rows?.[0];
    return row && unseal(await this.#openKey(), key, String(row.value));
  }

  async keys(prefix: string): Promise<string[]> {
    const rows = await this.#records.read((database) =>
      database.prepare("SELECT key FROM records WHERE substr(key, 1, length(?1)) = ?1").all(prefix),
    );
    return (rows ?? []).map(({ key }) => String(key));
  }

  withLock<T>(key: string, action: (held: HeldLock) => Promise<T>, options?: LockOptions): Promise<T> {
    const records = this.#records;
    const confirmed = this.#confirmed;
    return this.#locks.withLock(
      key,
      (lock) => {
        const write = async (work: () => Promise<void>) => {
          await lock.write(work);
          confirmed.set(key, records.restarts);
        };
        return action({
          signal: lock.signal,
          get restarted() {
            return records.restarts > (confirmed.get(key) ?? 0);
          },
          set: (name, value) => write(() => this.set(name, value)),
          delete: (name) => write(() => this.delete(name)),
        });
      },
      options,
    );
  }

  async status(): Promise<StoreStatus> {
    return { kind: "sqlite", path: this.#folder, app: this.#app, key: findKey(this.#folder) };
  }

  /** Read once. A failure is not kept: a keychain may be unlocked later. */
  #openKey(): Promise<StoreKey> {
    this.#records.notice();
    if (!findKey(this.#folder)) this.#key = undefined;
    this.#key ??= typed(this.#folder, () => this.#findKey()).catch((error: unknown) => {
      this.#key = undefined;
      throw error;
    });
    return this.#key;
  }

  async #findKey(): Promise<StoreKey> {
    const { app, ...options } = this.#options;
    const folder = this.#folder;
    const rows = await this.#records.read((database) => database.prepare("SELECT value FROM records").all());
    const sealed = (rows ?? []).map(({ value }) => String(value));
    // Another key could not decrypt the records, and the old one may come back.
    if (sealed.length > 0 && !findKey(folder)) await this.#records.setAside("key-missing");
    const key = await openKey({ ...options, folder, locks: this.#locks });
    if (sealed.length > 0 && sealed.every((jwe) => isOfAnother(key, jwe))) await this.#records.setAside("key-missing");
    this.#options.onEvent?.({ type: "store.opened", kind: "sqlite", key: key.place, path: folder, app: this.#app });
    const fileSystem = networkFileSystem(folder);
    if (fileSystem) this.#options.onEvent?.({ type: "store.on-network", path: folder, fileSystem });
    return key;
  }
}

function isOfAnother({ kid }: StoreKey, jwe: string): boolean {
  try {
    return decodeProtectedHeader(jwe).kid !== kid;
  } catch {
    return false;
  }
}
