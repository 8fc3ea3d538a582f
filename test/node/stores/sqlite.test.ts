import { execFileSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import type { StoreEvent } from "../../../src/index.ts";
import { sqliteStore } from "../../../src/node/stores/on-demand.ts";
import { SqliteStore } from "../../../src/node/stores/sqlite.ts";
import { storeContract } from "../../stores/contract-suite.ts";
import { failure } from "../../storm/support.ts";
import { expectContractOfProcesses } from "./processes.ts";

const app = "test";
const named = { name: app, from: "option" };
const record = { v: 1, token: "the-secret-of-the-test" };

async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "mcp-client-auth-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** A folder of logins, and stores in it that tell what happens. */
async function place() {
  const folder = await temporaryFolder();
  const path = (...names: string[]) => join(folder, app, ...names);
  const events: StoreEvent[] = [];
  const open = () => new SqliteStore({ app, folder, keychain: false, onEvent: (event) => void events.push(event) });
  return { folder, path, events, open, database: path("records.sqlite") };
}

/** The same with a record in it, that no open store holds. */
async function used() {
  const found = await place();
  const { database } = found;
  execFileSync(process.execPath, ["--input-type=module", "--eval", writing(found.folder)]);
  return { ...found, sql: (...statements: string[]) => edit(database, statements) };
}

const writing = (folder: string) => `
  import { SqliteStore } from ${JSON.stringify(import.meta.resolve("../../../src/node/stores/sqlite.ts"))};
  const store = new SqliteStore({ app: ${JSON.stringify(app)}, folder: ${JSON.stringify(folder)}, keychain: false });
  for (const key of ["a", "b", "c"]) await store.set(key, ${JSON.stringify(record)});`;

function edit(path: string, statements: string[]): void {
  const database = new DatabaseSync(path);
  for (const statement of statements) database.exec(statement);
  database.close();
}

const mode = (path: string) => statSync(path).mode & 0o777;

storeContract("sqlite", async () => {
  const folder = await mkdtemp(join(tmpdir(), "mcp-client-auth-"));
  return { open: async () => new SqliteStore({ app, folder }), close: () => rm(folder, { recursive: true, force: true }) };
});

test("store contract: sqlite, by eight processes at once", { timeout: 120_000 }, async () => {
  await expectContractOfProcesses(await temporaryFolder());
});

describe("what is on the disk", () => {
  test("nothing, before something is written", async () => {
    const { folder, open } = await place();
    const store = open();
    expect([await store.get("k"), await store.take("k"), await store.keys("")]).toEqual([undefined, undefined, []]);
    await store.delete("k");
    expect(await store.status()).toEqual({ kind: "sqlite", path: join(folder, app), app: named, key: undefined });
    expect(readdirSync(folder)).toEqual([]);
  });

  test("only this user can read it, whatever the umask", async () => {
    const { path, open } = await place();
    const umask = process.umask(0);
    onTestFinished(() => void process.umask(umask));
    const store = open();
    await store.withLock("k", (held) => held.set("k", record));
    const modes = Object.fromEntries((readdirSync(path(), { recursive: true }) as string[]).map((name) => [name, mode(path(name))]));
    expect(mode(path())).toBe(0o700);
    const { locks, ...files } = modes;
    expect(locks).toBe(0o700);
    expect(Object.keys(files)).toEqual(expect.arrayContaining(["records.sqlite", "key"]));
    expect(new Set(Object.values(files))).toEqual(new Set([0o600]));
  });

  test.each([
    ["the folder", "", 0o755, 0o700],
    ["the database", "records.sqlite", 0o644, 0o600],
    ["the key file", "key", 0o640, 0o600],
    ["the locks", "locks", 0o777, 0o700],
  ])("what others could read is mended: %s", async (_, name, found, mended) => {
    const { path, open } = await used();
    chmodSync(path(name), found);
    const store = open();
    await store.withLock("k", (held) => held.set("k", record));
    expect(await store.get("a")).toEqual(record);
    expect(mode(path(name))).toBe(mended);
  });

  test.each(["", "records.sqlite", "key", "locks"])("a link in its place is not followed: %s", async (name) => {
    const { path, open } = await used();
    const elsewhere = join(await temporaryFolder(), "elsewhere");
    renameSync(path(name), elsewhere);
    symlinkSync(elsewhere, path(name));
    const store = open();
    const error = await failure(store.withLock("k", (held) => held.set("k", record)));
    expect([error.code, error.message]).toEqual(["store_unusable", expect.stringContaining(name === "" ? app : name)]);
  });

  test("no value is there in clear, nor its key in the database", async () => {
    const { path } = await used();
    const { k } = JSON.parse(readFileSync(path("key"), "utf8")) as { k: string };
    for (const name of readdirSync(path())) {
      if (!statSync(path(name)).isFile()) continue;
      const bytes = readFileSync(path(name));
      expect(bytes.includes(record.token)).toBe(false);
      if (name !== "key") expect(bytes.includes(k)).toBe(false);
    }
  });

  test("the app is told where the records and the key are", async () => {
    const { path, events, open } = await place();
    const store = open();
    await store.set("k", record);
    await store.set("k", record);
    expect(events).toEqual([{ type: "store.opened", kind: "sqlite", key: "file", path: path(), app: named }]);
    expect(await store.status()).toEqual({ kind: "sqlite", path: path(), app: named, key: "file" });
  });
});

describe("a record that cannot be read leaves the others usable", () => {
  const cases: [string, string][] = [
    ["damaged", "UPDATE records SET value = substr(value, 1, length(value) - 2) || 'xx' WHERE key = 'a'"],
    ["not encrypted", `UPDATE records SET value = '${JSON.stringify(record)}' WHERE key = 'a'`],
    ["empty", "UPDATE records SET value = '' WHERE key = 'a'"],
    ["that of another key", "UPDATE records SET value = (SELECT value FROM records WHERE key = 'b') WHERE key = 'a'"],
    [
      "encrypted with another key",
      "UPDATE records SET value = 'eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwia2lkIjoieCJ9..AAAA.AAAA.AAAA' WHERE key = 'a'",
    ],
  ];
  test.each(cases)("%s: invalid_record", async (_, statement) => {
    const { sql, open, events } = await used();
    sql(statement);
    const store = open();
    const error = await failure(store.get("a"));
    expect([error.code, error.transient, error.message]).toEqual(["invalid_record", false, expect.stringContaining("a")]);
    expect(error.message).not.toContain(record.token);
    expect(await store.get("b")).toEqual(record);
    expect((await store.keys("")).sort()).toEqual(["a", "b", "c"]);
    // It can be replaced, and deleted.
    await store.set("a", record);
    expect(await store.get("a")).toEqual(record);
    expect(events.map(({ type }) => type)).toEqual(["store.opened"]);
  });
});

describe("a database that cannot be used is set aside, once, with an error that says where it is now", () => {
  const cases: [string, "damaged" | "foreign" | "key-missing", (at: Awaited<ReturnType<typeof used>>) => void][] = [
    ["overwritten", "damaged", ({ database }) => writeFileSync(database, "no database at all ".repeat(500))],
    ["cut off", "damaged", ({ database }) => truncateSync(database, 5000)],
    [
      "a page of noise in the middle",
      "damaged",
      ({ database }) => {
        const bytes = readFileSync(database);
        bytes.fill(0xa5, 4096, 8192);
        writeFileSync(database, bytes);
      },
    ],
    [
      "another program's",
      "foreign",
      ({ database }) => {
        rmSync(database);
        edit(database, ["CREATE TABLE theirs (x)", "INSERT INTO theirs VALUES ('precious')"]);
      },
    ],
    ["its key file is gone", "key-missing", ({ path }) => rmSync(path("key"))],
    [
      "its key file was replaced",
      "key-missing",
      ({ path }) => writeFileSync(path("key"), JSON.stringify({ v: 1, kid: "other", k: Buffer.alloc(32, 1).toString("base64url") })),
    ],
  ];

  test.each(cases)("%s", async (_, reason, spoil) => {
    const found = await used();
    spoil(found);
    const spoilt = readFileSync(found.database);
    const store = found.open();
    const error = await failure(store.get("a"));
    const aside = readdirSync(found.path()).filter((name) => name.startsWith(`records.sqlite.${reason}`) && !name.endsWith("-journal"));
    expect(aside).toHaveLength(1);
    const [name = ""] = aside;
    expect([error.code, error.transient, error.message]).toEqual(["store_damaged", true, expect.stringContaining(name)]);
    expect(found.events).toContainEqual({ type: "store.set-aside", path: found.path(name), reason });
    expect(readFileSync(found.path(name)).equals(spoilt)).toBe(true);
    // A new one takes its place.
    await store.set("a", { v: 1, n: 2 });
    expect(await found.open().get("a")).toEqual({ v: 1, n: 2 });
    expect(await store.get("b")).toBeUndefined();
  });

  test("of many stores that find it at the same time one sets it aside, and no new record is lost", async () => {
    const found = await used();
    writeFileSync(found.database, "no database at all ".repeat(500));
    const stores = Array.from({ length: 10 }, () => found.open());
    const told: string[] = [];
    const write = (store: SqliteStore, key: string) =>
      // Whoever has met the damaged one tries again.
      store.set(key, record).catch((error: Error) => {
        told.push(error.message);
        return store.set(key, record);
      });
    await Promise.all(stores.map((store, i) => write(store, `k${i}`)));
    const aside = readdirSync(found.path()).filter((name) => name.includes(".damaged-"));
    expect(aside).toHaveLength(1);
    // Nobody is sent to a file that is not there.
    const where = told.filter((message) => message.includes(String(aside[0])));
    expect([where.length, told.filter((message) => !where.includes(message) && !message.includes("by another process"))]).toEqual([1, []]);
    expect(await found.open().keys("")).toHaveLength(10);
  });

  test("one of a newer version stays where it is: invalid_record", async () => {
    const { sql, open, database, events } = await used();
    sql("PRAGMA user_version = 2");
    const before = readFileSync(database);
    const error = await failure(open().get("a"));
    expect([error.code, error.message]).toEqual(["invalid_record", expect.stringContaining("version 2")]);
    expect(readFileSync(database).equals(before)).toBe(true);
    expect(events).toEqual([]);
  });

  test("a database whose key comes back can be put back", async () => {
    const { open, path, database } = await used();
    const key = readFileSync(path("key"));
    rmSync(path("key"));
    await failure(open().get("a"));
    const aside = readdirSync(path()).find((name) => name.includes("key-missing")) ?? "";
    writeFileSync(path("key"), key, { mode: 0o600 });
    renameSync(path(aside), database);
    expect(await open().get("a")).toEqual(record);
  });
});

describe("others use the database, too", () => {
  test("while one writes, the event loop goes on and the others get their turn", async () => {
    const { open, database } = await used();
    const other = new DatabaseSync(database);
    other.exec("BEGIN EXCLUSIVE");
    const store = open();
    let settled = false;
    const reading = store.get("a").finally(() => {
      settled = true;
    });
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setTimeout(resolve, 1));
    expect(settled).toBe(false);
    other.exec("ROLLBACK");
    other.close();
    expect(await reading).toEqual(record);
  });

  test("who takes a record while another reads gets it once: not before it is gone", async () => {
    const { open, database } = await used();
    const reader = new DatabaseSync(database);
    reader.exec("BEGIN; SELECT * FROM records");
    const store = open();
    let settled = false;
    const taking = store.take("a").finally(() => {
      settled = true;
    });
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setTimeout(resolve, 1));
    expect(settled).toBe(false);
    reader.exec("COMMIT");
    reader.close();
    expect(await taking).toEqual(record);
    expect(await open().take("a")).toBeUndefined();
  });

  test("a journal that a killed process left behind is rolled back", async () => {
    const { open, path, database } = await used();
    // As a crash in the middle of a transaction leaves it: pages written, journal there.
    const other = new DatabaseSync(database);
    other.exec("PRAGMA cache_size = 1; PRAGMA cache_spill = 1; BEGIN IMMEDIATE; UPDATE records SET value = 'torn'");
    for (let i = 0; i < 200; i++) other.prepare("INSERT INTO records VALUES (?, ?)").run(`junk${i}`, "x".repeat(3000));
    expect(existsSync(`${database}-journal`)).toBe(true);
    copyFileSync(database, path("copy"));
    copyFileSync(`${database}-journal`, path("copy-journal"));
    other.exec("ROLLBACK");
    other.close();
    renameSync(path("copy"), database);
    renameSync(path("copy-journal"), `${database}-journal`);
    const store = open();
    expect(await store.get("a")).toEqual(record);
    expect((await store.keys("")).sort()).toEqual(["a", "b", "c"]);
  });
});

describe("the database is deleted while it is in use", () => {
  test.each([
    ["the file", (path: (...names: string[]) => string) => rmSync(path("records.sqlite"))],
    ["the folder, with key and locks", (path: (...names: string[]) => string) => rmSync(path(), { recursive: true })],
  ])("%s: the app is told, whoever holds a lock next is told, and what is written then survives", async (_, remove) => {
    const { open, path, events } = await place();
    const store = open();
    await store.set("k", record);
    remove(path);
    expect(await store.get("k")).toBeUndefined();
    expect(events.map(({ type }) => type)).toContain("store.restarted");
    // Each lock guards a login of its own.
    for (const key of ["other", "k"]) {
      await store.withLock(key, async (held) => {
        expect(held.restarted).toBe(true);
        await held.set(key, { v: 1, n: 2 });
        expect(held.restarted).toBe(false);
      });
    }
    expect(await open().get("k")).toEqual({ v: 1, n: 2 });
  });

  test("by somebody whose program makes it anew: its key is used, by readers and writers", async () => {
    const { open, path } = await place();
    const store = open();
    await store.set("k", record);
    rmSync(path(), { recursive: true });
    await open().set("theirs", record);
    await store.set("ours", record);
    expect([await store.get("theirs"), await open().get("ours")]).toEqual([record, record]);
  });

  test("who holds a lock that was deleted learns it when it writes: lock_lost", async () => {
    const { open, path } = await place();
    const store = open();
    await store.withLock("k", async (held) => {
      await held.set("k", record);
      rmSync(path("locks"), { recursive: true });
      expect((await failure(held.set("k", { v: 1, n: 2 }))).code).toBe("lock_lost");
      expect(held.signal.aborted).toBe(true);
    });
    expect(await store.get("k")).toEqual(record);
  });
});

describe("name spaces", () => {
  test.each(["../other", "a/b", "a\\b", "", ".hidden", "a\u0000b", "x".repeat(101)])(
    "an app cannot be called %j: invalid_option",
    (name) => {
      expect(() => sqliteStore({ app: name })).toThrow(expect.objectContaining({ code: "invalid_option" }));
    },
  );

  test.each(["acme", "@acme+agent", "Müller & Söhne", "a", "1.2"])("an app may be called %j", (name) => {
    expect(() => sqliteStore({ app: name })).not.toThrow();
  });

  test("a relative folder is refused: it would depend on where a program is started", () => {
    const refused = expect.objectContaining({ code: "invalid_option" });
    expect(() => sqliteStore({ app, folder: "here" })).toThrow(refused);
    vi.stubEnv("MCP_AUTH_DATA_DIR", "here");
    onTestFinished(() => void vi.unstubAllEnvs());
    expect(() => new SqliteStore({ app })).toThrow(refused);
  });

  test("two apps share nothing unless both say the same", async () => {
    const folder = await temporaryFolder();
    const open = (name: string) => new SqliteStore({ app: name, folder, keychain: false });
    await open("one").set("k", record);
    expect(await open("two").get("k")).toBeUndefined();
    expect(await open("one").get("k")).toEqual(record);
  });
});
