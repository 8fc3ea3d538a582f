import type { AppNameSpace } from "../events.ts";

/** A record that a store keeps under a key: plain JSON with a version. */
export interface StoredRecord {
  /** Version of the record's schema. */
  readonly v: number;
  readonly [field: string]: unknown;
}

/** Writes under a lock. They succeed only while the lock is held. */
export interface HeldLock {
  /** Aborts when the lock is lost. */
  readonly signal: AbortSignal;
  /** Set when all records were lost while the store was in use (its folder was deleted): what is in memory is the newest then. */
  readonly restarted?: boolean | undefined;
  /** @throws McpAuthError `lock_lost` when it is known to be lost, such as its lease being over. Asks nobody. */
  check?(): void;
  /** @throws McpAuthError `lock_lost` when the lock is not held any more. */
  set(key: string, value: StoredRecord): Promise<void>;
  /** @throws McpAuthError `lock_lost` when the lock is not held any more. */
  delete(key: string): Promise<void>;
}

/** Where a store keeps its records. */
export interface StoreStatus {
  /** For example `memory`, `sqlite`, `keychain`. */
  kind: string;
  /** Its folder, where it has one. */
  path?: string | undefined;
  /** Under which name the app keeps its logins, and why: programs share them only under the same. */
  app?: AppNameSpace | undefined;
  /** Where the key that encrypts the values lives. */
  key?: "keychain" | "file" | undefined;
}

/** Options of {@link Store.withLock}. */
export interface LockOptions {
  /** Ends the waiting for the lock, never the action. */
  signal?: AbortSignal | undefined;
  /** How long to wait for the lock, in ms. Default 60,000. */
  lockTimeout?: number | undefined;
}

/**
 * Keeps records, and locks that protect them.
 *
 * Writes are atomic and durable: after a crash at any moment a key holds its old or its new value. Keys are readable
 * (`tokens/<account>/<resource>`), show no query of a URL, and are private to one app. `test/stores/store-contract.ts` tests any implementation.
 */
export interface Store {
  /** The record, or `undefined`. A copy: changing it changes nothing stored. */
  get(key: string): Promise<StoredRecord | undefined>;
  /** Creates or replaces a record. */
  set(key: string, value: StoredRecord): Promise<void>;
  /** Deletes a record. A missing record is no error. */
  delete(key: string): Promise<void>;
  /** Reads and deletes a record in one step: exactly one of several callers gets it. */
  take(key: string): Promise<StoredRecord | undefined>;
  /** All keys that begin with `prefix`, in no particular order. */
  keys(prefix: string): Promise<string[]>;
  /**
   * Runs `action` while it holds the lock `key`: no other holder runs, in any process or on any machine that shares the store.
   * The lock is released when the action settles or its process dies.
   *
   * @throws McpAuthError `lock_timeout` when the lock is not free within `lockTimeout`.
   */
  withLock<T>(key: string, action: (held: HeldLock) => Promise<T>, options?: LockOptions): Promise<T>;
  /** Where the records are, for display. */
  status?(): Promise<StoreStatus>;
}
