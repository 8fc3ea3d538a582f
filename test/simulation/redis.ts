import * as scripts from "../../src/node/redis/scripts.ts";
import type { Host } from "./host.ts";
import type { World } from "./world.ts";

/** A lock in Redis, as the scripts keep it. */
interface Lock<P extends Host> {
  fence: number;
  owner: string | undefined;
  until: number;
  lease: number;
  write: number;
  /** Who has acquired it last. */
  process: P | undefined;
  renewedAt: number;
}

/** Told about what the commands have done. */
export interface RedisWatcher<P extends Host> {
  onWritten(writer: P, name: string, before: string | undefined, after: string | undefined): void;
  onReleased(holder: P, name: string): void;
  onTakenOver(holder: P, name: string, renewedAt: number): void;
}

type Keys = readonly string[];
/** What a script does, in one step. */
type Script<P extends Host> = (keys: Keys, args: readonly string[], by: P) => unknown;

/** What the store asks of Redis, as a model: it executes one command at a time and never errs. */
export class SimulatedRedis<P extends Host> {
  /** Whether there is memory for writes. */
  isFull = false;
  readonly #world: World;
  readonly #watcher: RedisWatcher<P>;
  readonly #records = new Map<string, { jwe: string; version: number }>();
  readonly #locks = new Map<string, Lock<P>>();
  readonly #marks = new Map<string, { fence: number; write: number }>();
  #startedAt: number;

  constructor(world: World, watcher: RedisWatcher<P>) {
    this.#world = world;
    this.#watcher = watcher;
    this.#startedAt = world.now;
  }

  /** It was away, and has all that it had confirmed. */
  restart(): void {
    this.#startedAt = this.#world.now;
  }

  locksOf(process: P): string[] {
    return [...this.#locks]
      .filter(([, lock]) => lock.owner && lock.process === process && lock.until > this.#world.now)
      .map(([name]) => name);
  }

  put(name: string, jwe: string): void {
    this.#records.set(name, { jwe, version: this.#after(0) });
  }

  /** @throws Error as a client of Redis, for what Redis refuses */
  execute([name, ...args]: readonly string[], by: P): unknown {
    if (name === "HMGET") return this.#read(args[0] ?? "");
    if (name === "SCAN") return this.#scan(args[2] ?? "");
    const [text = "", count, ...rest] = args;
    const script = this.#scripts.get(text);
    if (name !== "EVAL" || !script) throw new Error(`ERR unknown command ${name}`);
    if (this.isFull && text !== scripts.release) throw new Error("OOM command not allowed when used memory > 'maxmemory'.");
    return script(rest.slice(0, Number(count)), rest.slice(Number(count)), by);
  }

  readonly #scripts = new Map<string, Script<P>>([
    [scripts.acquire, ([lock = ""], [owner = "", lease], by) => this.#acquire(lock, owner, Number(lease), by)],
    [scripts.renew, ([lock = ""], [owner, fence, lease]) => Number(this.#renew(lock, owner, fence, lease))],
    [scripts.release, ([lock = ""], [owner]) => this.#release(lock, owner)],
    [scripts.write, ([record = ""], [jwe = ""], by) => this.#write(record, jwe, by)],
    [
      scripts.writeUnderLock,
      ([record = "", name = ""], [owner, fence, lease, write, jwe = ""], by) => {
        const lock = this.#lock(name);
        if (!this.#isHeld(lock, owner, fence)) return 0;
        if (lock.write >= Number(write)) return 1;
        lock.write = Number(write);
        this.#renew(name, owner, fence, lease);
        return this.#write(record, jwe, by);
      },
    ],
    [
      scripts.writeWithFence,
      ([record = "", name = ""], [fence, write, jwe = ""], by) => {
        const mark = this.#marks.get(name) ?? { fence: 0, write: 0 };
        if (mark.fence > Number(fence) && this.#world.broken !== "does not fence") return 0;
        if (mark.fence === Number(fence) && mark.write >= Number(write)) return 1;
        this.#marks.set(name, { fence: Number(fence), write: Number(write) });
        return this.#write(record, jwe, by);
      },
    ],
    [
      scripts.compareAndSet,
      ([record = ""], [version, jwe = ""], by) => {
        if (String(this.#records.get(record)?.version) !== version) return 0;
        return this.#write(record, jwe, by);
      },
    ],
  ]);

  #read(name: string): unknown[] {
    const record = this.#records.get(name);
    return record ? [record.jwe, String(record.version)] : [null, null];
  }

  /** @param pattern as the store makes it: one `*`, after the braces have been opened */
  #scan(pattern: string): unknown[] {
    const [start = "", end = ""] = pattern.replace(/\\(.)/g, "$1").split("*");
    return ["0", [...this.#records.keys()].filter((name) => name.startsWith(start) && name.endsWith(end))];
  }

  #acquire(name: string, owner: string, lease: number, process: P): unknown[] {
    const { now, broken } = this.#world;
    const lock = this.#lock(name);
    if (lock.owner && lock.owner !== owner) {
      const left = lock.until > now ? lock.until - now : lock.lease - Math.floor((now - this.#startedAt) / 1000) * 1000;
      if (left > 0 && broken !== "gives a lock twice") return ["", left];
      if (lock.process && broken !== "gives a lock twice") this.#watcher.onTakenOver(lock.process, name, lock.renewedAt);
    }
    const fence = this.#after(lock.fence);
    this.#locks.set(name, { fence, owner, until: now + lease, lease, write: 0, process, renewedAt: now });
    return [String(fence), 0];
  }

  #isHeld(lock: Lock<P>, owner: string | undefined, fence: string | undefined): boolean {
    return this.#world.broken === "does not fence" || (lock.owner === owner && String(lock.fence) === fence);
  }

  #renew(name: string, owner: string | undefined, fence: string | undefined, lease: string | undefined): boolean {
    const lock = this.#lock(name);
    if (!this.#isHeld(lock, owner, fence)) return false;
    if (lock.owner === owner) {
      lock.until = this.#world.now + Number(lease);
      lock.renewedAt = this.#world.now;
    }
    return true;
  }

  #release(name: string, owner: string | undefined): number {
    const lock = this.#lock(name);
    if (lock.owner === undefined || lock.owner !== owner) return 0;
    lock.owner = undefined;
    if (lock.process) this.#watcher.onReleased(lock.process, name);
    return 1;
  }

  #write(name: string, jwe: string, by: P): number {
    const before = this.#records.get(name);
    if (jwe === "") this.#records.delete(name);
    else this.#records.set(name, { jwe, version: this.#after(before?.version ?? 0) });
    this.#watcher.onWritten(by, name, before?.jwe, jwe || undefined);
    return 1;
  }

  #lock(name: string): Lock<P> {
    const none: Lock<P> = { fence: 0, owner: undefined, until: 0, lease: 0, write: 0, process: undefined, renewedAt: 0 };
    const lock = this.#locks.get(name) ?? none;
    this.#locks.set(name, lock);
    return lock;
  }

  /** Greater than before, and at least the time in µs. */
  #after(former: number): number {
    return Math.max(this.#world.now * 1000, former + 1);
  }
}
