import { checkOptions } from "../../options.ts";
import type { HeldLock, LockOptions, Store, StoredRecord, StoreStatus } from "../../stores/store.ts";
import { type KeychainStoreOptions, keychainRules, type SqliteStoreOptions, sqliteRules } from "./options.ts";

/**
 * A durable store: one encrypted database for each user and app, shared by all processes. Its key is in the keychain where
 * one works, else in a file that only this user can read. The default of `createMcpAuth`.
 *
 * @throws McpAuthError `invalid_option`. Its operations: `unsupported_runtime` without `node:sqlite`; `store_failed`, `store_denied`, `store_unusable`;
 *   `lock_timeout`, `lock_unsupported`; `keychain_locked` when the key is where it cannot be read now; `store_damaged` once for
 *   a database that had to be set aside; `invalid_record` for a single record.
 * @example
 * ```ts
 * const store = sqliteStore({ app: "acme" }); // share logins with every program that says `acme`
 * ```
 */
export function sqliteStore(options: SqliteStoreOptions = {}): Store {
  checkOptions(options, sqliteRules());
  return spreadable(defaultStore(options));
}

/** {@link sqliteStore}, unchecked, and lighter: there may be one for each user. */
export function defaultStore(options: SqliteStoreOptions): Required<Store> {
  return new StoreOnDemand(async () => (await import("./shared.ts")).sharedStore(options));
}

/**
 * Keeps logins in the keychain of the operating system. Only locks and version numbers are on disk.
 *
 * Needs `keytar`, `@napi-rs/keyring`, or a keychain of the app's own. A process reads each record once, and again after
 * another process has written it. `fallback` decides what happens where the keychain does not work.
 *
 * @throws McpAuthError `invalid_option`. Its operations: `keychain_unavailable`, `keychain_locked`, `keychain_refused`,
 *   `keychain_timeout`, and the codes of {@link sqliteStore}.
 * @example
 * ```ts
 * const store = keychainStore({ app: "acme", keychain: keytar });
 * ```
 */
export function keychainStore(options: KeychainStoreOptions = {}): Store {
  checkOptions(options, keychainRules());
  return spreadable(new StoreOnDemand(async () => new (await import("./keychain/store.ts")).KeychainStore(options)));
}

/** A store that an app can spread into one that adds to it. */
function spreadable(store: Required<Store>): Store {
  return {
    get: (key) => store.get(key),
    set: (key, value) => store.set(key, value),
    delete: (key) => store.delete(key),
    take: (key) => store.take(key),
    keys: (prefix) => store.keys(prefix),
    withLock: (key, action, options) => store.withLock(key, action, options),
    status: () => store.status(),
  };
}

/** A store whose code is loaded with its first use. */
class StoreOnDemand implements Required<Store> {
  readonly #load: () => Promise<Required<Store>>;
  #loading: Promise<Required<Store>> | undefined;

  constructor(load: () => Promise<Required<Store>>) {
    this.#load = load;
  }

  async get(key: string): Promise<StoredRecord | undefined> {
    return (await this.#store()).get(key);
  }

  async set(key: string, value: StoredRecord): Promise<void> {
    return (await this.#store()).set(key, value);
  }

  async delete(key: string): Promise<void> {
    return (await this.#store()).delete(key);
  }

  async take(key: string): Promise<StoredRecord | undefined> {
    return (await this.#store()).take(key);
  }

  async keys(prefix: string): Promise<string[]> {
    return (await this.#store()).keys(prefix);
  }

  async withLock<T>(key: string, action: (held: HeldLock) => Promise<T>, options?: LockOptions): Promise<T> {
    return (await this.#store()).withLock(key, action, options);
  }

  async status(): Promise<StoreStatus> {
    return (await this.#store()).status();
  }

  /** A failure is not kept: a package.json may have been corrected. */
  #store(): Promise<Required<Store>> {
    this.#loading ??= this.#load().catch((error: unknown) => {
      this.#loading = undefined;
      throw error;
    });
    return this.#loading;
  }
}
