import { abortable, deadline } from "../async.ts";
import { systemClock } from "../clock.ts";
import { McpAuthError } from "../errors.ts";
import type { HeldLock, LockOptions, Store, StoredRecord, StoreStatus } from "./store.ts";

/**
 * A store in memory, for as long as the object lives. Several managers may share it, with its locks.
 *
 * The default in browsers, workers and tests.
 */
export class MemoryStore implements Store {
  // As JSON text, so that reads return copies, and a value that JSON cannot hold is lost here as in other stores.
  readonly #records = new Map<string, string>();
  /** The last in line for each lock. */
  readonly #locks = new Map<string, Promise<void>>();

  async get(key: string): Promise<StoredRecord | undefined> {
    const text = this.#records.get(key);
    return text === undefined ? undefined : (JSON.parse(text) as StoredRecord);
  }

  async set(key: string, value: StoredRecord): Promise<void> {
    this.#records.set(key, JSON.stringify(value));
  }

  async delete(key: string): Promise<void> {
    this.#records.delete(key);
  }

  async take(key: string): Promise<StoredRecord | undefined> {
    const record = this.get(key);
    this.#records.delete(key);
    return record;
  }

  async keys(prefix: string): Promise<string[]> {
    return [...this.#records.keys()].filter((key) => key.startsWith(prefix));
  }

  async status(): Promise<StoreStatus> {
    return { kind: "memory" };
  }

  async withLock<T>(key: string, action: (held: HeldLock) => Promise<T>, options: LockOptions = {}): Promise<T> {
    const before = this.#locks.get(key);
    const { promise: left, resolve: leave } = Promise.withResolvers<void>();
    // A caller that stops waiting keeps its place in the line, and leaves it when the callers before it are done.
    const place = Promise.all([before, left]).then(() => {
      if (this.#locks.get(key) === place) this.#locks.delete(key);
    });
    this.#locks.set(key, place);
    let held = true;
    const whileHeld = async (write: () => Promise<void>) => {
      if (!held) throw new McpAuthError("lock_lost", { detail: key });
      await write();
    };
    try {
      await waitFor(before, key, options);
      return await action({
        signal: new AbortController().signal,
        set: (k, value) => whileHeld(() => this.set(k, value)),
        delete: (k) => whileHeld(() => this.delete(k)),
      });
    } finally {
      held = false;
      leave();
    }
  }
}

/** Waits for the holders before, within bounds. */
async function waitFor(before: Promise<void> | undefined, key: string, { signal, lockTimeout = 60_000 }: LockOptions): Promise<void> {
  signal?.throwIfAborted();
  const limit = deadline(systemClock, lockTimeout, () => new McpAuthError("lock_timeout", { detail: key }), signal);
  try {
    await abortable(Promise.resolve(before), limit.signal);
  } finally {
    limit.stop();
  }
}
