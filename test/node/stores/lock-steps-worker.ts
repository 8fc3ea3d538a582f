/** A process that takes locks, played by a thread, which stops before each of its calls of the file system and SQLite until it may go on. */
import fs from "node:fs";
import { createRequire } from "node:module";
import { parentPort, workerData } from "node:worker_threads";
import { McpAuthError } from "../../../src/index.ts";
import { FileLocks } from "../../../src/node/stores/lock.ts";

const { cells, index } = workerData as { cells: Int32Array; index: number };
const size = 5;
const [isBlocked, mayGo, isInside, isDone, trouble] = [0, 1, 2, 3, 4].map((cell) => index * size + cell) as [
  number,
  number,
  number,
  number,
  number,
];

/** Waits until the scheduler lets this thread go on. */
function step(): void {
  Atomics.store(cells, isBlocked, 1);
  Atomics.notify(cells, isBlocked);
  Atomics.wait(cells, mayGo, 0);
  Atomics.store(cells, mayGo, 0);
}

function stepBefore<K extends string>(target: Record<K, unknown>, ...names: K[]): void {
  for (const name of names) {
    const real = target[name] as (...values: unknown[]) => unknown;
    target[name] = function (this: unknown, ...values: unknown[]) {
      step();
      return real.apply(this, values);
    };
  }
}

const sqlite = createRequire(import.meta.url)("node:sqlite") as { DatabaseSync: typeof import("node:sqlite").DatabaseSync };
const Database = sqlite.DatabaseSync;
stepBefore(Database.prototype as never, "exec", "close");
const probe = new Database(":memory:", { open: true });
stepBefore(Object.getPrototypeOf(probe.prepare("SELECT 1")) as never, "run", "get", "all");
sqlite.DatabaseSync = class extends Database {
  constructor(...values: ConstructorParameters<typeof Database>) {
    step();
    super(...values);
  }
};
stepBefore(fs as never, "lstatSync", "unlinkSync", "rmSync", "openSync", "readdirSync", "mkdirSync");

// Pauses are short, so that files come and go often.
const { setTimeout: realTimeout } = globalThis;
globalThis.setTimeout = ((work: () => void, ms = 0, ...rest: unknown[]) =>
  realTimeout(work, ms < 1000 ? ms / 20 : ms, ...rest)) as typeof setTimeout;

async function hold(locks: FileLocks): Promise<void> {
  await locks.withLock("k", async (lock) => {
    Atomics.store(cells, isInside, 1);
    for (let other = 0; other < cells.length; other += size)
      if (other !== isBlocked && Atomics.load(cells, other + 2) === 1) Atomics.store(cells, trouble, 1);
    step();
    lock.check();
    Atomics.store(cells, isInside, 0);
  });
}

async function run(folder: string, count: number, mayFail: boolean): Promise<void> {
  const locks = new FileLocks(folder);
  for (let i = 0; i < count; i++) {
    await hold(locks).catch((error: unknown) => {
      Atomics.store(cells, isInside, 0);
      if (mayFail && error instanceof McpAuthError && error.code === "store_failed") return;
      console.error(error);
      Atomics.store(cells, trouble, 2);
    });
    // The files go away in between, now and then.
    if (Math.random() < 0.5) await new Promise((resolve) => setTimeout(resolve, 300));
  }
}

parentPort?.on("message", ({ folder, count, mayFail }: { folder: string; count: number; mayFail: boolean }) => {
  run(folder, count, mayFail).finally(() => Atomics.store(cells, isDone, 1));
});
