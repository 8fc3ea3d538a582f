/** A database with many records: it is opened as fast as a small one, and damage anywhere is found by whoever meets it. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { codeOf } from "../../../src/errors.ts";
import type { StoreEvent } from "../../../src/events.ts";
import { SqliteStore } from "../../../src/node/stores/sqlite.ts";

const record = (n: number) => ({ v: 1, n, accessToken: "a".repeat(500) });
const nameOf = (n: number) => `k${String(n).padStart(3, "0")}`;

/** A database with 300 records. */
async function filled() {
  const folder = mkdtempSync(join(tmpdir(), "mcp-client-auth-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const app = join(folder, "acme");
  const path = join(app, "records.sqlite");
  const told: StoreEvent[] = [];
  const open = () => new SqliteStore({ app: "acme", folder, keychain: false, onEvent: (event) => void told.push(event) });
  const store = open();
  await Promise.all(Array.from({ length: 300 }, (_, n) => store.set(nameOf(n), record(n))));
  told.length = 0;
  // No page keeps what was moved to another one.
  const database = new DatabaseSync(path);
  database.exec("VACUUM");
  database.close();
  const aside = () => readdirSync(app).filter((name) => name.startsWith("records.sqlite.damaged-"));
  return { folder, app, path, told, open, aside };
}

const pageSize = 4096;

/** Overwrites the page that holds the record. */
function spoil(path: string, name: string): Buffer {
  const bytes = readFileSync(path);
  const page = Math.floor(bytes.indexOf(name) / pageSize);
  expect(page).toBeGreaterThan(1);
  bytes.fill(0xa5, page * pageSize, (page + 1) * pageSize);
  writeFileSync(path, bytes);
  return bytes;
}

describe("damage in the middle", () => {
  const at = nameOf(200);
  type Operation = (store: SqliteStore) => Promise<unknown>;
  test.each<[name: string, operation: Operation]>([
    ["get", (store) => store.get(at)],
    ["set", (store) => store.set(at, record(1))],
    ["delete", (store) => store.delete(at)],
    ["take", (store) => store.take(at)],
    ["keys", (store) => store.keys("")],
    ["a write under a lock", (store) => store.withLock("refresh", (held) => held.set(at, record(1)))],
    ["a write beside others", (store) => Promise.all(["new", at].map((name) => store.set(name, record(1))))],
  ])("is found by %s, told once, and set aside", async (_name, operation) => {
    const { open, path, app, told, aside } = await filled();
    const spoilt = spoil(path, at);
    const store = open();
    // Whoever does not meet it goes on.
    expect(await store.get(nameOf(0))).toEqual(record(0));
    expect(aside()).toEqual([]);
    expect(await operation(store).then(() => "ok", codeOf)).toBe("store_damaged");
    await vi.waitFor(() => expect(aside()).toHaveLength(1));
    expect(readFileSync(join(app, String(aside()[0]))).equals(spoilt)).toBe(true);
    expect(told.filter(({ type }) => type === "store.set-aside")).toHaveLength(1);
    await store.set(at, record(2));
    expect(await open().get(at)).toEqual(record(2));
  });

  test("a login in memory is known to be the newest then", async () => {
    const { open, path } = await filled();
    const store = open();
    await store.withLock("refresh", (held) => held.set(at, record(1)));
    spoil(path, at);
    const fresh = open();
    await fresh.get(nameOf(0));
    expect(await fresh.get(at).then(() => "ok", codeOf)).toBe("store_damaged");
    await fresh.withLock("refresh", async (held) => {
      expect(held.restarted).toBe(true);
      await held.set(at, record(2));
      expect(held.restarted).toBe(false);
    });
  });
});

test("opening reads one record, whatever their number, and all only where that one is another key's", async () => {
  const { open, path, app, told } = await filled();
  const rows: number[] = [];
  const { prepare } = DatabaseSync.prototype;
  vi.spyOn(DatabaseSync.prototype, "prepare").mockImplementation(function (this: DatabaseSync, text) {
    const statement = prepare.call(this, text);
    const all = statement.all as (...values: never[]) => ReturnType<typeof statement.all>;
    statement.all = (...values: never[]) => {
      const found = all.apply(statement, values);
      rows.push(found.length);
      return found;
    };
    return statement;
  });
  onTestFinished(() => void vi.restoreAllMocks());
  expect(await open().get(nameOf(299))).toEqual(record(299));
  expect(Math.max(...rows)).toBeLessThan(10);
  // One that came from elsewhere does not set the others aside.
  const database = new DatabaseSync(path);
  const foreign = `${Buffer.from('{"alg":"dir","enc":"A256GCM","kid":"other","name":"a"}').toString("base64url")}..AAAA.AAAA.AAAA`;
  database.exec(`INSERT INTO records VALUES ('a', '${foreign}')`);
  database.close();
  expect(await open().get(nameOf(299))).toEqual(record(299));
  expect(Math.max(...rows)).toBe(301);
  expect(told.map(({ type }) => type)).toEqual(["store.opened", "store.opened"]);
  expect(readdirSync(app).filter((name) => name.includes("key-missing"))).toEqual([]);
});

test.each([
  ["", 7],
  ["a", 3],
  ["a%", 1],
  ["a\u{10ffff}", 1],
  ["\ud7ff", 1],
  ["\u{1f600}", 1],
  ["b", 0],
])("keys that begin with %j", async (prefix, count) => {
  const folder = mkdtempSync(join(tmpdir(), "mcp-client-auth-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const store = new SqliteStore({ app: "acme", folder, keychain: false });
  const keys = ["a", "a%b", "a\u{10ffff}c", "\ud7ffx", "\ue000x", "\u{1f600}x", "\u{10ffff}"];
  await Promise.all(keys.map((key) => store.set(key, record(0))));
  const found = await store.keys(prefix);
  expect(found.sort()).toEqual(keys.filter((key) => key.startsWith(prefix)).sort());
  expect(found).toHaveLength(count);
});

test("a process that was stopped for longer than it waits for a database waits on", { timeout: 60_000 }, async () => {
  const { folder, path, open } = await filled();
  const child = spawn(process.execPath, [join(import.meta.dirname, "writing-process.ts")], {
    env: { ...process.env, FOLDER: folder, KEYS: "1", FROM: "1000", NODE_OPTIONS: "" },
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  await once(child.stdout, "data");
  const other = new DatabaseSync(path);
  await vi.waitFor(() => other.exec("BEGIN IMMEDIATE"), { timeout: 10_000, interval: 1 });
  child.stdout.removeAllListeners("data").resume();
  await new Promise((resolve) => setTimeout(resolve, 200));
  child.kill("SIGSTOP");
  await new Promise((resolve) => setTimeout(resolve, 11_000));
  child.kill("SIGCONT");
  // Not only the one attempt that it makes as soon as it runs again.
  await new Promise((resolve) => setTimeout(resolve, 1000));
  expect(child.exitCode).toBeNull();
  other.exec("ROLLBACK");
  other.close();
  await once(child.stdout, "data");
  child.kill("SIGKILL");
  await once(child, "close");
  expect(Number((await open().get("k0"))?.n)).toBeGreaterThanOrEqual(1000);
});
