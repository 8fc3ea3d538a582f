import type { DatabaseSync } from "node:sqlite";
import { systemClock } from "../../clock.ts";
import { McpAuthError } from "../../errors.ts";
import type { StoreEvent } from "../../events.ts";
import { dirname, fs } from "../builtins.ts";
import { isBusy, isDamaged, openDatabase } from "./database.ts";
import { storeError, typed } from "./error.ts";
import { fileAt, isStillAt, secureFile, secureFolder, secureJournal } from "./files.ts";
import type { FileLocks } from "./lock.ts";

/** Marks our databases (`PRAGMA application_id`): "MCPA". */
const applicationId = 0x4d435041;
const schemaVersion = 1;

/** A write of another process takes a moment. After this time that process must be stopped. */
const patienceSeconds = 10;

/** Options of {@link Records}. */
export interface RecordsOptions {
  path: string;
  locks: FileLocks;
  tell: (event: StoreEvent) => void;
}

interface Opened {
  readonly database: DatabaseSync;
  readonly inode: number;
}

/** Why a database cannot be used and is set aside. */
type Fault = "damaged" | "foreign" | "key-missing";

/**
 * The database of an app's records. It is opened with its first use, opened again after its file was deleted or replaced,
 * and set aside when it cannot be used. A write is durable when it returns.
 */
export class Records {
  readonly #options: RecordsOptions;
  #opened: Opened | undefined;
  #restarts = 0;

  constructor(options: RecordsOptions) {
    this.#options = options;
  }

  /** How often all records were lost since this object was created. */
  get restarts(): number {
    this.notice();
    return this.#restarts;
  }

  /** Reads; creates nothing. `undefined` without a database. */
  read<T>(work: (database: DatabaseSync) => T): Promise<T | undefined> {
    return this.#run(work, false);
  }

  /** Runs one statement, or one transaction, that writes. */
  async write<T>(work: (database: DatabaseSync) => T): Promise<T> {
    return (await this.#run(work, true)) as T;
  }

  /**
   * Renames the database, so that a user or a later version can inspect it. The next write creates a new one.
   *
   * @throws McpAuthError `store_damaged`, always
   */
  async setAside(reason: Fault): Promise<never> {
    const { path, locks, tell } = this.#options;
    const inode = this.#opened?.inode ?? fileAt(path)?.ino;
    this.#close();
    const aside = `${path}.${reason}-${new Date().toISOString().replace(/\D/g, "").slice(0, 14)}-${process.pid}`;
    const move = async () => {
      // Another process has already replaced it.
      if (inode === undefined || !isStillAt(path, inode)) return "set aside by another process";
      for (const suffix of ["", "-journal"]) if (fileAt(path + suffix)) fs.renameSync(path + suffix, aside + suffix);
      tell({ type: "store.set-aside", path: aside, reason });
      return `now ${aside}`;
    };
    const where = await typed(path, () => locks.withLock("set-aside", move));
    throw new McpAuthError("store_damaged", { detail: `${reason}, ${where}` });
  }

  async #run<T>(work: (database: DatabaseSync) => T, create: boolean): Promise<T | undefined> {
    const { path } = this.#options;
    // Monotonic. So is `performance`, but its first use costs 3 ms.
    const until = process.uptime() + patienceSeconds;
    for (;;) {
      try {
        const database = this.#open(create);
        return database && work(database);
      } catch (error) {
        if (error instanceof McpAuthError) throw error;
        if (isDamaged(error) || error instanceof DamagedDatabase) return await this.setAside("damaged");
        if (error instanceof ForeignDatabase) return await this.setAside("foreign");
        if (!isBusy(error)) throw storeError(error, path);
        if (process.uptime() > until) throw new McpAuthError("lock_timeout", { detail: path, cause: error });
      }
      // SQLite's own waiting would block the event loop.
      await systemClock.sleep(1 + Math.random() * 9);
    }
  }

  #open(create: boolean): DatabaseSync | undefined {
    const { path } = this.#options;
    this.notice();
    if (this.#opened) return this.#opened.database;
    if (!create && !fileAt(path)) return undefined;
    secureFolder(dirname(path));
    const inode = secureFile(path);
    secureJournal(path);
    const database = openDatabase(path);
    try {
      prepare(database);
    } catch (error) {
      // Closing ends an open transaction.
      database.close();
      throw error;
    }
    this.#opened = { database, inode };
    // The file was replaced before it was opened.
    return isStillAt(path, inode) ? database : this.#open(create);
  }

  /** Checks whether the file was deleted or replaced: an open database would go on without an error, and its writes would be lost. */
  notice(): void {
    const { path, tell } = this.#options;
    if (!this.#opened || isStillAt(path, this.#opened.inode)) return;
    this.#close();
    this.#restarts++;
    tell({ type: "store.restarted", path: dirname(path) });
  }

  #close(): void {
    this.#opened?.database.close();
    this.#opened = undefined;
  }
}

class ForeignDatabase extends Error {}
class DamagedDatabase extends Error {}

/** Checks that the database is ours and complete. Marks a new one as ours. */
function prepare(database: DatabaseSync): void {
  // EXTRA synchronises the folder, too, after the journal was deleted at the end of a transaction.
  database.exec("PRAGMA synchronous = EXTRA");
  const id = pragma(database, "application_id");
  const version = pragma(database, "user_version");
  if (id === applicationId && version === schemaVersion) {
    // Without this check a truncated database looks like an empty one.
    if (pragma(database, "quick_check(1)") !== "ok" || !hasRecords(database)) throw new DamagedDatabase();
    return;
  }
  if (id === applicationId && Number(version) > schemaVersion) {
    throw new McpAuthError("invalid_record", { detail: `the database has version ${version}` });
  }
  database.exec("BEGIN IMMEDIATE");
  // Another process may have done it first.
  if (pragma(database, "application_id") !== applicationId) {
    if (pragma(database, "schema_version") !== 0) throw new ForeignDatabase();
    database.exec(`
      PRAGMA application_id = ${applicationId};
      PRAGMA user_version = ${schemaVersion};
      CREATE TABLE records (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;`);
  }
  database.exec("COMMIT");
}

function hasRecords(database: DatabaseSync): boolean {
  const columns = database.prepare("SELECT name FROM pragma_table_info('records') ORDER BY cid").all();
  return columns.map(({ name }) => name).join() === "key,value";
}

function pragma(database: DatabaseSync, name: string): unknown {
  return Object.values(database.prepare(`PRAGMA ${name}`).get() ?? {})[0];
}
