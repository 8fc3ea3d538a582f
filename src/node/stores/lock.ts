import { deadline } from "../../async.ts";
import { systemClock } from "../../clock.ts";
import { McpAuthError } from "../../errors.ts";
import { MemoryStore } from "../../stores/memory.ts";
import type { LockOptions } from "../../stores/store.ts";
import { join, sha256 } from "../builtins.ts";
import { sqlite } from "./database.ts";
import { storeError } from "./error.ts";
import { checkLocking } from "./lock-check.ts";
import { type LockFolder, lockFolder, type Ticket } from "./lock-folder.ts";

/** A lock while it is held. */
export interface FileLock {
  /** Aborts when the lock is found lost. */
  readonly signal: AbortSignal;
  /** Asks no other process. @throws McpAuthError `lock_lost` when the lock is known to be lost */
  check(): void;
  /** Writes while the lock is held. @throws McpAuthError `lock_lost` when it is not any more */
  write(work: () => Promise<void>): Promise<void>;
}

/** Callers of this process wait in a queue: only the first one asks the file system. */
const lines = new MemoryStore();

/**
 * Locks between the processes of one machine. The operating system frees them when their holder dies.
 *
 * A folder of locks has a table of what is held, by which owner, and a file for each owner, which its process keeps locked while it
 * holds anything. These files come and go; there are never two holders, because
 * 1. a key has one row, and a row is written in a transaction;
 * 2. an owner is locked before its first row is written, and until its last one is deleted; its name is random and never used again;
 * 3. so a row may be deleted by others once its owner has no locked file: whoever could use it has died, or knows it lost
 *    (`lock_lost`: its file was deleted);
 * 4. a lock is held only if table and owner are still in their places after the row was written;
 * 5. a table that is new, because the old one was deleted or damaged, is used only when no owner lives whose rows it lacks: who took a
 *    lock in the old one has locked its owner before (2) the new one was there (4), and is seen.
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
    const name = sha256(key).slice(0, 32);
    const limit = deadline(systemClock, lockTimeout, () => new McpAuthError("lock_timeout", { detail: key }), signal);
    const locked = async () => {
      const folder = lockFolder(this.#folder);
      const ticket = await folder.take(name, limit.signal).finally(limit.stop);
      try {
        await checkLocking(this.#folder, ticket.ownerPath).catch((error: unknown) => {
          throw storeError(error, this.#folder);
        });
        return await action(new HeldFileLock(folder, ticket));
      } finally {
        await folder.release(ticket);
      }
    };
    return lines.withLock(join(this.#folder, name), locked, { signal: limit.signal, lockTimeout }).finally(limit.stop);
  }
}

class HeldFileLock implements FileLock {
  readonly #folder: LockFolder;
  readonly #ticket: Ticket;
  readonly #lost = new AbortController();

  constructor(folder: LockFolder, ticket: Ticket) {
    this.#folder = folder;
    this.#ticket = ticket;
  }

  get signal(): AbortSignal {
    return this.#lost.signal;
  }

  check(): void {
    if (this.#folder.holds(this.#ticket)) return;
    const error = new McpAuthError("lock_lost", { detail: "it was released, or its files were deleted" });
    this.#lost.abort(error);
    throw error;
  }

  async write(work: () => Promise<void>): Promise<void> {
    this.check();
    await work();
  }
}
