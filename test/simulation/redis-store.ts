// What is loaded when it is needed is there already: loading takes a time of its own.
import "jose/jwe/compact/encrypt";
import type { HeldLock, Store, StoredRecord } from "../../src/index.ts";
import { type NodeRedisClient, redisStore } from "../../src/node/redis/index.ts";
import { KeyRing } from "../../src/node/redis/key-ring.ts";
import * as scripts from "../../src/node/redis/scripts.ts";
import type { Host } from "./host.ts";
import { SimulatedRedis } from "./redis.ts";
import type { SharedStore, StoreWatcher } from "./shared-store.ts";
import type { World } from "./world.ts";

/** What becomes of one command. */
export type CommandFate =
  /** It never arrives. */
  | { what: "unsent" }
  /** It is executed; the connection breaks before the answer is there. */
  | { what: "lost" }
  /** It is executed; nothing ever comes back. */
  | { what: "hangs" }
  /** It is executed later. In ms. */
  | { what: "slow"; ms: number };

const keys = ["A".repeat(43)];
const prefix = "mcp-auth:";

/** The package's own store, over a Redis that can be away, and ways to it that can break. */
export class RedisForAll<P extends Host = Host> implements SharedStore<P> {
  /** What becomes of the next commands. */
  readonly fates: CommandFate[] = [];
  readonly #world: World;
  readonly #leaseMs: number;
  readonly #redis: SimulatedRedis<P>;
  readonly #ring = new KeyRing(keys);
  readonly #underWay = new Map<P, number>();
  /** What is on its way, in the order in which each process has sent it. */
  readonly #lines = new Map<P, (() => void)[]>();
  /** When a process last did not get an answer. */
  readonly #failedAt = new Map<P, number>();
  /** When a process last heard that a lease has begun. */
  readonly #heardAt = new Map<P, number>();
  #state: SharedStore<P>["state"] = "works";
  #failsUntil = 0;

  constructor(world: World, watcher: StoreWatcher<P>, leaseMs: number) {
    this.#world = world;
    this.#leaseMs = leaseMs;
    this.#redis = new SimulatedRedis<P>(world, {
      onWritten: (writer, name, before, after) => watcher.onWritten(writer, keyOf(name), recordIn(before), recordIn(after)),
      onReleased: (holder, name) => watcher.onReleased(holder, lockOf(name)),
      onTakenOver: (holder, name, renewedAt) => {
        if (holder.alive) watcher.onTakenOver?.(holder, lockOf(name), this.#whyNotRenewed(holder, renewedAt));
        watcher.onReleased(holder, lockOf(name));
      },
    });
  }

  get state(): SharedStore<P>["state"] {
    return this.#state;
  }

  set state(state) {
    if (this.#state === "fails" && state !== "fails") {
      this.#redis.restart();
      this.#failsUntil = this.#world.now;
    }
    this.#redis.isFull = state === "full";
    this.#state = state;
  }

  async put(key: string, record: StoredRecord): Promise<void> {
    this.#redis.put(`${prefix}{${key}}record`, await this.#ring.seal(key, record));
  }

  storeFor(process: P): Store {
    const client: NodeRedisClient = { sendCommand: (args) => this.#send(args, process) };
    const store = redisStore({ client, keys, lease: this.#leaseMs });
    const { broken } = this.#world;
    const unchecked = ({ signal, set, delete: remove }: HeldLock): HeldLock => ({ signal, set, delete: remove });
    const withLock: Store["withLock"] = (key, action, options) =>
      store.withLock(
        key,
        (held) => {
          if (key.startsWith("login/")) process.loginSince = this.#world.steps;
          return action(broken === "does not check" ? unchecked(held) : held);
        },
        options,
      );
    return {
      get: (key) => this.#overlooks(key) ?? store.get(key),
      set: (key, value) => store.set(key, value),
      delete: (key) => store.delete(key),
      take: (key) => store.take(key),
      keys: (start) => store.keys(start),
      withLock,
    };
  }

  #overlooks(key: string): Promise<undefined> | undefined {
    const { broken, steps } = this.#world;
    return broken === "overlooks the login" && steps > 20 && key.startsWith("tokens/") ? Promise.resolve(undefined) : undefined;
  }

  /** What it has sent arrives, unless it is cut off; its locks stay until their leases are over. */
  abandon(): void {}

  /** Redis loses none. */
  loseLocks(): void {}

  mayRefresh(process: P): boolean {
    return this.#redis.locksOf(process).some((name) => lockOf(name).startsWith("refresh/"));
  }

  #send(command: readonly string[], process: P): Promise<unknown> {
    const world = this.#world;
    if (world.broken === "does not renew" && command[1] === scripts.renew) return Promise.resolve(1);
    const fate = this.fates.shift();
    if (fate) world.counts["faults of the network"]++;
    const label = labelOf(command);
    this.#underWay.set(process, (this.#underWay.get(process) ?? 0) + 1);
    const asked = { step: world.steps };
    process.reading.add(asked);
    return new Promise((resolve, reject) => {
      const answer = (settle: () => void, isFault: boolean) =>
        world.step(`${process.name}: ${label}, answer`, undefined, () => {
          this.#over(process, isFault);
          process.arrive(label, () => {
            if (command[1] === scripts.acquire || command[1] === scripts.renew) this.#heardAt.set(process, world.now);
            process.reading.delete(asked);
            settle();
          });
        });
      const breakOff = (what: string) => answer(() => reject(new Error(what)), true);
      const arrive = () => {
        if (!process.alive && process.isCutOff) return;
        if (this.#state === "fails") return breakOff("connect ECONNREFUSED");
        try {
          const result = this.#redis.execute(command, process);
          if (fate?.what === "lost") breakOff("Socket closed unexpectedly");
          else if (fate?.what !== "hangs") answer(() => resolve(result), false);
          else this.#over(process, true);
        } catch (error) {
          world.counts["writes failed"]++;
          answer(() => reject(error), true);
        }
      };
      const late = () => {
        this.#failedAt.set(process, world.now);
        arrive();
      };
      if (fate?.what === "unsent") breakOff("Socket closed unexpectedly");
      else if (fate?.what === "slow") world.after(fate.ms, undefined, () => world.step(`${process.name}: ${label}, late`, undefined, late));
      else {
        this.#lines.set(process, [...(this.#lines.get(process) ?? []), arrive]);
        world.step(`${process.name}: ${label}`, undefined, () => this.#lines.get(process)?.shift()?.());
      }
    });
  }

  #over(process: P, isFault: boolean): void {
    this.#underWay.set(process, (this.#underWay.get(process) ?? 0) - 1);
    if (isFault) this.#failedAt.set(process, this.#world.now);
  }

  /** Why a living holder could not renew its lease; `undefined` when it could have. */
  #whyNotRenewed(holder: P, renewedAt: number): string | undefined {
    const { now, suspendedAt } = this.#world;
    // It renews its lease after a third of it, counted from when it heard of it.
    const heardLate = now <= (this.#heardAt.get(holder) ?? 0) + this.#leaseMs / 3;
    if (heardLate || this.#world.isBehind(holder) || suspendedAt >= renewedAt) return "paused";
    const isAway = this.#state === "fails" || this.#failsUntil >= renewedAt;
    if (isAway || (this.#underWay.get(holder) ?? 0) > 0 || (this.#failedAt.get(holder) ?? 0) >= renewedAt) return "cut off from Redis";
    return undefined;
  }
}

/** For people. */
function labelOf([name, script, ...args]: readonly string[]): string {
  const what = Object.entries(scripts).find(([, text]) => text === script)?.[0] ?? name;
  return `redis ${what} ${what === name ? script : args[1]}`.replace(/mcp-auth:|https:\/\/mcp.example\/mcp|default\//g, "");
}

function inBraces(name: string): string {
  return decodeURIComponent(name.slice(`${prefix}{`.length, name.lastIndexOf("}")));
}

function keyOf(name: string): string {
  return inBraces(name);
}

function lockOf(name: string): string {
  return name.endsWith("}refresh-lock") ? `refresh/${inBraces(name)}` : inBraces(name);
}

/** Encryption leaves it readable here. */
function recordIn(jwe: string | undefined): StoredRecord | undefined {
  if (jwe === undefined) return undefined;
  return JSON.parse(Buffer.from(jwe.split(".")[3] ?? "", "base64url").toString()) as StoredRecord;
}
