import { checkOptions } from "../../options.ts";
import type { Store } from "../../stores/store.ts";
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
  return whenNeeded(async () => new (await import("./sqlite.ts")).SqliteStore(options));
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
  return whenNeeded(async () => new (await import("./keychain/store.ts")).KeychainStore(options));
}

/** A store whose code is loaded with its first use. */
function whenNeeded(load: () => Promise<Required<Store>>): Store {
  let loading: Promise<Required<Store>> | undefined;
  const store = () => {
    // A failure is not kept: a package.json may have been corrected.
    loading ??= load().catch((error: unknown) => {
      loading = undefined;
      throw error;
    });
    return loading;
  };
  return {
    get: async (key) => (await store()).get(key),
    set: async (key, value) => (await store()).set(key, value),
    delete: async (key) => (await store()).delete(key),
    take: async (key) => (await store()).take(key),
    keys: async (prefix) => (await store()).keys(prefix),
    withLock: async (key, action, options) => (await store()).withLock(key, action, options),
    status: async () => (await store()).status(),
  };
}
