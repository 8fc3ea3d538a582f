/** A program that writes, and says what it takes for durable; played by `durable.test.ts` on a disk that loses the rest. */
import { readdirSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { codeOf } from "../../../src/errors.ts";
import { openIn, type Promised, promised } from "./durable.ts";

const { FOLDER = "", SYNCED = "", SYNC_FAULT = "" } = process.env;
const [name = ""] = process.argv.slice(2);

/** Says after how many synchronisations each step is done. */
async function write(what: Promised): Promise<number[]> {
  const done: number[] = [];
  const store = openIn(FOLDER, what);
  for (const step of what.steps) {
    await step(store, FOLDER);
    done.push(new Set(readdirSync(SYNCED).map((name) => name.split("-")[0])).size);
  }
  return done;
}

async function writeOnFaultyDisk(): Promise<unknown[]> {
  const said: unknown[] = [];
  const store = openIn(FOLDER);
  const set = (n: number) =>
    store.set("login", { v: 1, n }).then(
      () => "ok",
      (error: unknown) => codeOf(error),
    );
  const fail = () => writeFileSync(SYNC_FAULT, "");
  const mend = () => rmSync(SYNC_FAULT);
  fail();
  said.push(await set(1), await store.get("login"));
  mend();
  said.push(await set(2));
  fail();
  said.push(await set(3), await openIn(FOLDER).get("login"));
  mend();
  said.push(await set(4), await openIn(FOLDER).get("login"));
  fail();
  said.push(await Promise.all([set(5), set(6)]), await openIn(FOLDER).get("login"));
  mend();
  said.push(await Promise.all([set(7), set(8)]), await openIn(FOLDER).get("login"));
  return said;
}

const what = promised[name];
const said = what ? await write(what) : await writeOnFaultyDisk();
writeSync(1, JSON.stringify(said));
