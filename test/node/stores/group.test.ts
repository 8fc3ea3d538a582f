/** Many writes at once to one database: what they cost, and what a failure or the end of the process does to them. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { expect, onTestFinished, test, vi } from "vitest";
import { codeOf } from "../../../src/errors.ts";
import { SqliteStore } from "../../../src/node/stores/sqlite.ts";

function place() {
  const folder = mkdtempSync(join(tmpdir(), "mcp-client-auth-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, "acme", "records.sqlite");
  return { folder, path, open: () => new SqliteStore({ app: "acme", folder, keychain: false }) };
}

/** The statements that are run from now on. */
function statements(): string[] {
  const run: string[] = [];
  const { prepare } = DatabaseSync.prototype;
  vi.spyOn(DatabaseSync.prototype, "prepare").mockImplementation(function (this: DatabaseSync, text) {
    const statement = prepare.call(this, text);
    const original = statement.run;
    statement.run = (...values: never[]) => {
      run.push(text);
      return (original as (...values: never[]) => ReturnType<typeof original>).apply(statement, values);
    };
    return statement;
  });
  onTestFinished(() => void vi.restoreAllMocks());
  return run;
}

const record = (n: number) => ({ v: 1, n, accessToken: "a".repeat(800) });

test("2000 records at once: some thirty transactions, and the event loop goes on", { timeout: 60_000 }, async () => {
  const { open } = place();
  const run = statements();
  const store = open();
  await store.set("first", record(0));
  const before = run.length;
  let rounds = 0;
  const counting = setInterval(() => rounds++, 0);
  await Promise.all(Array.from({ length: 2000 }, (_, n) => store.set(`k${n}`, record(n))));
  clearInterval(counting);
  expect(run.filter((text) => text.startsWith("BEGIN")).length).toBeLessThanOrEqual(33);
  expect(run.filter((text) => text.startsWith("INSERT OR REPLACE INTO records")).length).toBe(2001);
  expect((await open().keys("k")).length).toBe(2000);
  // Of a transaction with its synchronisations: no two follow each other without the event loop.
  expect(rounds).toBeGreaterThanOrEqual(run.slice(before).filter((text) => text === "COMMIT").length - 1);
});

test("a record alone needs no transaction around it", async () => {
  const { open } = place();
  const run = statements();
  const store = open();
  for (let n = 0; n < 3; n++) await store.set("k", record(n));
  expect(run.filter((text) => text.startsWith("BEGIN"))).toEqual([]);
});

test("writes are done in the order in which they were asked for", async () => {
  const { open } = place();
  const store = open();
  await Promise.all([store.set("k", record(1)), store.set("k", record(2)), store.delete("gone"), store.set("k", record(3))]);
  expect(await store.get("k")).toEqual(record(3));
  await Promise.all([store.set("gone", record(1)), store.delete("gone")]);
  expect(await store.get("gone")).toBeUndefined();
  const [, first, second] = await Promise.all([store.set("once", record(1)), store.take("once"), store.take("once")]);
  expect([first, second]).toEqual([record(1), undefined]);
});

test("what the caller changes afterwards is not written", async () => {
  const { open } = place();
  const store = open();
  const changing = { ...record(1), list: ["a"] };
  const writing = store.set("k", changing);
  changing.n = 2;
  changing.list.push("b");
  await writing;
  expect(await store.get("k")).toEqual({ ...record(1), list: ["a"] });
  const read = (await store.get("k")) as unknown as typeof changing;
  read.list.push("c");
  expect(await store.get("k")).toEqual({ ...record(1), list: ["a"] });
});

test("2000 reads at once: the event loop goes on between them", async () => {
  const { open } = place();
  const store = open();
  await store.set("k", record(0));
  let rounds = 0;
  const counting = setInterval(() => rounds++, 0);
  const found = await Promise.all(Array.from({ length: 2000 }, () => store.get("k")));
  clearInterval(counting);
  expect(new Set(found.map((one) => one?.n))).toEqual(new Set([0]));
  expect(rounds).toBeGreaterThan(10);
});

test("one that SQLite refuses fails alone", async () => {
  const { open, path } = place();
  const store = open();
  await store.set("first", record(0));
  const database = new DatabaseSync(path);
  database.exec("CREATE TRIGGER refuse BEFORE INSERT ON records WHEN NEW.key = 'bad' BEGIN SELECT RAISE(ABORT, 'refused'); END");
  database.close();
  const outcomes = await Promise.all(["a", "bad", "b"].map((key) => store.set(key, record(1)).then(() => "ok", codeOf)));
  expect(outcomes).toEqual(["ok", "store_failed", "ok"]);
  expect((await open().keys("")).sort()).toEqual(["a", "b", "first"]);
});

test("while another process writes all wait, without the event loop, and are then one transaction", async () => {
  const { open, path } = place();
  const run = statements();
  const store = open();
  await store.set("first", record(0));
  const other = new DatabaseSync(path);
  other.exec("BEGIN IMMEDIATE");
  let settled = 0;
  const writes = ["a", "b", "c"].map((key) => store.set(key, record(1)).finally(() => settled++));
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(settled).toBe(0);
  other.exec("ROLLBACK");
  other.close();
  await Promise.all(writes);
  expect(run.filter((text) => text === "COMMIT")).toHaveLength(1);
});

test("a transaction that a reader holds up is done once he has read", async () => {
  const { open, path } = place();
  const store = open();
  await store.set("taken", record(0));
  const reader = new DatabaseSync(path);
  reader.exec("BEGIN; SELECT * FROM records");
  const writes = [store.set("a", record(1)), store.take("taken"), store.take("taken")] as const;
  await new Promise((resolve) => setTimeout(resolve, 50));
  reader.exec("COMMIT");
  reader.close();
  expect(await Promise.all(writes)).toEqual([undefined, record(0), undefined]);
  expect(await open().get("a")).toEqual(record(1));
});

test("a process that is killed at any moment loses nothing that was confirmed, and leaves every record whole", {
  timeout: 120_000,
}, async () => {
  const { folder, open } = place();
  const keys = 40;
  let from = 1;
  for (let round = 0; round < 8; round++) {
    const child = spawn(process.execPath, [join(import.meta.dirname, "writing-process.ts")], {
      env: { ...process.env, FOLDER: folder, KEYS: String(keys), FROM: String(from), NODE_OPTIONS: "" },
      stdio: ["ignore", "pipe", "inherit"],
    });
    onTestFinished(() => void child.kill("SIGKILL"));
    let said = "";
    child.stdout.setEncoding("utf8").on("data", (text) => {
      said += text;
    });
    await once(child.stdout, "data");
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 30));
    child.kill("SIGKILL");
    await once(child, "close");
    const confirmed = new Map(
      said
        .split("\n")
        .slice(0, -1)
        .map((line) => line.split(" ").map(Number) as [number, number]),
    );
    const store = open();
    expect(confirmed.size).toBeGreaterThan(0);
    for (const [key, n] of confirmed) {
      const found = await store.get(`k${key}`);
      expect(found?.n, `k${key}`).toBeGreaterThanOrEqual(n);
      expect(found?.text).toBe(String(found?.n).repeat(300));
      from = Math.max(from, Number(found?.n) + 1);
    }
  }
});
