import { members } from "../../../http/json.ts";
import type { HeldLock, LockOptions, Store, StoredRecord, StoreStatus } from "../../../stores/store.ts";
import { basename, join, sha256 } from "../../builtins.ts";
import { typed } from "../error.ts";
import { fileAt, readText, replaceFile, secureFile, secureFolder, unusable } from "../files.ts";
import { type AppFolder, appFolder } from "../folder.ts";
import { FileLocks } from "../lock.ts";
import type { KeychainStoreOptions } from "../options.ts";
import { sharedStore } from "../shared.ts";
import type { SqliteStore } from "../sqlite.ts";
import type { BoundedKeychain } from "./calls.ts";
import { isKeychainError } from "./error.ts";
import { findInKeychains, keychainService, openKeychains } from "./keychain.ts";
import { KeychainRecords } from "./records.ts";

/** Where the records of a folder are. Written with the first record. */
interface Marker {
  readonly v: 1;
  readonly place: "keychain" | "sqlite";
  /** The service of the entries in the keychain. It stays when the folder moves. */
  readonly service: string;
}

/** Windows Credential Manager takes 2,560 bytes; libraries write one or two for each character. */
const windowsPartSize = 1280;

/**
 * Records of one app in the keychain. Only locks and version numbers are on disk.
 *
 * A process reads each record once, and again after another process has written it.
 */
export class KeychainStore implements Store {
  readonly #options: KeychainStoreOptions;
  readonly #place: AppFolder;
  readonly #folder: string;
  readonly #locks: FileLocks;
  #opened: Promise<Store> | undefined;

  /** @throws McpAuthError `store_unusable` as {@link appFolder} */
  constructor(options: KeychainStoreOptions = {}) {
    this.#options = options;
    this.#place = appFolder(options);
    this.#folder = this.#place.path;
    this.#locks = new FileLocks(join(this.#folder, "locks"));
  }

  async get(key: string): Promise<StoredRecord | undefined> {
    return (await this.#existing())?.get(key);
  }

  async set(key: string, value: StoredRecord): Promise<void> {
    return (await this.#open()).set(key, value);
  }

  async delete(key: string): Promise<void> {
    await (await this.#existing())?.delete(key);
  }

  async take(key: string): Promise<StoredRecord | undefined> {
    return (await this.#existing())?.take(key);
  }

  async keys(prefix: string): Promise<string[]> {
    return (await this.#existing())?.keys(prefix) ?? [];
  }

  async withLock<T>(key: string, action: (held: HeldLock) => Promise<T>, options?: LockOptions): Promise<T> {
    return (await this.#open()).withLock(key, action, options);
  }

  async status(): Promise<StoreStatus> {
    const opened = await this.#opened?.catch(() => undefined);
    if (opened?.status) return opened.status();
    const place = this.#marker()?.place;
    if (place === "sqlite") return this.#inDatabase().status();
    return { kind: "keychain", path: this.#folder, app: this.#place.app, key: place };
  }

  /** Reading does not choose the place: nothing was written yet. */
  #existing(): Promise<Store | undefined> {
    return typed(this.#folder, async () => {
      const exists = this.#opened !== undefined || this.#marker() !== undefined || (await this.#isInKeychain());
      return exists ? this.#open() : undefined;
    });
  }

  /** A failure is not kept: a keychain may be unlocked at any time. */
  #open(): Promise<Store> {
    this.#opened ??= typed(this.#folder, () => this.#find()).catch((error: unknown) => {
      this.#opened = undefined;
      throw error;
    });
    return this.#opened;
  }

  async #find(): Promise<Store> {
    return (await this.#known()) ?? (await this.#locks.withLock("keychain-first", async () => (await this.#known()) ?? this.#first()));
  }

  /** The store that the first process has chosen. */
  async #known(): Promise<Store | undefined> {
    const place = this.#marker()?.place;
    if (place === "keychain") return this.#inKeychain();
    return place === "sqlite" && this.#options.fallback !== "error" ? this.#inDatabase() : undefined;
  }

  async #inKeychain(): Promise<Store> {
    try {
      return await findInKeychains(this.#options, `the records of ${this.#folder}`, async (keychain) => {
        const records = this.#records(keychain);
        return (await records.exists()) ? this.#tell(records) : undefined;
      });
    } catch (error) {
      if (!isKeychainError(error) || this.#options.fallback !== "key-file") throw error;
      return this.#inDatabase();
    }
  }

  /** The folder may have been deleted while the records are still in the keychain. */
  async #isInKeychain(): Promise<boolean> {
    try {
      for await (const keychain of openKeychains(this.#options)) return await this.#records(keychain).exists();
    } catch (error) {
      if (!isKeychainError(error) || this.#options.fallback === "error") throw error;
    }
    return false;
  }

  async #first(): Promise<Store> {
    try {
      for await (const keychain of openKeychains(this.#options)) {
        const records = this.#records(keychain);
        if (!(await records.exists())) await records.begin();
        this.#mark("keychain");
        return this.#tell(records);
      }
    } catch (error) {
      if (!isKeychainError(error) || this.#options.fallback === "error") throw error;
    }
    this.#mark("sqlite");
    return this.#inDatabase();
  }

  #records(keychain: BoundedKeychain): KeychainRecords {
    const { partSize = process.platform === "win32" ? windowsPartSize : Number.POSITIVE_INFINITY } = this.#options;
    return new KeychainRecords({ keychain, service: this.#service(), place: this.#place, locks: this.#locks, partSize });
  }

  /** Two folders of one app do not share locks, so each has its own records. */
  #service(): string {
    return this.#marker()?.service ?? `${keychainService}/${basename(this.#folder)}/${sha256(this.#folder).slice(0, 8)}`;
  }

  #tell(records: KeychainRecords): Store {
    this.#options.onEvent?.({ type: "store.opened", kind: "keychain", key: "keychain", path: this.#folder, app: this.#place.app });
    return records;
  }

  /** This store reports by itself where its key is. */
  #inDatabase(): SqliteStore {
    return sharedStore({ onEvent: this.#options.onEvent, keychain: false }, this.#place);
  }

  #marker(): Marker | undefined {
    const path = this.#markerPath();
    if (!fileAt(path)) return undefined;
    secureFile(path);
    const { v, place, service } = members(readText(path));
    const isMarker = v === 1 && (place === "keychain" || place === "sqlite") && typeof service === "string" && service !== "";
    if (!isMarker) throw unusable(path, "does not say where the records are");
    return { v, place, service };
  }

  #mark(place: Marker["place"]): void {
    const path = this.#markerPath();
    secureFolder(this.#folder);
    const marker: Marker = { v: 1, place, service: this.#service() };
    // Replaced, not only created: the app may ask for the keychain's errors now, and have used the database before.
    replaceFile(path, JSON.stringify(marker));
  }

  #markerPath(): string {
    return join(this.#folder, "keychain-store.json");
  }
}
