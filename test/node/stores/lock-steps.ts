/**
 * Locks, one step at a time: three threads take a lock again and again, in random orders of their single calls of the file system
 * and SQLite, while they die and the table is deleted or damaged. There is never more than one holder.
 */
import { existsSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";

const threads = 3;

/** Five for each thread: whether it waits before a step, whether it may go on, whether it holds the lock, whether it is done, what went wrong. */
const size = 5;
const cells = new Int32Array(new SharedArrayBuffer(threads * size * 4));
const cell = (index: number, name: "isBlocked" | "mayGo" | "isInside" | "isDone" | "trouble") =>
  index * size + ["isBlocked", "mayGo", "isInside", "isDone", "trouble"].indexOf(name);
const all = Array.from({ length: threads }, (_, index) => index);
const having = (name: "isBlocked" | "isDone" | "trouble") => all.filter((index) => Atomics.load(cells, cell(index, name)) !== 0);
const program = new URL("lock-steps-worker.ts", import.meta.url);
const start = (index: number) => new Worker(program, { workerData: { cells, index }, execArgv: ["--no-warnings"] });
const workers = Array.from({ length: threads }, (_, index) => start(index));

/** Ends the threads. */
export const end = () => Promise.all(workers.map((worker) => worker.terminate()));

/** Numbers that a seed decides (mulberry32). */
function randomOf(seed: number): () => number {
  let a = seed;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const table = (folder: string) => join(folder, "held.sqlite");
const troubles: Record<string, (path: string) => void> = {
  deleted: (path) => rmSync(path, { force: true }),
  emptied: (path) => existsSync(path) && truncateSync(path),
  noise: (path) => existsSync(path) && writeFileSync(path, "noise ".repeat(2000)),
};

/** What happens beside the locks. */
export interface Plan {
  /** How probable each is at a step. */
  readonly death: number;
  readonly trouble: number;
}

/** Runs one schedule. @returns what went wrong */
export async function runSchedule(seed: number, { death, trouble }: Plan): Promise<string[]> {
  const random = randomOf(seed);
  const folder = mkdtempSync(join(tmpdir(), "mcp-client-auth-"));
  // What a thread still does in the folder before goes on.
  for (const index of all) for (const name of ["isInside", "isDone", "trouble"] as const) Atomics.store(cells, cell(index, name), 0);
  const go = (index: number) => workers[index]?.postMessage({ folder, count: 3, mayFail: trouble > 0 });
  for (const index of all) go(index);
  let weights = all.map(() => 1);
  try {
    for (let steps = 0; having("isDone").length < threads; steps++) {
      // Now and then one thread is much faster or slower than the others.
      if (steps % 25 === 0) weights = all.map(() => [0.02, 1, 20][Math.floor(random() * 3)] ?? 1);
      if (random() < trouble) Object.values(troubles)[Math.floor(random() * 3)]?.(table(folder));
      const chosen = choose(having("isBlocked"), weights, random());
      if (chosen === undefined) await new Promise((resolve) => setTimeout(resolve));
      else if (random() < death) {
        await workers[chosen]?.terminate();
        cells.fill(0, cell(chosen, "isBlocked"), cell(chosen, "trouble"));
        workers[chosen] = start(chosen);
        go(chosen);
      } else letGo(chosen);
      if (having("trouble").length > 0) return [`seed ${seed}: two held it, or one failed, after ${steps} steps`];
    }
    return [];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function choose(ready: readonly number[], weights: readonly number[], random: number): number | undefined {
  let left = random * ready.reduce((sum, index) => sum + (weights[index] ?? 0), 0);
  for (const index of ready) {
    left -= weights[index] ?? 0;
    if (left < 0) return index;
  }
  return undefined;
}

/** Until its next step, or until it sleeps. */
function letGo(index: number): void {
  Atomics.store(cells, cell(index, "isBlocked"), 0);
  Atomics.store(cells, cell(index, "mayGo"), 1);
  Atomics.notify(cells, cell(index, "mayGo"));
  Atomics.wait(cells, cell(index, "isBlocked"), 0, 1);
}
