import type { StoreEvent } from "../../events.ts";
import type { HeldLock, LockOptions, Store, StoredRecord, StoreStatus } from "../../stores/store.ts";
import { appFolder } from "./folder.ts";
import { OpenFolder } from "./open-folder.ts";
import type { SqliteStoreOptions } from "./options.ts";

/**
 * Records of one app on this machine, shared by all its processes: a SQLite database with encrypted values, and locks that the
 * operating system frees when their holder dies. What it costs is the folder's, which many stores may share.
 */
export class SqliteStore implements Store {
  readonly #folder: OpenFolder;
  readonly #onEvent: SqliteStoreOptions["onEvent"];
  /** How often the records had been lost before. */
  readonly #restartsBefore: number;
  #newsHeard: number;
  #openedHeard: readonly StoreEvent[] | undefined;

  /** @throws McpAuthError `store_unusable` as {@link appFolder}; `unsupported_runtime` */
  constructor(options: SqliteStoreOptions = {}, folder: OpenFolder = new OpenFolder(options, appFolder(options))) {
    this.#folder = folder;
    this.#onEvent = options.onEvent;
    this.#restartsBefore = folder.restarts;
    this.#newsHeard = folder.newsCount;
  }

  get(key: string): Promise<StoredRecord | undefined> {
    return this.#hearing(this.#folder.get(key));
  }

  set(key: string, value: StoredRecord): Promise<void> {
    return this.#hearing(this.#folder.set(key, value));
  }

  delete(key: string): Promise<void> {
    return this.#hearing(this.#folder.delete(key));
  }

  take(key: string): Promise<StoredRecord | undefined> {
    return this.#hearing(this.#folder.take(key));
  }

  keys(prefix: string): Promise<string[]> {
    return this.#hearing(this.#folder.keys(prefix));
  }

  withLock<T>(key: string, action: (held: HeldLock) => Promise<T>, options?: LockOptions): Promise<T> {
    const folder = this.#folder;
    const before = this.#restartsBefore;
    return folder.locks.withLock(
      key,
      (lock) => {
        const write = async (work: () => Promise<void>) => {
          await lock.write(work);
          folder.confirm(key);
        };
        // Once more when it is written: it may have waited for others.
        const check = () => lock.check();
        return action({
          signal: lock.signal,
          get restarted() {
            return folder.restarts > before && !folder.isConfirmed(key);
          },
          check,
          set: (name, value) => write(() => this.#hearing(folder.set(name, value, check))),
          delete: (name) => write(() => this.#hearing(folder.delete(name, check))),
        });
      },
      options,
    );
  }

  async status(): Promise<StoreStatus> {
    return this.#folder.status();
  }

  async #hearing<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } finally {
      this.#hear();
    }
  }

  /** Tells the app what has happened since. The folder keeps no list of its stores: each asks when it is used. */
  #hear(): void {
    const { newsCount, opened } = this.#folder;
    const news = this.#folder.newsAfter(this.#newsHeard);
    this.#newsHeard = newsCount;
    for (const event of news) this.#tell(event);
    if (opened === this.#openedHeard) return;
    this.#openedHeard = opened;
    for (const event of opened) this.#tell(event);
  }

  #tell(event: StoreEvent): void {
    try {
      this.#onEvent?.(event);
    } catch {
      // What was done stays done.
    }
  }
}
