import { decodeProtectedHeader } from "jose/decode/protected_header";
import type { AppNameSpace, StoreEvent } from "../../events.ts";
import type { StoredRecord, StoreStatus } from "../../stores/store.ts";
import { join } from "../builtins.ts";
import { type StoreKey, seal, unseal } from "./encryption.ts";
import { typed } from "./error.ts";
import type { AppFolder } from "./folder.ts";
import { findKey, openKey } from "./key.ts";
import { FileLocks } from "./lock.ts";
import { networkFileSystem } from "./lock-check.ts";
import type { KeyOptions } from "./options.ts";
import { Records } from "./records.ts";

/** So many events are kept for stores that are not used meanwhile. */
const keptNews = 16;

/**
 * The folder of an app, as this process has it open: one database, one key and one set of locks, however many stores use it.
 * Nothing is created before the first write.
 */
export class OpenFolder {
  readonly path: string;
  readonly app: AppNameSpace;
  readonly locks: FileLocks;
  readonly #options: KeyOptions;
  readonly #records: Records;
  #key: Promise<StoreKey> | undefined;
  #opened: readonly StoreEvent[] = [];
  readonly #news: StoreEvent[] = [];
  #newsCount = 0;
  /** Locks under which something was written since the last restart of the database. */
  readonly #confirmed = new Set<string>();

  /** @throws McpAuthError `unsupported_runtime` */
  constructor(options: KeyOptions, { path, app }: AppFolder) {
    const { keychain, keychainTimeout, keychainFailure } = options;
    this.#options = { keychain, keychainTimeout, keychainFailure };
    this.path = path;
    this.app = app;
    this.locks = new FileLocks(join(path, "locks"));
    const tell = (event: StoreEvent) => this.#note(event);
    this.#records = new Records({ path: join(path, "records.sqlite"), locks: this.locks, tell });
  }

  /** What `store.opened` says, and all that is said with it: another list with each key. */
  get opened(): readonly StoreEvent[] {
    return this.#opened;
  }

  /** How many events there have been. */
  get newsCount(): number {
    return this.#newsCount;
  }

  /** The events after the first `count`. */
  newsAfter(count: number): readonly StoreEvent[] {
    return this.#news.slice(Math.max(0, this.#news.length - (this.#newsCount - count)));
  }

  /** How often all records were lost. */
  get restarts(): number {
    return this.#records.restarts;
  }

  /** Whether something was written under the lock since the last restart. */
  isConfirmed(lock: string): boolean {
    return this.#confirmed.has(lock);
  }

  /** Something was written under the lock. */
  confirm(lock: string): void {
    if (this.#records.restarts > 0) this.#confirmed.add(lock);
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

  status(): StoreStatus {
    return { kind: "sqlite", path: this.path, app: this.app, key: findKey(this.path) };
  }

  #note(event: StoreEvent): void {
    // A new folder gets a new key.
    if (event.type === "store.restarted") this.#key = undefined;
    this.#confirmed.clear();
    this.#newsCount++;
    this.#news.push(event);
    if (this.#news.length > keptNews) this.#news.shift();
  }

  /** Read once. A failure is not kept: a keychain may be unlocked later. */
  #openKey(): Promise<StoreKey> {
    this.#records.notice();
    if (!findKey(this.path)) this.#key = undefined;
    this.#key ??= typed(this.path, () => this.#findKey()).catch((error: unknown) => {
      this.#key = undefined;
      throw error;
    });
    return this.#key;
  }

  async #findKey(): Promise<StoreKey> {
    const folder = this.path;
    const rows = await this.#records.read((database) => database.prepare("SELECT value FROM records").all());
    const sealed = (rows ?? []).map(({ value }) => String(value));
    // Another key could not decrypt the records, and the old one may come back.
    if (sealed.length > 0 && !findKey(folder)) await this.#records.setAside("key-missing");
    const key = await openKey({ ...this.#options, folder, locks: this.locks });
    if (sealed.length > 0 && sealed.every((jwe) => isOfAnother(key, jwe))) await this.#records.setAside("key-missing");
    const fileSystem = networkFileSystem(folder);
    this.#opened = [
      { type: "store.opened", kind: "sqlite", key: key.place, path: folder, app: this.app },
      ...(fileSystem ? [{ type: "store.on-network" as const, path: folder, fileSystem }] : []),
    ];
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
