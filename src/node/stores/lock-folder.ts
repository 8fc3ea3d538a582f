import { systemClock } from "../../clock.ts";
import { isBusy } from "./database.ts";
import { isErrno, storeError } from "./error.ts";
import { fileAt } from "./files.ts";
import { checkLockable } from "./lock-check.ts";
import { isDead, livingOwners, OwnerFile, removeDead, sweepOwners } from "./lock-owner.ts";
import { HeldTable, isMoved, isUnusable, tablePath } from "./lock-table.ts";

/** Most locks that change in one transaction, which takes a few ms then. */
const batchSize = 200;

/** Longest pause between two looks at locks of other processes, in ms: waiting costs little CPU, and a free lock is noticed soon. */
const longestPauseMs = 40;

/** Looking takes at most this share of the time, however many wait. */
const lookingShare = 0.1;

/** Pause between two looks at whether other holders live, in ms. */
const probeMs = 50;

/** Pause before a lock is released again that could not be, in ms. */
const retryMs = 100;

/** How long the files stay open without a lock, in ms: a burst of refreshes opens them once. */
const lingerMs = 200;

/** A lock that was had. */
export interface Ticket {
  readonly key: string;
  /** The file that shows that the holder lives. */
  readonly ownerPath: string;
}

interface Waiter {
  readonly key: string;
  have(ticket: Ticket): void;
  fail(error: unknown): void;
}

/** Those that are in use. */
const folders = new Map<string, LockFolder>();

/** Folders in which this process has deleted what processes that died have left. */
const swept = new Set<string>();

/** The locks of a folder, for all of this process. */
export function lockFolder(path: string): LockFolder {
  const folder = folders.get(path) ?? new LockFolder(path);
  folders.set(path, folder);
  endWithProcess();
  return folder;
}

let isListening = false;
function endWithProcess(): void {
  if (isListening) return;
  isListening = true;
  process.on("exit", () => {
    for (const folder of folders.values()) folder.closeIdle();
  });
}

/**
 * All locks that this process holds, or waits for, in one folder. It has one {@link OwnerFile} and one connection to the
 * {@link HeldTable} for them, while there are any. What is asked for at about the same time goes into one transaction.
 */
export class LockFolder {
  readonly #path: string;
  #table: HeldTable | undefined;
  #owner: OwnerFile | undefined;
  readonly #held = new Map<string, Ticket>();
  /** Released, but still in the table, and who waits for that. */
  readonly #freed = new Map<string, () => void>();
  /** Have their chance in the next transaction. */
  readonly #wanted = new Map<string, Waiter>();
  /** Another process holds their locks. */
  readonly #waiting = new Map<string, Waiter>();
  #isScheduled = false;
  #isWatching = false;
  #pauseMs = 1;
  #probedAt = Number.NEGATIVE_INFINITY;
  #later: NodeJS.Timeout | undefined;
  #linger: NodeJS.Timeout | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  /**
   * Waits for a lock; one caller at a time for each key.
   *
   * @throws `patience.reason`; McpAuthError `lock_unsupported`, `store_denied`, `store_unusable`, `store_failed`
   */
  take(key: string, patience: AbortSignal): Promise<Ticket> {
    return new Promise((resolve, reject) => {
      patience.throwIfAborted();
      const abort = () => waiter.fail(patience.reason);
      const leave = () => {
        patience.removeEventListener("abort", abort);
        this.#wanted.delete(key);
        this.#waiting.delete(key);
        this.#rest();
      };
      const waiter: Waiter = {
        key,
        have: (ticket) => {
          this.#held.set(key, ticket);
          leave();
          resolve(ticket);
        },
        fail: (error) => {
          leave();
          reject(error);
        },
      };
      patience.addEventListener("abort", abort);
      this.#wanted.set(key, waiter);
      this.#schedule();
    });
  }

  /** Resolves when others can have the lock, or when that has to be tried again: nobody waits for a table that is in use. */
  release(ticket: Ticket): Promise<void> {
    const { key } = ticket;
    if (this.#held.get(key) !== ticket) return Promise.resolve();
    this.#held.delete(key);
    return new Promise((resolve) => {
      this.#freed.set(key, resolve);
      this.#schedule();
    });
  }

  /** Whether the lock is not known to be lost. Looks at two files. */
  holds(ticket: Ticket): boolean {
    const isHeld = () => this.#held.get(ticket.key) === ticket;
    if (!isHeld() || !this.#owner?.isInPlace) return false;
    if (!this.#table?.isInPlace) this.#reopen();
    return isHeld();
  }

  /** Deletes and closes everything, unless a lock is held. */
  closeIdle(): void {
    if (this.#held.size > 0) return;
    this.#retire();
    this.#closeTable();
    if (folders.get(this.#path) === this) folders.delete(this.#path);
  }

  /** What comes in one round of the event loop shares a transaction. */
  #schedule(): void {
    clearTimeout(this.#linger);
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => this.#work());
  }

  #work(): void {
    this.#isScheduled = false;
    const wanted = first(this.#wanted.values(), batchSize);
    const freed = first(this.#freed.keys(), batchSize);
    try {
      // Who waited may have left.
      if (wanted.length + freed.length === 0) return;
      if (!this.#exchange(wanted, freed)) this.#scheduleIn(1 + Math.random() * 4);
      else if (this.#wanted.size + this.#freed.size > 0) this.#schedule();
    } catch (error) {
      this.#fail(error, wanted);
    } finally {
      for (const key of freed) this.#freed.get(key)?.();
      this.#rest();
    }
  }

  #scheduleIn(ms: number): void {
    clearTimeout(this.#later);
    this.#later = setTimeout(() => this.#schedule(), ms);
    // What is only to be deleted keeps no process alive: its end frees it, too.
    if (this.#wanted.size === 0) this.#later.unref();
  }

  /** @returns `false` when another attempt may succeed */
  #exchange(wanted: readonly Waiter[], freed: readonly string[]): boolean {
    try {
      // Their rows are gone with the table.
      const isGone = wanted.length === 0 && !this.#table && !fileAt(tablePath(this.#path));
      const table = isGone ? undefined : this.#usable();
      if (!table) return wanted.length === 0 && this.#forget(freed);
      this.#owner ??= new OwnerFile(this.#path);
      const keys = wanted.map(({ key }) => key);
      const had = table.change(this.#owner.name, freed, keys);
      // A table or an owner that others do not see keeps nobody out.
      if (!this.#areInPlace()) return false;
      this.#forget(freed);
      this.#settle(wanted, had, this.#owner.path);
      return true;
    } catch (error) {
      this.#recover(error);
      return false;
    }
  }

  #settle(wanted: readonly Waiter[], had: ReadonlySet<string>, ownerPath: string): void {
    for (const waiter of wanted) {
      if (had.has(waiter.key)) {
        // Not to be deleted any more: it was, or is ours again.
        this.#forget([waiter.key]);
        waiter.have({ key: waiter.key, ownerPath });
      } else {
        this.#wanted.delete(waiter.key);
        this.#waiting.set(waiter.key, waiter);
      }
    }
    if (this.#waiting.size > 0) void this.#watch();
    if (swept.has(this.#path)) return;
    swept.add(this.#path);
    // What is left is for the next process.
    sweepOwners(this.#path).catch(() => {});
  }

  #forget(freed: readonly string[]): true {
    for (const key of freed) {
      this.#freed.get(key)?.();
      this.#freed.delete(key);
    }
    return true;
  }

  /** The table, unless there is a new file and holders whose locks are not in it. */
  #usable(): HeldTable | undefined {
    this.#table ??= new HeldTable(this.#path);
    const table = this.#table;
    table.checkJournal();
    if (table.isReady) return table;
    if (table.isNew() && !this.#create(table)) return undefined;
    // Another table than before, which somebody has put there: locks that are not in it are lost.
    for (const key of this.#held.keys()) if (table.ownerOf(key) !== this.#owner?.name) this.#held.delete(key);
    table.isReady = true;
    return table;
  }

  #create(table: HeldTable): boolean {
    // Others may wait for the same.
    if (this.#held.size === 0) this.#retire();
    const owner = this.#owner?.name;
    return table.create(() => livingOwners(this.#path, owner).length === 0, owner ?? "", this.#held.keys());
  }

  /** Closes what is not in its place. */
  #areInPlace(): boolean {
    const [hasTable, hasOwner] = [this.#table?.isInPlace, this.#owner?.isInPlace];
    if (!hasTable) this.#closeTable();
    if (!hasOwner) {
      this.#held.clear();
      this.#retire();
    }
    return Boolean(hasTable && hasOwner);
  }

  #reopen(): void {
    try {
      this.#closeTable();
      if (fileAt(tablePath(this.#path))) this.#usable();
    } catch {
      // No other process makes a new table while this one holds locks.
    }
  }

  /** Returns when another attempt may succeed. */
  #recover(error: unknown): void {
    try {
      const [table, owner] = [this.#table, this.#owner];
      this.#areInPlace();
      // What failed may have been deleted in the middle.
      if (this.#table !== table || this.#owner !== owner) return;
      if (table && isUnusable(error)) {
        table.discard();
        this.#table = undefined;
      } else if (isBusy(error)) checkLockable(this.#path);
      else if (!isMoved(error) && !isErrno(error, "ENOENT")) throw error;
    } catch (cause) {
      throw storeError(cause, tablePath(this.#path));
    }
  }

  #fail(error: unknown, wanted: readonly Waiter[]): void {
    for (const { key, fail } of wanted) {
      // It is not known whether a transaction that failed has happened.
      this.#freed.set(key, () => {});
      fail(error);
    }
    // Whose owner is dead is free.
    if (this.#held.size === 0) this.#retire();
    if (this.#wanted.size > 0) this.#schedule();
    else if (this.#freed.size > 0) this.#scheduleIn(retryMs);
  }

  /** Waits until other processes have released locks, or have died. */
  async #watch(): Promise<void> {
    this.#pauseMs = 1;
    if (this.#isWatching) return;
    this.#isWatching = true;
    while (this.#waiting.size > 0) {
      const startedAt = process.uptime();
      try {
        this.#look(startedAt * 1000);
      } catch (error) {
        this.#retryWaiting(error);
      }
      const costMs = (process.uptime() - startedAt) * 1000;
      await systemClock.sleep(Math.max(this.#pauseMs * (0.5 + Math.random()), costMs / lookingShare));
      this.#pauseMs = Math.min(this.#pauseMs * 1.5, longestPauseMs);
    }
    this.#isWatching = false;
    this.#rest();
  }

  #look(now: number): void {
    const table = this.#table;
    if (!table?.isReady || !table.isInPlace) {
      this.#retry(this.#waiting.keys());
      return;
    }
    table.checkJournal();
    let hasForgotten = false;
    if (now - this.#probedAt > probeMs) {
      this.#probedAt = now;
      const dead = table.owners().filter((name) => name !== this.#owner?.name && isDead(this.#path, name));
      hasForgotten = dead.length > 0;
      if (hasForgotten) table.forget(dead);
      for (const name of dead) removeDead(this.#path, name);
    }
    this.#retry(table.freeOf(this.#waiting.keys(), hasForgotten));
  }

  /** Lets waiters try again. */
  #retry(keys: Iterable<string>): void {
    for (const key of [...keys]) {
      const waiter = this.#waiting.get(key);
      this.#waiting.delete(key);
      if (waiter) this.#wanted.set(key, waiter);
    }
    if (this.#wanted.size > 0) this.#schedule();
  }

  #retryWaiting(error: unknown): void {
    try {
      this.#recover(error);
    } catch (cause) {
      for (const { fail } of [...this.#waiting.values()]) fail(cause);
    }
  }

  #rest(): void {
    clearTimeout(this.#linger);
    if (this.#held.size + this.#freed.size + this.#wanted.size + this.#waiting.size > 0) return;
    this.#linger = setTimeout(() => this.closeIdle(), lingerMs).unref();
  }

  /** Others see that this process holds nothing. */
  #retire(): void {
    this.#owner?.retire();
    this.#owner = undefined;
    this.#forget([...this.#freed.keys()]);
  }

  #closeTable(): void {
    this.#table?.close();
    this.#table = undefined;
  }
}

function first<T>(items: Iterable<T>, count: number): T[] {
  const found: T[] = [];
  for (const item of items) {
    if (found.length === count) break;
    found.push(item);
  }
  return found;
}
