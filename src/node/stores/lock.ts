import type { DatabaseSync } from "node:sqlite";
import { deadline } from "../../async.ts";
import { systemClock } from "../../clock.ts";
import { McpAuthError } from "../../errors.ts";
import { MemoryStore } from "../../stores/memory.ts";
import type { LockOptions } from "../../stores/store.ts";
import { fs, join, sha256 } from "../builtins.ts";
import { isBusy, isDamaged, openDatabase, sqlite } from "./database.ts";
import { storeError } from "./error.ts";
import { isStillAt, secureFile, secureFolder, secureJournal } from "./files.ts";
import { checkLockable, checkLocking } from "./lock-check.ts";

/** Longest pause between two attempts, in ms: waiting costs little CPU, and a free lock is noticed soon. */
const longestPauseMs = 40;

/** A lock while it is held. */
export interface FileLock {
  /** Aborts when {@link FileLock.write} finds the lock lost. */
  readonly signal: AbortSignal;
  /** Writes while the lock is held. @throws McpAuthError `lock_lost` when it is not any more */
  write(work: () => Promise<void>): Promise<void>;
}

/** Callers of this process wait in a queue: only the first one asks the file system. */
const lines = new MemoryStore();

/**
 * Locks between the processes of one machine. The operating system frees a lock when its holder dies.
 *
 * Each lock is a transaction in a small SQLite database. SQLite's own waiting would block the event loop, so attempts are
 * repeated here. A lock file is never deleted: its holder would go on, beside the holder of the new file.
 */
export class FileLocks {
  readonly #folder: string;

  /**
   * @param folder where the lock files are; created when needed
   * @throws McpAuthError `unsupported_runtime`: now, before a user is asked for a login that could not be stored
   */
  constructor(folder: string) {
    sqlite();
    this.#folder = folder;
  }

  /**
   * Runs `action` while nobody else, in any process, runs with the same key.
   *
   * @throws McpAuthError `lock_timeout` after `lockTimeout`, `lock_unsupported`; `store_denied`, `store_unusable`, `store_failed`; `signal.reason`.
   */
  withLock<T>(key: string, action: (lock: FileLock) => Promise<T>, { signal, lockTimeout = 60_000 }: LockOptions = {}): Promise<T> {
    const path = join(this.#folder, `${sha256(key).slice(0, 32)}.lock`);
    const limit = deadline(systemClock, lockTimeout, () => new McpAuthError("lock_timeout", { detail: key }), signal);
    const turn = async () => {
      const held = await this.#acquire(path, limit.signal).finally(limit.stop);
      try {
        await checkLocking(this.#folder, path).catch((error: unknown) => {
          throw storeError(error, this.#folder);
        });
        return await action(held);
      } finally {
        held.release();
      }
    };
    return lines.withLock(path, turn, { signal: limit.signal, lockTimeout }).finally(limit.stop);
  }

  async #acquire(path: string, patience: AbortSignal): Promise<HeldFileLock> {
    for (let pauseMs = 1; ; pauseMs = Math.min(pauseMs * 1.5, longestPauseMs)) {
      patience.throwIfAborted();
      const held = this.#try(path);
      if (held) return held;
      await systemClock.sleep(pauseMs * (0.5 + Math.random()), { signal: patience });
    }
  }

  #try(path: string): HeldFileLock | undefined {
    let database: DatabaseSync | undefined;
    try {
      secureFolder(this.#folder);
      const inode = secureFile(path);
      secureJournal(path);
      database = openDatabase(path);
      database.exec("BEGIN IMMEDIATE");
      // Another file may be at the path by now.
      if (isStillAt(path, inode)) return new HeldFileLock(path, inode, database);
    } catch (error) {
      database?.close();
      this.#recover(path, error);
      return undefined;
    }
    database.close();
    return undefined;
  }

  /** Returns `undefined` when another attempt may succeed. */
  #recover(path: string, error: unknown): void {
    try {
      if (isDamaged(error)) fs.truncateSync(path);
      else if (isBusy(error)) checkLockable(this.#folder);
      else throw error;
    } catch (cause) {
      throw storeError(cause, path);
    }
  }
}

/** Keeps the database, too: a garbage-collected one frees its lock. */
class HeldFileLock implements FileLock {
  readonly #path: string;
  readonly #inode: number;
  readonly #lost = new AbortController();
  #database: DatabaseSync | undefined;

  constructor(path: string, inode: number, database: DatabaseSync) {
    this.#path = path;
    this.#inode = inode;
    this.#database = database;
  }

  get signal(): AbortSignal {
    return this.#lost.signal;
  }

  async write(work: () => Promise<void>): Promise<void> {
    if (this.#database && isStillAt(this.#path, this.#inode)) return work();
    const error = new McpAuthError("lock_lost", { detail: this.#database ? "its file was deleted" : "it was released" });
    this.#lost.abort(error);
    throw error;
  }

  release(): void {
    this.#database?.close();
    this.#database = undefined;
  }
}
