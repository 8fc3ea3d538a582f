import { decodeProtectedHeader } from "jose/decode/protected_header";
import type { AppNameSpace, StoreEvent } from "../../events.ts";
import { Cipher } from "../../stores/encryption.ts";
import type { StoredRecord, StoreStatus } from "../../stores/store.ts";
import { join } from "../builtins.ts";
import { typed } from "./error.ts";
import type { AppFolder } from "./folder.ts";
import { findKey, openKey, type StoreKey } from "./key.ts";
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
  #opening: Promise<Cipher> | undefined;
  #opened: readonly StoreEvent[] = [];
  readonly #news: StoreEvent[] = [];
  #newsCount = 0;
  /** Locks under which something was written since that restart of the database. */
  #confirmed = { restart: 0, locks: new Set<string>() };

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
    const { restart, locks } = this.#confirmed;
    return restart === this.restarts && locks.has(lock);
  }

  /** Something was written under the lock. */
  confirm(lock: string): void {
    const { restarts } = this;
    if (restarts === 0) return;
    if (this.#confirmed.restart !== restarts) this.#confirmed = { restart: restarts, locks: new Set() };
    this.#confirmed.locks.add(lock);
  }

  async get(key: string): Promise<StoredRecord | undefined> {
    const row = await this.#records.read((statements) => statements("SELECT value FROM records WHERE key = ?").get(key));
    return row && (await this.#cipher()).unseal(key, String(row.value));
  }

  /** @param check throws where it must not be written any more */
  async set(key: string, value: StoredRecord, check?: () => void): Promise<void> {
    // Before anything is awaited: the caller may change it.
    const text = JSON.stringify(value);
    await this.#records.write(async () => {
      const sealed = await (await this.#cipher()).seal(key, text);
      return (statements) => {
        check?.();
        statements("INSERT OR REPLACE INTO records VALUES (?, ?)").run(key, sealed);
      };
    });
  }

  /** @param check as for {@link set} */
  async delete(key: string, check?: () => void): Promise<void> {
    await this.#records.remove((statements) => {
      check?.();
      statements("DELETE FROM records WHERE key = ?").run(key);
    });
  }

  async take(key: string): Promise<StoredRecord | undefined> {
    // `all`, although there is one row: a statement that is not read to its end hides the failure of its commit.
    const rows = await this.#records.remove((statements) => statements("DELETE FROM records WHERE key = ? RETURNING value").all(key));
    const row = rows?.[0];
    return row && (await this.#cipher()).unseal(key, String(row.value));
  }

  async keys(prefix: string): Promise<string[]> {
    const rows = await this.#records.read((statements) =>
      statements("SELECT key FROM records WHERE key >= ? AND key < ?").all(prefix, afterAll(prefix)),
    );
    return (rows ?? []).map(({ key }) => String(key));
  }

  status(): StoreStatus {
    return { kind: "sqlite", path: this.path, app: this.app, key: findKey(this.path) };
  }

  #note(event: StoreEvent): void {
    // A new folder gets a new key.
    if (event.type === "store.restarted") this.#opening = undefined;
    this.#newsCount++;
    this.#news.push(event);
    if (this.#news.length > keptNews) this.#news.shift();
  }

  /** Read once. A failure is not kept: a keychain may be unlocked later. */
  #cipher(): Promise<Cipher> {
    this.#records.notice();
    if (!findKey(this.path)) this.#opening = undefined;
    this.#opening ??= typed(this.path, () => this.#openKey()).catch((error: unknown) => {
      this.#opening = undefined;
      throw error;
    });
    return this.#opening;
  }

  async #openKey(): Promise<Cipher> {
    const folder = this.path;
    // One record tells whose all are.
    const row = await this.#records.read((statements) => statements("SELECT value FROM records LIMIT 1").get());
    // Another key could not decrypt the records, and the old one may come back.
    if (row && !findKey(folder)) await this.#records.setAside("key-missing");
    const key = await openKey({ ...this.#options, folder, locks: this.locks });
    if (row && isOfAnother(key, row) && (await this.#areAllOfAnother(key))) await this.#records.setAside("key-missing");
    const fileSystem = networkFileSystem(folder);
    this.#opened = [
      { type: "store.opened", kind: "sqlite", key: key.place, path: folder, app: this.app },
      ...(fileSystem ? [{ type: "store.on-network" as const, path: folder, fileSystem }] : []),
    ];
    return new Cipher(key);
  }

  async #areAllOfAnother(key: StoreKey): Promise<boolean> {
    const rows = await this.#records.read((statements) => statements("SELECT value FROM records").all());
    return (rows ?? []).every((row) => isOfAnother(key, row));
  }
}

function isOfAnother({ kid }: StoreKey, { value }: Readonly<Record<string, unknown>>): boolean {
  try {
    return decodeProtectedHeader(String(value)).kid !== kid;
  } catch {
    return false;
  }
}

/** What comes after all texts with the prefix, as SQLite orders them: by code points, and bytes after all texts. */
function afterAll(prefix: string): string | Uint8Array {
  const points = [...prefix].map((character) => character.codePointAt(0) as number);
  while (points.at(-1) === 0x10ffff) points.pop();
  const last = points.pop();
  if (last === undefined) return new Uint8Array();
  // No text holds half of a pair.
  return String.fromCodePoint(...points, last === 0xd7ff ? 0xe000 : last + 1);
}
