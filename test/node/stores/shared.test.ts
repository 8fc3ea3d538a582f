/** However many stores name a folder, a process has it open once. */
import { mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, onTestFinished, test } from "vitest";
import type { StoreEvent } from "../../../src/events.ts";
import { createMcpAuth, sqliteStore } from "../../../src/node/index.ts";
import { KeychainStore } from "../../../src/node/stores/keychain/store.ts";
import type { SqliteStoreOptions } from "../../../src/node/stores/options.ts";
import { SqliteStore } from "../../../src/node/stores/sqlite.ts";
import { FakeKeychain } from "./keychain/support.ts";

const record = { v: 1, n: 1 };

function place() {
  const folder = mkdtempSync(join(tmpdir(), "mcp-client-auth-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  /** A store, and what it tells. */
  const open = (options: SqliteStoreOptions = {}) => {
    const told: string[] = [];
    const onEvent = ({ type }: StoreEvent) => void told.push(type);
    return { store: sqliteStore({ app: "acme", folder, keychain: false, onEvent, ...options }), told };
  };
  return { folder, open, path: (...names: string[]) => join(folder, "acme", ...names) };
}

/** How often this process has the database of the folder open. */
function databasesOpen(folder: string): number {
  const links = readdirSync("/proc/self/fd").map((name) => {
    try {
      return readlinkSync(join("/proc/self/fd", name));
    } catch {
      return "";
    }
  });
  return links.filter((path) => path.startsWith(folder) && path.endsWith("records.sqlite")).length;
}

describe.runIf(process.platform === "linux")("one database", () => {
  test("of a thousand users, each with a createMcpAuth", { timeout: 60_000 }, async () => {
    const { folder } = place();
    const users = Array.from({ length: 1000 }, (_, n) =>
      createMcpAuth("https://mcp.example/mcp", { app: "acme", folder, keychain: false, interactive: false, account: `user-${n}` }),
    );
    await Promise.all(users.map((user, n) => user.setTokens({ accessToken: `token-${n}`, expiresIn: 3600 })));
    expect(await Promise.all(users.map((user) => user.getAccessToken()))).toEqual(users.map((_, n) => `token-${n}`));
    expect(databasesOpen(folder)).toBe(1);
  });

  test("by whatever path the folder is named, before and after it is made", async () => {
    const { folder } = place();
    const link = join(folder, "link");
    mkdirSync(join(folder, "real"));
    symlinkSync(join(folder, "real"), link);
    const paths = [join(link, "new"), join(folder, "real", "new"), join(link, "..", "real", "new"), `${join(link, "new")}/`];
    const stores = paths.map((path) => sqliteStore({ app: "acme", folder: path, keychain: false }));
    for (const [n, store] of stores.entries()) await store.set(`k${n}`, record);
    for (const path of paths) stores.push(sqliteStore({ app: "acme", folder: path, keychain: false }));
    for (const store of stores) expect((await store.keys("")).sort()).toEqual(["k0", "k1", "k2", "k3"]);
    expect(databasesOpen(folder)).toBe(1);
  });

  test("also of those whose keychain does not work", async () => {
    const { folder, open } = place();
    const stores = [open().store, ...[1, 2].map(() => new KeychainStore({ app: "acme", folder, keychain: false, fallback: "key-file" }))];
    for (const store of stores) await store.set("k", record);
    expect(databasesOpen(folder)).toBe(1);
  });

  test("is closed when no store is in use any more", async () => {
    setFlagsFromString("--expose-gc");
    const collect = runInNewContext("gc") as () => void;
    const { folder, open } = place();
    await (async () => {
      for (let n = 0; n < 3; n++) await open().store.set(`k${n}`, record);
    })();
    await expect
      .poll(() => {
        collect();
        return databasesOpen(folder);
      })
      .toBe(0);
    expect(await open().store.get("k0")).toEqual(record);
  });
});

test("stores with other keychains use the folder's first key", async () => {
  const { open, path } = place();
  const [one, two] = [new FakeKeychain(), new FakeKeychain()];
  const first = open({ keychain: one });
  await first.store.set("k", record);
  expect(readdirSync(path())).toContain("keychain.json");
  for (const keychain of [two, false as const, one]) expect(await open({ keychain }).store.get("k")).toEqual(record);
  expect([readdirSync(path()).includes("key"), two.calls]).toEqual([false, []]);
});

describe("each store tells its own app", () => {
  test("where the records are, once", async () => {
    const { open } = place();
    const stores = [open(), open(), open()];
    for (const { store } of stores) await Promise.all([store.set("k", record), store.set("l", record), store.get("k")]);
    expect(stores.map(({ told }) => told)).toEqual([["store.opened"], ["store.opened"], ["store.opened"]]);
  });

  test("that the database was lost, once, if it was in use; and where the new one is", async () => {
    const { open, path } = place();
    const stores = [open(), open()];
    const unused = open();
    for (const { store } of stores) await store.set("k", record);
    rmSync(path(), { recursive: true });
    for (const { store } of [...stores, unused, ...stores]) await store.set("k", record);
    const all = ["store.opened", "store.restarted", "store.opened"];
    expect(stores.map(({ told }) => told)).toEqual([all, all]);
    expect(unused.told).toEqual(["store.opened"]);
  });

  test("that it was set aside", async () => {
    const { open, path } = place();
    const [one, two] = [open(), open()];
    await one.store.set("k", record);
    await two.store.get("k");
    rmSync(path("key"));
    await expect(one.store.set("k", record)).rejects.toMatchObject({ code: "store_damaged" });
    await two.store.set("k", record);
    expect([one.told, two.told]).toEqual([
      ["store.opened", "store.set-aside"],
      ["store.opened", "store.set-aside", "store.opened"],
    ]);
  });

  test("and a store that was idle for long hears the newest", async () => {
    const { open, path } = place();
    const [idle, busy] = [open(), open()];
    await idle.store.set("k", record);
    for (let n = 0; n < 40; n++) {
      rmSync(path(), { recursive: true, force: true });
      await busy.store.set("k", record);
    }
    await idle.store.get("k");
    expect(idle.told.slice(-2)).toEqual(["store.restarted", "store.opened"]);
    expect(idle.told.length).toBeLessThan(20);
  });
});

test("what a listener throws does not fail what was written", async () => {
  const { folder } = place();
  const onEvent = () => {
    throw new Error("the app's own");
  };
  const store = new SqliteStore({ app: "acme", folder, keychain: false, onEvent });
  await store.set("k", record);
  expect(await store.get("k")).toEqual(record);
});

describe("the login of a user whose folder is deleted", () => {
  test("is known to be lost by whoever used it before, until something is written under its lock", async () => {
    const { open, path } = place();
    const [one, two] = [open().store, open().store];
    for (const store of [one, two]) await store.withLock("login", (held) => held.set("login", record));
    const restarted = (store: typeof one, write: boolean) =>
      store.withLock("login", async (held) => {
        const found = held.restarted;
        if (write) await held.set("login", record);
        return found;
      });
    rmSync(path(), { recursive: true });
    await one.get("login");
    const three = open().store;
    expect([await restarted(one, false), await restarted(two, true), await restarted(one, false)]).toEqual([true, true, false]);
    // Whoever came later has nothing in memory that could be newer.
    expect(await restarted(three, false)).toBe(false);
  });
});
