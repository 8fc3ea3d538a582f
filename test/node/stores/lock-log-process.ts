/**
 * A process that counts under locks, and notes in a log when it enters and leaves. What it counts is not atomic: two holders at once
 * show in the log, and lose a count.
 */
import { appendFileSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { FileLocks } from "../../../src/node/stores/lock.ts";

const { FOLDER = "", TURNS = "" } = process.env;
const locks = new FileLocks(join(FOLDER, "locks"));
const log = (line: string) => appendFileSync(join(FOLDER, "log"), `${line}\n`);
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function count(key: string): Promise<void> {
  await locks.withLock(key, async (lock) => {
    log(`enter ${key} ${process.pid}`);
    const path = join(FOLDER, key);
    const before = read(path);
    await sleep(Math.random() * 3);
    lock.check();
    // A process that is killed leaves the old count or the new one.
    writeFileSync(`${path}.${process.pid}`, String(before + 1));
    renameSync(`${path}.${process.pid}`, path);
    log(`leave ${key} ${process.pid} ${before + 1}`);
  });
}

function read(path: string): number {
  try {
    return Number(readFileSync(path, "utf8"));
  } catch {
    return 0;
  }
}

async function work(): Promise<void> {
  for (let turn = 0; turn < Number(TURNS) / 2; turn++) {
    await Promise.all([count(`key${turn % 3}`), count(`key${(turn + 1) % 3}`)]);
    // Long enough for the files to go away, now and then.
    if (Math.random() < 0.05) await sleep(300);
  }
}

log(`begin ${process.pid}`);
await work();
log(`end ${process.pid}`);
