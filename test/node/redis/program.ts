/** A machine of a fleet: a process with a client of its own, which does what its parent asks. */
import { Redis } from "ioredis";
import { type HeldLock, McpAuthError, type Store, systemClock, TokenManager } from "../../../src/index.ts";
import { redisStore } from "../../../src/node/redis/index.ts";
import { hold } from "./hold.ts";

/** How a machine is set up. */
export interface MachineSettings {
  port: number;
  keys: readonly string[];
  lease: number;
  /** How far its clock is ahead of the parent's, in ms. */
  aheadMs: number;
}

export interface MachineRequest {
  id: number;
  method: keyof typeof methods;
  args: unknown[];
}

export type MachineAnswer = { id: number; value?: unknown } | { id: number; code: string } | { event: string };

const { port, keys, lease, aheadMs } = JSON.parse(process.env.MACHINE ?? "") as MachineSettings;
const client = new Redis({ port, retryStrategy: () => 20 });
client.on("error", () => {});
const store = redisStore({ client, keys, lease });
const clock = { ...systemClock, now: () => Date.now() + aheadMs };
let lock: { held: HeldLock; release: () => Promise<void> } | undefined;
let auths: TokenManager[] = [];

const methods = {
  ready: async () => {},
  /** Takes the lock, and holds it. */
  async hold(key: string) {
    lock = await hold(store, key);
  },
  set: (key: string, n: number) => lock?.held.set(key, { v: 1, n }),
  async check() {
    lock?.held.check?.();
  },
  isSignalled: async () => lock?.held.signal.aborted,
  release: () => lock?.release(),
  /** Counts on under a lock, so many times: not atomic by itself, two owners at once lose a count. */
  async count(key: string, turns: number) {
    for (let turn = 0; turn < turns; turn++) {
      await store.withLock(key, async (held) => held.set(key, { v: 1, n: 1 + Number((await store.get(key))?.n ?? 0) }));
    }
  },
  /** Managers for these accounts; the first write below `stopAfterWriting` stops the process, as SIGSTOP from outside does. */
  async open(serverUrl: string, accounts: readonly string[], stopAfterWriting?: string) {
    const used = stopAfterWriting === undefined ? store : stopping(store, stopAfterWriting);
    auths = accounts.map(
      (account) => new TokenManager({ serverUrl, account, store: used, clock, onEvent: ({ type }) => tell({ event: type }) }),
    );
  },
  /** How often each outcome came: tokens, error codes. */
  async tokens() {
    const counts: Record<string, number> = {};
    const outcomes = await Promise.all(auths.map((auth) => auth.getAccessToken().then(() => "token", codeOf)));
    for (const outcome of outcomes) counts[outcome] = (counts[outcome] ?? 0) + 1;
    return counts;
  },
  token: () => auths[0]?.getAccessToken(),
  async dispose() {
    await Promise.all(auths.map((auth) => auth.dispose()));
  },
};

function stopping(inner: Store, prefix: string): Store {
  let isStopped = false;
  return {
    get: (key) => inner.get(key),
    set: (key, value) => inner.set(key, value),
    delete: (key) => inner.delete(key),
    take: (key) => inner.take(key),
    keys: (start) => inner.keys(start),
    withLock: (key, action, options) =>
      inner.withLock(
        key,
        (held) =>
          action({
            signal: held.signal,
            check: () => held.check?.(),
            set: async (name, value) => {
              await held.set(name, value);
              if (isStopped || !name.startsWith(prefix)) return;
              isStopped = true;
              process.kill(process.pid, "SIGSTOP");
            },
            delete: (name) => held.delete(name),
          }),
        options,
      ),
  };
}

function codeOf(error: unknown): string {
  return error instanceof McpAuthError ? error.code : String(error);
}

function tell(news: MachineAnswer): void {
  process.send?.(news, () => {
    // The parent may be gone.
  });
}

process.on("message", async ({ id, method, args }: MachineRequest) => {
  try {
    const work = methods[method] as (...args: unknown[]) => Promise<unknown>;
    tell({ id, value: await work(...args) });
  } catch (error) {
    tell({ id, code: codeOf(error) });
  }
});
process.on("disconnect", () => process.exit());
