import type { AppNameSpace } from "../events.ts";

/** Plain JSON with a version: what a store keeps under a key. */
export interface StoredRecord {
  /** Version of the record's schema. */
  readonly v: number;
  readonly [field: string]: unknown;
}

/** What the holder of a lock may do: writes succeed only while the lock is still held. */
export interface HeldLock {
  /** Aborts when the lock is lost. */
  readonly signal: AbortSignal;
  /** Set when all records were lost while the store was in use (its folder was deleted): what is in memory is the newest then. */
  readonly restarted?: boolean | undefined;
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

/** How to wait for a lock. */
export interface LockOptions {
  /** Ends the waiting for the lock, never the action. */
  signal?: AbortSignal | undefined;
  /** How long to wait for the lock at most, in milliseconds. Default 60,000. */
  waitMs?: number | undefined;
}

/**
 * Where records live, and who may change them now.
 *
 * Writes are atomic and durable: after a crash at any moment a key holds its old or its new value. Keys are readable
 * (`tokens/<account>/<resource>`) and private to one app. `test/stores/store-contract.ts` tests any implementation.
 */
export interface Store {
  /** The record, or `undefined`. A copy: changing it changes nothing stored. */
  get(key: string): Promise<StoredRecord | undefined>;
  /** Creates or replaces a record. */
  set(key: string, value: StoredRecord): Promise<void>;
  /** Deletes a record; one that is not there is no error. */
  delete(key: string): Promise<void>;
  /** Reads and deletes in one step: of several callers exactly one gets the record. */
  take(key: string): Promise<StoredRecord | undefined>;
  /** All keys that begin with `prefix`, in no particular order. */
  keys(prefix: string): Promise<string[]>;
  /**
   * Runs `action` while no other holder of `key` runs, in any process or on any machine that shares the store.
   * The lock is freed when the action settles or its process dies.
   *
   * @throws McpAuthError `lock_timeout` when the lock cannot be had within `waitMs`.
   */
  withLock<T>(key: string, action: (held: HeldLock) => Promise<T>, options?: LockOptions): Promise<T>;
  /** Where the records are, for people. */
  status?(): Promise<StoreStatus>;
}
