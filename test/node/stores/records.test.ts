/** Whose a database is, and whether it is whole. */
import { existsSync, mkdtempSync, renameSync, rmSync, statSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { expect, onTestFinished, test, vi } from "vitest";
import type { StoreEvent } from "../../../src/events.ts";
import { FileLocks } from "../../../src/node/stores/lock.ts";
import { Records } from "../../../src/node/stores/records.ts";
import type { Statements } from "../../../src/node/stores/schema.ts";

function made() {
  const folder = mkdtempSync(join(tmpdir(), "mcp-client-auth-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, "records.sqlite");
  const told: StoreEvent[] = [];
  const open = () => new Records({ path, locks: new FileLocks(join(folder, "locks")), tell: (event) => told.push(event) });
  const sql = (text: string) => {
    const database = new DatabaseSync(path);
    database.exec(text);
    database.close();
  };
  return { path, told, open, sql };
}

const count = (statements: Statements) => statements("SELECT count(*) AS n FROM records").get()?.n;
const counted = async () => count;

/** What another process does that makes the database and writes a record. */
const make = `
  PRAGMA application_id = 0x4d435041;
  PRAGMA user_version = 1;
  CREATE TABLE records (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
  INSERT INTO records VALUES ('a', 'b');`;

test("a new one is marked as ours, version 1: later versions know it by that", async () => {
  const { path, open } = made();
  await open().write(counted);
  const database = new DatabaseSync(path);
  expect(database.prepare("PRAGMA application_id").get()).toEqual({ application_id: 0x4d435041 });
  expect(database.prepare("PRAGMA user_version").get()).toEqual({ user_version: 1 });
  database.close();
});

test.each<[what: string, sql: string, reason: string | undefined]>([
  ["ours and whole: used", "", undefined],
  ["ours without the records: damaged", "DROP TABLE records", "damaged"],
  ["ours with other columns: damaged", "ALTER TABLE records ADD COLUMN more TEXT", "damaged"],
  ["marked as another program's: foreign", "PRAGMA application_id = 1", "foreign"],
])("%s", async (_what, text, reason) => {
  const { open, sql, told } = made();
  await open().write(counted);
  sql(text);
  expect(
    await open()
      .read(count)
      .catch(({ code }) => code),
  ).toBe(reason ? "store_damaged" : 0);
  expect(told).toEqual(reason ? [expect.objectContaining({ type: "store.set-aside", reason })] : []);
});

test("cut off within its last page: damaged", async () => {
  const { open, path, told } = made();
  await open().write(counted);
  truncateSync(path, statSync(path).size - 1);
  await expect(open().read(count)).rejects.toMatchObject({ code: "store_damaged" });
  expect(told).toEqual([expect.objectContaining({ type: "store.set-aside", reason: "damaged" })]);
});

test("who finds another program's database waits until it is out of the way", async () => {
  const { open, sql, path } = made();
  await open().write(counted);
  sql("PRAGMA application_id = 1");
  await open()
    .read(count)
    .catch(() => {});
  expect(existsSync(path)).toBe(false);
});

test("of two processes that make it at once the second uses what the first has made", async () => {
  const { open, told, sql } = made();
  const { exec } = DatabaseSync.prototype;
  const spy = vi.spyOn(DatabaseSync.prototype, "exec").mockImplementation(function (this: DatabaseSync, text) {
    if (!text.startsWith("BEGIN")) return exec.call(this, text);
    spy.mockRestore();
    sql(make);
    return exec.call(this, text);
  });
  expect(await open().write(counted)).toBe(1);
  expect(told).toEqual([]);
});

test("one that is replaced between the look and the opening: the new one is read, and the app is told", async () => {
  const { path, open, told, sql } = made();
  await open().write(counted);
  const { exec } = DatabaseSync.prototype;
  const spy = vi.spyOn(DatabaseSync.prototype, "exec").mockImplementation(function (this: DatabaseSync, text) {
    spy.mockRestore();
    renameSync(path, `${path}.before`);
    sql(make);
    return exec.call(this, text);
  });
  expect(await open().read(count)).toBe(1);
  expect(told).toEqual([{ type: "store.restarted", path: dirname(path) }]);
});
