/** A process that takes locks, played by tests. Lines on stdin: `lock KEY`, `check`, `release`, `turns KEY COUNT`. It says what becomes of them. */
import { createInterface } from "node:readline";
import { McpAuthError } from "../../../src/index.ts";
import { FileLocks } from "../../../src/node/stores/lock.ts";
import { SqliteStore } from "../../../src/node/stores/sqlite.ts";

const { FOLDER = "" } = process.env;
const locks = new FileLocks(FOLDER);
const store = new SqliteStore({ app: "records", folder: FOLDER, keychain: false });
const say = (line: string) => void process.stdout.write(`${line}\n`);
const failed = (error: unknown) => say(error instanceof McpAuthError ? `failed ${error.code}: ${error.message}` : `failed ${error}`);
let release = () => {};
let check = () => {};

async function hold(key: string): Promise<void> {
  await locks.withLock(key, async (lock) => {
    say(`locked ${key}`);
    check = () => {
      lock.check();
      say(`still holds ${key}`);
    };
    await new Promise<void>((resolve) => {
      release = resolve;
    });
  });
  say(`released ${key}`);
}

async function takeTurns(key: string, count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) {
    await locks.withLock(key, async () => {
      // Not atomic by itself: two owners at once lose a count.
      const { n = 0 } = ((await store.get(key)) ?? {}) as { n?: number };
      await store.set(key, { v: 1, n: n + 1 });
    });
  }
  say("took turns");
}

createInterface({ input: process.stdin }).on("line", (line) => {
  const [command, key = "", count] = line.split(" ");
  if (command === "lock") hold(key).catch(failed);
  if (command === "turns") takeTurns(key, Number(count)).catch(failed);
  if (command === "check") check();
  if (command === "release") release();
});
say("ready");
