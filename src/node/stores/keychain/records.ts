import { McpAuthError } from "../../../errors.ts";
import type { HeldLock, LockOptions, Store, StoredRecord, StoreStatus } from "../../../stores/store.ts";
import { join, sha256 } from "../../builtins.ts";
import { typed } from "../error.ts";
import type { AppFolder } from "../folder.ts";
import type { FileLocks } from "../lock.ts";
import { KeychainCache } from "./cache.ts";
import type { BoundedKeychain } from "./calls.ts";
import { KeychainEntries } from "./entries.ts";

/** Options of {@link KeychainRecords}. */
export interface KeychainRecordsOptions {
  keychain: BoundedKeychain;
  service: string;
  /** For what is not secret: the current versions of the records. */
  place: AppFolder;
  locks: FileLocks;
  partSize: number;
}

/** Holds the list of keys. Searching entries by service would read all values, and `keytar` ends the process when it does that on a locked keyring. */
const indexAccount = "index";

/**
 * Records of one app: one keychain entry for each record, and one for the list of keys. A keychain has no atomic
 * read-modify-write, so one process writes at a time.
 */
export class KeychainRecords implements Store {
  readonly #keychain: BoundedKeychain;
  readonly #entries: KeychainEntries;
  readonly #cache: KeychainCache;
  readonly #locks: FileLocks;
  readonly #place: AppFolder;

  constructor({ keychain, service, place, locks, partSize }: KeychainRecordsOptions) {
    this.#keychain = keychain;
    this.#entries = new KeychainEntries(keychain, service, partSize);
    this.#cache = new KeychainCache(join(place.path, "keychain"));
    this.#locks = locks;
    this.#place = place;
  }

  /** Whether this keychain has a list of keys, maybe an empty one. */
  async exists(): Promise<boolean> {
    return (await this.#entries.read(indexAccount)) !== null;
  }

  /** Creates an empty list of keys. The caller holds the lock for this. */
  async begin(): Promise<void> {
    await this.#write(indexAccount, "[]");
  }

  async get(key: string): Promise<StoredRecord | undefined> {
    const account = accountOf(key);
    const text = await this.#cache.read(account, () => this.#entries.read(account));
    if (text !== null) return parse<StoredRecord>(key, text);
    await this.#checkUnlocked();
    return undefined;
  }

  set(key: string, value: StoredRecord): Promise<void> {
    return this.#exclusively(async () => {
      const keys = await this.#index();
      // The list first: a record that is not in the list is never found again.
      if (!keys.includes(key)) await this.#write(indexAccount, JSON.stringify([...keys, key]));
      await this.#write(accountOf(key), JSON.stringify(value));
    });
  }

  delete(key: string): Promise<void> {
    return this.#exclusively(() => this.#delete(key));
  }

  take(key: string): Promise<StoredRecord | undefined> {
    return this.#exclusively(async () => {
      const record = await this.get(key);
      if (record) await this.#delete(key);
      return record;
    });
  }

  async keys(prefix: string): Promise<string[]> {
    return (await this.#index()).filter((key) => key.startsWith(prefix));
  }

  withLock<T>(key: string, action: (held: HeldLock) => Promise<T>, options?: LockOptions): Promise<T> {
    return this.#locks.withLock(
      key,
      (lock) =>
        action({
          signal: lock.signal,
          check: () => lock.check(),
          set: (name, value) => lock.write(() => this.set(name, value)),
          delete: (name) => lock.write(() => this.delete(name)),
        }),
      options,
    );
  }

  async status(): Promise<StoreStatus> {
    return { kind: "keychain", path: this.#place.path, app: this.#place.app, key: "keychain" };
  }

  async #delete(key: string): Promise<void> {
    const keys = await this.#index();
    await this.#cache.replace(accountOf(key), async () => {
      // A locked keychain returns the same.
      if (!(await this.#entries.delete(accountOf(key)))) await this.#checkUnlocked();
      return null;
    });
    if (keys.includes(key)) await this.#write(indexAccount, JSON.stringify(keys.filter((other) => other !== key)));
  }

  async #index(): Promise<string[]> {
    const text = await this.#cache.read(indexAccount, () => this.#entries.read(indexAccount));
    return text === null ? this.#locked() : parse<string[]>(indexAccount, text);
  }

  #write(account: string, text: string): Promise<void> {
    return this.#cache.replace(account, async () => {
      await this.#entries.write(account, text);
      return text;
    });
  }

  /** On a locked keyring `keytar` returns `null`, as if there were no entry. The list of keys always exists. */
  async #checkUnlocked(): Promise<void> {
    if (!(await this.exists())) this.#locked();
  }

  #locked(): never {
    throw new McpAuthError("keychain_locked", { detail: `the records of ${this.#place.path}` });
  }

  /** Runs `work` while no other process writes. */
  #exclusively<T>(work: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const turn = async () => {
        await typed(this.#place.path, work).then(resolve, reject);
        // A write that exceeded its time limit may still happen: no other process writes until then.
        await this.#keychain.settled();
      };
      this.#locks.withLock("keychain-store", turn).catch(reject);
    });
  }
}

/** A name that every keychain accepts: some ignore case, some stop at a NUL or after 500 characters. */
function accountOf(key: string): string {
  return `record:${/^[ -@[-~]{1,200}$/.test(key) ? key : sha256(key)}`;
}

function parse<T>(name: string, text: string): T {
  try {
    return JSON.parse(text) as T;
  } catch {
    // No `cause`: the parser's message would quote the text.
    throw new McpAuthError("invalid_record", { detail: name });
  }
}
