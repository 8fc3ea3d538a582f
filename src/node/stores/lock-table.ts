import type { DatabaseSync, StatementSync } from "node:sqlite";
import { fs, join } from "../builtins.ts";
import { isDamaged, openDatabase, resultCode } from "./database.ts";
import { isStillAt, secureFile, secureFolder, secureJournal } from "./files.ts";

/** Longest time in ms for which the event loop waits for another process, which needs the table for a fraction of that. */
const busyMs = 2;

/** `SQLITE_ERROR`: a statement of ours that cannot be executed. The table is not ours. */
const otherTable = 1;
/** `SQLITE_READONLY_DBMOVED`: another file is in its place. */
const moved = 1032;

/** Statements of the table. */
const statements = {
  take: "INSERT OR IGNORE INTO held VALUES (?, ?)",
  free: "DELETE FROM held WHERE key = ? AND owner = ?",
  forget: "DELETE FROM held WHERE owner = ?",
  ownerOf: "SELECT owner FROM held WHERE key = ?",
  owners: "SELECT DISTINCT owner FROM held",
  freeOf: "SELECT value FROM json_each(?) WHERE value NOT IN (SELECT key FROM held)",
} as const;
type Name = keyof typeof statements;

/** The path of the table of a folder. */
export const tablePath = (folder: string) => join(folder, "held.sqlite");

/**
 * The table of the locks that are held in a folder: key and owner. All methods throw what SQLite throws.
 *
 * Not durable: after a power cut there are no holders. A journal keeps it whole when a process is killed in a transaction.
 */
export class HeldTable {
  readonly path: string;
  readonly #inode: number;
  readonly #database: DatabaseSync;
  readonly #prepared = new Map<Name, StatementSync>();
  /** Its owner has checked that the table is there. */
  isReady = false;
  #seen: unknown;

  /** Opens the file, or an empty one in its place. */
  constructor(folder: string) {
    secureFolder(folder);
    this.path = tablePath(folder);
    this.#inode = secureFile(this.path);
    this.#database = openDatabase(this.path);
  }

  /** Whether other processes use the same file. */
  get isInPlace(): boolean {
    return isStillAt(this.path, this.#inode);
  }

  /** Checks what SQLite opens beside the file: a pipe would block. @throws McpAuthError `store_unusable` */
  checkJournal(): void {
    secureJournal(this.path);
  }

  /** Whether there is no table in the file yet. */
  isNew(): boolean {
    // A journal that stays costs least, and needs no space on a full disk.
    this.#database.exec(`PRAGMA busy_timeout = ${busyMs}; PRAGMA synchronous = OFF; PRAGMA journal_mode = PERSIST`);
    return this.#isEmpty();
  }

  /** Creates the table, with the locks of `owner` in it, unless `mayStart` says no. */
  create(mayStart: () => boolean, owner: string, held: Iterable<string>): boolean {
    return this.#transaction(() => {
      // Another process may have done it first.
      if (!this.#isEmpty()) return true;
      if (!mayStart()) return false;
      this.#database.exec("CREATE TABLE held (key TEXT PRIMARY KEY, owner TEXT NOT NULL) STRICT, WITHOUT ROWID");
      for (const key of held) this.#statement("take").run(key, owner);
      return true;
    });
  }

  /** Frees locks of an owner, then takes others. @returns those that it has now */
  change(owner: string, freed: Iterable<string>, wanted: readonly string[]): Set<string> {
    return this.#transaction(() => {
      for (const key of freed) this.#statement("free").run(key, owner);
      return new Set(wanted.filter((key) => this.#statement("take").run(key, owner).changes === 1 || this.ownerOf(key) === owner));
    });
  }

  ownerOf(key: string): unknown {
    return this.#statement("ownerOf").get(key)?.owner;
  }

  /** Which of these keys nobody holds. Looks only when another process has changed the table since the last time, or when it must. */
  freeOf(keys: Iterable<string>, mustLook: boolean): string[] {
    const version = this.#pragma("data_version");
    if (version === this.#seen && !mustLook) return [];
    const free = this.#statement("freeOf").all(JSON.stringify([...keys]));
    this.#seen = version;
    return free.map(({ value }) => String(value));
  }

  owners(): string[] {
    return this.#statement("owners")
      .all()
      .map(({ owner }) => String(owner));
  }

  /** Frees all locks of dead owners. */
  forget(owners: readonly string[]): void {
    this.#transaction(() => owners.map((owner) => this.#statement("forget").run(owner)));
  }

  close(): void {
    this.#database.close();
  }

  /** Deletes the file. SQLite recognises by itself a journal that belongs to no database. */
  discard(): void {
    const { isInPlace } = this;
    this.close();
    if (isInPlace) fs.rmSync(this.path, { force: true });
  }

  #transaction<T>(work: () => T): T {
    this.#database.exec("BEGIN IMMEDIATE");
    try {
      const result = work();
      this.#database.exec("COMMIT");
      return result;
    } catch (error) {
      this.#rollBack();
      throw error;
    }
  }

  #rollBack(): void {
    try {
      this.#database.exec("ROLLBACK");
    } catch {
      // Some failures have ended the transaction.
    }
  }

  #statement(name: Name): StatementSync {
    const prepared = this.#prepared.get(name) ?? this.#database.prepare(statements[name]);
    this.#prepared.set(name, prepared);
    return prepared;
  }

  #isEmpty(): boolean {
    return this.#pragma("schema_version") === 0;
  }

  #pragma(name: string): unknown {
    return Object.values(this.#database.prepare(`PRAGMA ${name}`).get() ?? {})[0];
  }
}

/** Another file was put in its place. */
export function isMoved(error: unknown): boolean {
  return resultCode(error) === moved;
}

/** The file is not a table of ours, or is torn. */
export function isUnusable(error: unknown): boolean {
  return isDamaged(error) || resultCode(error) === otherTable;
}
