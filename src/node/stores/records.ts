import type { DatabaseSync } from "node:sqlite";
import { type Deadline, deadline } from "../../async.ts";
import { systemClock } from "../../clock.ts";
import { McpAuthError } from "../../errors.ts";
import type { StoreEvent } from "../../events.ts";
import { dirname, fs } from "../builtins.ts";
import { isBusy, isDamaged, openDatabase } from "./database.ts";
import { storeError, typed } from "./error.ts";
import { fileAt, isStillAt, secureFile, secureFolder, secureJournal } from "./files.ts";
import { GroupCommit } from "./group-commit.ts";
import type { FileLocks } from "./lock.ts";
import { Portions } from "./portions.ts";
import { DamagedDatabase, ForeignDatabase, prepareDatabase, type Statements, statementsOf } from "./schema.ts";

/** A write of another process takes a moment. After so many ms that process must be stopped. */
const patienceMs = 10_000;

/** So many reads, with what is done with their results, take some ms. */
const readsAtOnce = 64;

/** Options of {@link Records}. */
export interface RecordsOptions {
  path: string;
  locks: FileLocks;
  tell: (event: StoreEvent) => void;
}

interface Opened {
  readonly database: DatabaseSync;
  readonly statements: Statements;
  readonly inode: number;
}

/** Why a database cannot be used and is set aside. */
type Fault = "damaged" | "foreign" | "key-missing";

/** What is done with the database, at once. */
export type Work<T> = (statements: Statements) => T;

/** A statement of a transaction. It may be run again: only what the last run did counts. */
interface Write {
  readonly work: Work<unknown>;
  readonly create: boolean;
}

/**
 * The database of an app's records. It is opened with its first use, opened again after its file was deleted or replaced,
 * and set aside when it cannot be used. A write is durable when it returns.
 */
export class Records {
  readonly #options: RecordsOptions;
  readonly #reads = new Portions(readsAtOnce);
  readonly #writes = new GroupCommit<Write>((writes) => this.#commit(writes));
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
  async read<T>(work: Work<T>): Promise<T | undefined> {
    const later = this.#reads.next();
    if (later) await later;
    return this.#run(work, false);
  }

  /** Runs a statement that writes, perhaps in one transaction with those of others. `prepare` gives it. */
  write<T>(prepare: () => Promise<Work<T>>): Promise<T> {
    return this.#writes.add(async () => ({ work: await prepare(), create: true }));
  }

  /** Runs a statement that removes something. `undefined` without a database. */
  remove<T>(work: Work<T>): Promise<T | undefined> {
    return this.#writes.add(async () => ({ work, create: false }));
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
    // What this process has in memory is not lost with it.
    this.#restarts++;
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

  async #commit(writes: readonly Write[]): Promise<unknown[]> {
    const all = (statements: Statements) => writes.map(({ work }) => work(statements));
    const isOne = writes.length === 1;
    const create = writes.some((write) => write.create);
    return (await this.#run(isOne ? all : (statements) => this.#transaction(statements, all), create)) ?? [];
  }

  #transaction<T>(statements: Statements, work: Work<T>): T {
    statements("BEGIN IMMEDIATE").run();
    try {
      const result = work(statements);
      statements("COMMIT").run();
      return result;
    } catch (error) {
      this.#rollBack(statements);
      throw error;
    }
  }

  #rollBack(statements: Statements): void {
    try {
      statements("ROLLBACK").run();
    } catch {
      // SQLite has ended the transaction itself; where not, closing does.
      this.#close();
    }
  }

  async #run<T>(work: Work<T>, create: boolean): Promise<T | undefined> {
    const { path } = this.#options;
    let limit: Deadline | undefined;
    try {
      for (;;) {
        try {
          const opened = this.#open(create);
          return opened && work(opened.statements);
        } catch (error) {
          if (error instanceof McpAuthError) throw error;
          if (isDamaged(error) || error instanceof DamagedDatabase) return await this.setAside("damaged");
          if (error instanceof ForeignDatabase) return await this.setAside("foreign");
          if (!isBusy(error)) throw storeError(error, path);
          // After an attempt: this process may have been stopped, not the other one.
          if (limit?.signal.aborted) throw new McpAuthError("lock_timeout", { detail: path, cause: error });
        }
        limit ??= deadline(systemClock, patienceMs, () => undefined);
        // SQLite's own waiting would block the event loop.
        await systemClock.sleep(1 + Math.random() * 9);
      }
    } finally {
      limit?.stop();
    }
  }

  #open(create: boolean): Opened | undefined {
    const { path } = this.#options;
    this.notice();
    if (this.#opened) return this.#opened;
    if (!create && !fileAt(path)) return undefined;
    secureFolder(dirname(path));
    const inode = secureFile(path);
    secureJournal(path);
    const database = openDatabase(path);
    try {
      prepareDatabase(database, path);
    } catch (error) {
      // Closing ends an open transaction.
      database.close();
      throw error;
    }
    this.#opened = { database, statements: statementsOf(database), inode };
    // The file was replaced before it was opened.
    return isStillAt(path, inode) ? this.#opened : this.#open(create);
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
