import { deadline } from "../../async.ts";
import { systemClock } from "../../clock.ts";
import { McpAuthError } from "../../errors.ts";
import { MemoryStore } from "../../stores/memory.ts";
import type { LockOptions } from "../../stores/store.ts";
import { type Commands, textIn } from "./commands.ts";
import { type Lease, lease } from "./lease.ts";
import { guardedBy, type Names } from "./names.ts";
import * as scripts from "./scripts.ts";

/** Longest pause between two attempts to get a lock, in ms: a free lock is noticed soon, and waiting costs Redis little. */
const longestPauseMs = 100;

/** What all locks of a store need. */
export interface RedisLocksOptions {
  commands: Commands;
  names: Names;
  /** How long a lock outlives the last sign of its holder, in ms. */
  leaseMs: number;
}

/** Locks between machines. A holder renews its lease; a lock whose lease is over goes to the next one that asks. */
export class RedisLocks {
  readonly #options: RedisLocksOptions;
  /** Callers of this store wait in a queue for each lock: only the first one asks Redis. */
  readonly #lines = new MemoryStore();

  constructor(options: RedisLocksOptions) {
    this.#options = options;
  }

  /**
   * Runs `action` while nobody else holds the lock `key`.
   *
   * @throws McpAuthError `lock_timeout` after `lockTimeout`; `store_failed`, `store_denied`, `store_unusable`; `signal.reason`
   */
  withLock<T>(key: string, action: (lock: RedisLock) => Promise<T>, { signal, lockTimeout = 60_000 }: LockOptions = {}): Promise<T> {
    const limit = deadline(systemClock, lockTimeout, () => new McpAuthError("lock_timeout", { detail: key }), signal);
    const turn = async () => {
      const lock = new RedisLock(this.#options, key);
      try {
        await acquire(lock, limit.signal).finally(limit.stop);
        return await action(lock);
      } finally {
        await lock.release();
      }
    };
    return this.#lines.withLock(key, turn, { signal: limit.signal, lockTimeout }).finally(limit.stop);
  }
}

async function acquire(lock: RedisLock, patience: AbortSignal): Promise<void> {
  for (let pauseMs = 2; ; pauseMs = Math.min(pauseMs * 1.5, longestPauseMs)) {
    patience.throwIfAborted();
    const heldForMs = await lock.tryToAcquire();
    if (heldForMs === 0) return;
    await systemClock.sleep(Math.min(pauseMs, heldForMs) * (0.5 + Math.random()), { signal: patience });
  }
}

/** One attempt to hold a lock, from before it is acquired until after it is released. */
export class RedisLock {
  readonly #options: RedisLocksOptions;
  readonly #key: string;
  readonly #name: string;
  readonly #owner = crypto.randomUUID();
  /** `unknown`: an attempt was not answered. */
  #state: "free" | "unknown" | "held" | "lost" | "released" = "free";
  #fence = "";
  #writes = 0;
  /** From before the last command that Redis answered with yes was sent: in Redis the lease ends later. */
  #lease: Lease | undefined;
  readonly #unsafe = new AbortController();
  readonly #ended = new AbortController();

  constructor(options: RedisLocksOptions, key: string) {
    this.#options = options;
    this.#key = key;
    this.#name = options.names.lock(key);
  }

  /** Aborts when the lock is lost, or its lease is over: others may hold it then. */
  get signal(): AbortSignal {
    return this.#unsafe.signal;
  }

  /** @returns for how long it is held by another, in ms; 0 when it is held here now */
  async tryToAcquire(): Promise<number> {
    const { commands, leaseMs } = this.#options;
    const begun = lease(leaseMs);
    this.#state = "unknown";
    const answer = (await commands.run(scripts.acquire, [this.#name], [this.#owner, leaseMs], "repeatable")) as unknown[];
    this.#fence = textIn(answer[0]) ?? "";
    this.#state = this.#fence === "" ? "free" : "held";
    if (this.#state === "free") return Math.max(1, Number(answer[1]));
    this.#lease = begun;
    void this.#keep();
    return 0;
  }

  /** @throws McpAuthError `lock_lost` when it is known to be lost, or its lease is over. Asks nobody. */
  check(): void {
    if (this.#state !== "held") throw this.#error(this.#state === "lost" ? "another holds it" : "it was released");
    if (this.#lease?.isOver) throw this.#warn();
  }

  /**
   * Sets a record, or deletes it, unless the lock has had another holder since. Where nobody wanted a lock whose lease is over, it
   * is held on: a new refresh token that comes late is not lost.
   *
   * @param value nothing to delete it
   * @param ttl how long it lives, in ms; nothing: for ever
   * @throws McpAuthError `lock_lost`, and as {@link Commands.run}
   */
  async write(key: string, value: string, ttl: number | ""): Promise<void> {
    const { commands, names, leaseMs } = this.#options;
    const record = names.record(key);
    const number = ++this.#writes;
    if (guardedBy(this.#key) === key) {
      return this.#renewing((mine) =>
        commands.run(scripts.writeUnderLock, [record, this.#name], [...mine, leaseMs, number, value, ttl], "repeatable"),
      );
    }
    // Another slot of a cluster: no script can look at the lock, too. The record knows the lock's last holder instead.
    await this.#renew();
    const mark = names.mark(key, this.#key);
    const isWritten = await commands.run(scripts.writeWithFence, [record, mark], [this.#fence, number, value, ttl], "repeatable");
    if (Number(isWritten) !== 1) throw this.#lose();
  }

  /** Never fails: what cannot be released is over when its lease is. */
  async release(): Promise<void> {
    const state = this.#state;
    this.#state = "released";
    this.#ended.abort();
    const { commands, leaseMs } = this.#options;
    const free = (timeoutMs?: number) => commands.run(scripts.release, [this.#name], [this.#owner], "repeatable", timeoutMs);
    // While Redis is away nobody waits for it here. Others need not wait for the end of the lease when it is back before.
    const later = () => void free(leaseMs).catch(() => {});
    if (state === "held") await free().catch(later);
    if (state === "unknown") later();
  }

  /** Renews the lease until the lock is released or lost. */
  async #keep(): Promise<void> {
    const { leaseMs } = this.#options;
    for (let pauseMs = leaseMs / 3; ; ) {
      try {
        await systemClock.sleep(pauseMs, { signal: this.#ended.signal, background: true });
        if (this.#lease?.isOver) this.#warn();
        await this.#renew();
        pauseMs = leaseMs / 3;
      } catch {
        if (this.#ended.signal.aborted) return;
        // Redis is away. When it is back, the lease may not be over yet, or nobody may have wanted the lock.
        pauseMs = leaseMs / 12;
      }
    }
  }

  #renew(): Promise<void> {
    const { commands, leaseMs } = this.#options;
    return this.#renewing((mine) => commands.run(scripts.renew, [this.#name], [...mine, leaseMs], "repeatable"));
  }

  /** Runs a script that renews the lease, if the lock is still held. */
  async #renewing(run: (mine: readonly [owner: string, fence: string]) => Promise<unknown>): Promise<void> {
    if (this.#state !== "held") throw this.#error(this.#state === "lost" ? "another holds it" : "it was released");
    const begun = lease(this.#options.leaseMs);
    if (Number(await run([this.#owner, this.#fence])) !== 1) throw this.#lose();
    this.#lease = begun;
  }

  #lose(): McpAuthError {
    if (this.#state === "held") this.#state = "lost";
    this.#ended.abort();
    const error = this.#error("another holds it");
    this.#unsafe.abort(error);
    return error;
  }

  #warn(): McpAuthError {
    const error = this.#error("its lease is over");
    this.#unsafe.abort(error);
    return error;
  }

  #error(why: string): McpAuthError {
    return new McpAuthError("lock_lost", { detail: `${this.#key}: ${why}` });
  }
}
