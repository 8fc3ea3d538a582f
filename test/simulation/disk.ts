import { type HeldLock, McpAuthError, type Store, type StoredRecord } from "../../src/index.ts";
import type { Host } from "./host.ts";
import type { SharedStore, StoreWatcher } from "./shared-store.ts";
import type { World } from "./world.ts";

interface Hold<P extends Host> {
  readonly process: P;
  /** Aborts when it is lost. */
  readonly lost: AbortController;
}

interface Lock<P extends Host> {
  holder: Hold<P> | undefined;
  /** Those who try again when it is free. */
  waiting: (() => void)[];
}

/** The disk that all processes share: durable records, and locks that die with their holder. */
export class Disk<P extends Host = Host> implements SharedStore<P> {
  state: "works" | "full" | "fails" = "works";
  readonly #records = new Map<string, string>();
  readonly #world: World;
  readonly #watcher: StoreWatcher<P>;
  readonly #locks = new Map<string, Lock<P>>();
  /** What the disk held before each write of a process, newest first. */
  readonly #undo = new Map<P, [string, string | undefined][]>();

  constructor(world: World, watcher: StoreWatcher<P>) {
    this.#world = world;
    this.#watcher = watcher;
  }

  async put(key: string, record: StoredRecord): Promise<void> {
    this.#records.set(key, JSON.stringify(record));
  }

  #read(key: string, stale: ReadonlyMap<string, string> | undefined): StoredRecord | undefined {
    if (this.#world.broken === "overlooks the login" && this.#world.steps > 20 && key.startsWith("tokens/")) return undefined;
    const text = (stale ?? this.#records).get(key);
    return text === undefined ? undefined : (JSON.parse(text) as StoredRecord);
  }

  storeFor(process: P): Store {
    let stale: ReadonlyMap<string, string> | undefined;
    const read = <T>(label: string, work: () => T) =>
      this.#operation(process, label, () => {
        if (this.state === "fails") throw new Error("EIO");
        return work();
      });
    return {
      get: (key) => read(`get ${key}`, () => this.#read(key, stale)),
      set: (key, value) => this.#write(process, key, value),
      delete: (key) => this.#write(process, key, undefined),
      take: (key) =>
        read(`take ${key}`, () => {
          const record = this.#read(key, stale);
          this.#apply(process, key, undefined);
          return record;
        }),
      keys: (prefix) => read(`keys ${prefix}`, () => [...this.#records.keys()].filter((key) => key.startsWith(prefix))),
      withLock: async (key, action, { signal, lockTimeout = 60_000 } = {}) => {
        const hold = { process, lost: new AbortController() };
        const before = this.#world.broken === "reads before it locks" ? new Map(this.#records) : undefined;
        await this.#acquire(hold, key, signal, lockTimeout);
        stale = before;
        try {
          return await action(this.#held(hold, key));
        } finally {
          stale = undefined;
          this.#release(hold, key);
        }
      },
    };
  }

  /** A crash: what was being written is there entirely or not at all; locks are free. */
  abandon(process: P, landed: boolean): void {
    const underWay = [...process.writing];
    process.writing.clear();
    for (const write of landed ? underWay : []) {
      try {
        write();
      } catch {
        // What the disk refuses does not land either.
      }
    }
    if (this.#world.broken === "forgets with its writer") {
      for (const [key, before] of this.#undo.get(process) ?? []) {
        if (before === undefined) this.#records.delete(key);
        else this.#records.set(key, before);
      }
    }
    this.#undo.delete(process);
    if (this.#world.broken === "keeps locks of the dead") return;
    for (const [key, { holder }] of this.#locks) if (holder?.process === process) this.#release(holder, key);
  }

  /** The files of all locks are gone: others can have them. */
  loseLocks(): void {
    for (const [key, { holder }] of this.#locks) {
      if (!holder) continue;
      this.#release(holder, key);
      holder.lost.abort();
    }
  }

  mayRefresh(process: P): boolean {
    return [...this.#locks].some(([key, { holder }]) => key.startsWith("refresh/") && holder?.process === process);
  }

  #held(hold: Hold<P>, key: string): HeldLock {
    const { process } = hold;
    const check = () => {
      if (this.#world.broken !== "gives a lock twice" && this.#lock(key).holder !== hold)
        throw new McpAuthError("lock_lost", { detail: key });
    };
    const write = (name: string, value: StoredRecord | undefined) => this.#write(process, name, value, check);
    return { signal: hold.lost.signal, set: write, delete: (name) => write(name, undefined) };
  }

  #acquire(hold: Hold<P>, key: string, signal: AbortSignal | undefined, lockTimeout: number): Promise<void> {
    const { process } = hold;
    const lock = this.#lock(key);
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      let isOver = false;
      const end = (settle: () => void) => {
        if (isOver) return;
        isOver = true;
        cancel();
        settle();
      };
      const cancel = this.#world.after(lockTimeout, process, () => {
        if (this.#world.broken === "keeps locks of the dead") return;
        this.#world.counts["locks not had in time"]++;
        end(() => reject(new McpAuthError("lock_timeout", { detail: key })));
      });
      signal?.addEventListener("abort", () => end(() => reject(signal.reason)));
      const attempt = () =>
        this.#world.step(`lock ${key}`, process, () => {
          if (isOver) return;
          if (lock.holder && this.#world.broken !== "gives a lock twice") {
            lock.waiting.push(attempt);
            return;
          }
          lock.holder = hold;
          if (key.startsWith("login/")) process.loginSince = this.#world.steps;
          end(resolve);
        });
      attempt();
    });
  }

  #release(hold: Hold<P>, key: string): void {
    const lock = this.#lock(key);
    if (lock.holder !== hold) return;
    lock.holder = undefined;
    this.#watcher.onReleased(hold.process, key);
    for (const attempt of lock.waiting.splice(0)) attempt();
  }

  #lock(key: string): Lock<P> {
    const lock: Lock<P> = this.#locks.get(key) ?? { holder: undefined, waiting: [] };
    this.#locks.set(key, lock);
    return lock;
  }

  #write(process: P, key: string, value: StoredRecord | undefined, check = () => {}): Promise<void> {
    const write = () => {
      process.writing.delete(write);
      check();
      if (this.state !== "works") {
        this.#world.counts["writes failed"]++;
        throw Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
      }
      this.#apply(process, key, value);
    };
    process.writing.add(write);
    const written = this.#operation(process, `${value ? "set" : "delete"} ${key}`, write);
    if (this.#world.broken !== "confirms early") return written;
    written.catch(() => {});
    return Promise.resolve();
  }

  #apply(process: P, key: string, value: StoredRecord | undefined): void {
    const before = this.#records.get(key);
    if (this.#world.broken === "forgets with its writer") this.#undo.set(process, [[key, before], ...(this.#undo.get(process) ?? [])]);
    if (value) this.#records.set(key, JSON.stringify(value));
    else this.#records.delete(key);
    this.#watcher.onWritten(process, key, before === undefined ? undefined : JSON.parse(before), value);
  }

  #operation<T>(process: P, label: string, work: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#world.step(label, process, () => {
        try {
          resolve(work());
        } catch (error) {
          reject(error);
        }
      });
    });
  }
}
