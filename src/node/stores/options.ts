import type { StoreEvent } from "../../events.ts";
import { callback, having, milliseconds, oneOf, type Rules } from "../../options.ts";
import { isAbsolute } from "../builtins.ts";
import type { Keychain } from "./keychain/calls.ts";
import { isAppName } from "./name-space.ts";

/** Where an app keeps its logins. */
export interface FolderOptions {
  /**
   * Name space: programs share logins only when all give the same. Any name that a folder can have. Default: the name of the
   * package that the program belongs to, without one its folder; `status()` and `store.opened` say which.
   */
  app?: string | undefined;
  /** Folder of all apps. Default: `MCP_AUTH_DATA_DIR`, else the platform's folder for data of this user. */
  folder?: string | undefined;
}

/** Which keychain is used, and how long to wait for it. `MCP_AUTH_KEYCHAIN=off` switches all keychains off. */
export interface KeychainOptions {
  /**
   * The app's own `keytar`, for example that of an Electron app, or anything with its interface; `false`: none.
   * Default: `keytar` when it is installed, else `@napi-rs/keyring`.
   */
  keychain?: Keychain | false | undefined;
  /** How long to wait for each answer of the keychain, in milliseconds. Default 2,000. */
  keychainTimeout?: number | undefined;
}

/** Where the key that encrypts a store is kept. */
export interface KeyOptions extends KeychainOptions {
  /**
   * What to do when the keychain cannot keep the first key: use a key file that only this user can read (default), or throw
   * the keychain's error. A key in the keychain is never replaced by a file.
   */
  keychainFailure?: "error" | "key-file" | undefined;
}

/** Options of `sqliteStore`. */
export interface SqliteStoreOptions extends FolderOptions, KeyOptions {
  /** Receives events: where records and key are kept, and when a database was set aside. */
  onEvent?: ((event: StoreEvent) => void) | undefined;
}

/** Options of `keychainStore`. */
export interface KeychainStoreOptions extends FolderOptions, KeychainOptions {
  /**
   * What to do where the keychain does not work. `"error"`: throw. `"key-file"`: use the SQLite store, with its key in a file.
   * Default: the SQLite store, as long as nothing was kept in the keychain; else `keychain_locked`.
   */
  fallback?: "error" | "key-file" | undefined;
  /** The longest text that one entry of the keychain takes, in characters. Default: 1,280 on Windows, else no limit. */
  partSize?: number | undefined;
  /** Receives events: where records are kept. */
  onEvent?: ((event: StoreEvent) => void) | undefined;
}

const placeRules = (): Rules<FolderOptions & KeychainOptions> => {
  const [aKeychain, isKeychain] = having("a keychain", "getPassword", "setPassword", "deletePassword");
  return {
    app: [
      "the name of a folder: at most 100 characters, no slashes, no dot or space at either end",
      (value) => typeof value === "string" && isAppName(value),
    ],
    folder: ["an absolute path", (value) => typeof value === "string" && isAbsolute(value)],
    keychain: [`\`false\`, or ${aKeychain}`, (value) => value === false || isKeychain(value)],
    keychainTimeout: milliseconds,
  };
};

export const sqliteRules = (): Rules<SqliteStoreOptions> => ({
  ...placeRules(),
  keychainFailure: oneOf("error", "key-file"),
  onEvent: callback,
});

export const keychainRules = (): Rules<KeychainStoreOptions> => ({
  ...placeRules(),
  fallback: oneOf("error", "key-file"),
  // In shorter parts most of an entry would be overhead.
  partSize: ["a number from 100", (value) => typeof value === "number" && value >= 100],
  onEvent: callback,
});
