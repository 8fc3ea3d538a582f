/**
 * One of several processes that use one store at once, played by tests: checks the contract below a prefix of its own, then
 * takes turns with the others. Says `ready`, waits for a line on stdin, says `done` and what it took.
 */

import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { SqliteStore } from "../../../src/node/stores/sqlite.ts";
import { below, contract } from "../../stores/store-contract.ts";

const { FOLDER = "", TURNS = "0" } = process.env;
const open = () => new SqliteStore({ app: "test", folder: FOLDER, keychain: false });
const say = (line: string) => void process.stdout.write(`${line}\n`);
const store = open();

say("ready");
await once(process.stdin, "data");

for (const [promise, check] of contract) {
  const prefix = `${randomUUID()}/`;
  await check(below(store, prefix), async () => below(open(), prefix)).catch((cause: unknown) => {
    throw new Error(promise, { cause });
  });
}
for (let turn = 0; turn < Number(TURNS); turn++) {
  await store.withLock("counter", async (held) => {
    const { n = 0 } = ((await store.get("counter")) ?? {}) as { n?: number };
    await held.set("counter", { v: 1, n: n + 1 });
  });
}
const taken = await store.take("pending");
say(`done ${taken ? "with" : "without"}`);
process.stdin.destroy();
