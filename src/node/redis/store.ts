import { systemClock } from "../../clock.ts";
import type { StoreEvent } from "../../events.ts";
import type { HeldLock, LockOptions, Store, StoredRecord, StoreStatus } from "../../stores/store.ts";
import type { Connection } from "./client.ts";
import { Commands, textIn } from "./commands.ts";
import { risksOf, type StoreRisk } from "./durability.ts";
import { KeyRing } from "./key-ring.ts";
import { RedisLocks } from "./lock.ts";
import { Names } from "./names.ts";
import type { RedisStoreOptions } from "./options.ts";
import * as scripts from "./scripts.ts";

/** What {@link RedisStore.rotateKeys} did to the records. */
export interface KeyRotation {
  /** They are encrypted with the newest key now. */
  rotated: number;
  /** They were already. */
  unchanged: number;
  /** They are damaged, or their key is not in the ring: they stay as they are. */
  unreadable: number;
}

/** A store in Redis, whose key can be changed. */
export interface RedisStore extends Store {
  /**
   * Encrypts all records with the newest key. Readers and writers may go on meanwhile: a record that somebody changes is never
   * overwritten. Afterwards the older keys are needed no more, as long as every machine writes with the newest.
   *
   * @throws McpAuthError `store_failed`, `store_denied`, `store_unusable`. What was done until then is done.
   */
  rotateKeys(): Promise<KeyRotation>;
}

interface Found {
  readonly jwe: string;
  readonly version: string;
}

/** How many names one step of SCAN looks at. */
const scanCount = 1000;
/** How many records are encrypted anew at once. */
const rotatedAtOnce = 16;

/** Records and locks of an app in Redis, shared by all machines that have the keys. */
export class RecordsInRedis implements RedisStore {
  readonly #commands: Commands;
  readonly #names: Names;
  readonly #locks: RedisLocks;
  readonly #ring: KeyRing;
  readonly #onEvent: ((event: StoreEvent) => void) | undefined;
  #isChecked = false;

  constructor(connection: Connection, options: RedisStoreOptions) {
    const { keys, prefix = "mcp-auth:", lease: leaseMs = 60_000, commandTimeout = 5000, onEvent } = options;
    this.#commands = new Commands(connection, commandTimeout);
    this.#names = new Names(prefix);
    this.#locks = new RedisLocks({ commands: this.#commands, names: this.#names, leaseMs });
    this.#ring = new KeyRing(keys);
    this.#onEvent = onEvent;
  }

  async get(key: string): Promise<StoredRecord | undefined> {
    const found = await this.#find(key);
    return found && this.#ring.unseal(key, found.jwe);
  }

  async set(key: string, value: StoredRecord): Promise<void> {
    const jwe = await this.#ring.seal(key, value);
    await this.#commands.run(scripts.write, [this.#names.record(key)], [jwe, lifetimeOf(key, value)], "once");
    this.#checkRisks();
  }

  async delete(key: string): Promise<void> {
    await this.#commands.run(scripts.write, [this.#names.record(key)], ["", ""], "once");
  }

  async take(key: string): Promise<StoredRecord | undefined> {
    for (;;) {
      const found = await this.#find(key);
      if (!found) return undefined;
      // Read before it is deleted: one that cannot be read stays.
      const record = await this.#ring.unseal(key, found.jwe);
      if (await this.#replace(key, found, "")) return record;
    }
  }

  async keys(prefix: string): Promise<string[]> {
    const found = new Set<string>();
    for (const send of await this.#commands.nodes()) {
      let cursor = "0";
      do {
        const command = ["SCAN", cursor, "MATCH", this.#names.pattern(prefix), "COUNT", String(scanCount)];
        const [next, names] = (await send(command)) as [unknown, unknown[]];
        cursor = textIn(next) ?? "0";
        for (const name of names) found.add(this.#names.keyOf(textIn(name) ?? ""));
      } while (cursor !== "0");
    }
    return [...found];
  }

  withLock<T>(key: string, action: (held: HeldLock) => Promise<T>, options?: LockOptions): Promise<T> {
    return this.#locks.withLock(
      key,
      (lock) =>
        action({
          signal: lock.signal,
          check: () => lock.check(),
          set: async (name, value) => {
            await lock.write(name, await this.#ring.seal(name, value), lifetimeOf(name, value));
            this.#checkRisks();
          },
          delete: (name) => lock.write(name, "", ""),
        }),
      options,
    );
  }

  async status(): Promise<StoreStatus> {
    return { kind: "redis" };
  }

  async rotateKeys(): Promise<KeyRotation> {
    const counts: KeyRotation = { rotated: 0, unchanged: 0, unreadable: 0 };
    const keys = (await this.keys("")).values();
    const rotateAll = async () => {
      for (const key of keys) {
        const outcome = await this.#rotate(key);
        if (outcome) counts[outcome]++;
      }
    };
    // They share one iterator: each key is taken by one of them.
    await Promise.all(Array.from({ length: rotatedAtOnce }, rotateAll));
    return counts;
  }

  /** @returns nothing when the record is gone */
  async #rotate(key: string): Promise<keyof KeyRotation | undefined> {
    for (;;) {
      const found = await this.#find(key);
      if (!found) return undefined;
      let record: StoredRecord;
      try {
        if (await this.#ring.isNewest(key, found.jwe)) return "unchanged";
        record = await this.#ring.unseal(key, found.jwe);
      } catch {
        return "unreadable";
      }
      if (await this.#replace(key, found, await this.#ring.seal(key, record))) return "rotated";
    }
  }

  async #find(key: string): Promise<Found | undefined> {
    const name = this.#names.record(key);
    const [jwe, version] = (await this.#commands.send(name, ["HMGET", name, "j", "v"], "repeatable")) as unknown[];
    return jwe === null || jwe === undefined ? undefined : { jwe: textIn(jwe) ?? "", version: textIn(version) ?? "" };
  }

  /** Compare and set; an empty value deletes. @returns whether the record was still the one that was found */
  async #replace(key: string, { version }: Found, value: string): Promise<boolean> {
    return Number(await this.#commands.run(scripts.compareAndSet, [this.#names.record(key)], [version, value], "once")) === 1;
  }

  /** Once, and beside the work. */
  #checkRisks(): void {
    if (this.#isChecked || !this.#onEvent) return;
    this.#isChecked = true;
    const tell = (reasons: readonly StoreRisk[]) => {
      for (const reason of reasons) this.#onEvent?.({ type: "store.at-risk", reason });
    };
    risksOf(this.#commands)
      .then(tell)
      .catch(() => {
        // Not everybody may ask; and an observer's failure is the observer's.
      });
  }
}

/** How long it lives, in ms: an authorization that nobody finishes goes by itself. All other records stay. */
function lifetimeOf(key: string, { expiresAt }: StoredRecord): number | "" {
  const expires = key.startsWith("pending/") && typeof expiresAt === "number" && Number.isFinite(expiresAt);
  return expires ? Math.max(1, Math.ceil(expiresAt - systemClock.now())) : "";
}
