/** Records in a keychain: what real ones do not do here is done by fakes. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { StoreEvent } from "../../../../src/events.ts";

import { sha256 } from "../../../../src/node/builtins.ts";
import { KeychainStore } from "../../../../src/node/stores/keychain/store.ts";
import { keychainStore } from "../../../../src/node/stores/on-demand.ts";
import type { KeychainStoreOptions } from "../../../../src/node/stores/options.ts";

import type { StoredRecord } from "../../../../src/stores/store.ts";
import { storeContract } from "../../../stores/contract-suite.ts";
import { FakeKeychain, temporaryFolder, WindowsKeychain } from "./support.ts";

const named = { name: "acme", from: "option" };

async function folderOfStores() {
  const folder = await temporaryFolder();
  const events: StoreEvent[] = [];
  const open = (options: KeychainStoreOptions) =>
    new KeychainStore({ app: "acme", folder, keychainTimeout: 50, onEvent: (event) => events.push(event), ...options });
  return { folder, path: join(folder, "acme"), events, open };
}

storeContract("keychain of Windows: 2,560 bytes an entry, names without case", async () => {
  const { open } = await folderOfStores();
  const keychain = new WindowsKeychain();
  return { open: async () => open({ keychain, partSize: 1280, keychainTimeout: 10_000 }) };
});

describe("no record is cut", () => {
  test.each([10, 1250, 1300, 5000, 20_000])("on Windows, a text of %d characters", async (length) => {
    const { open } = await folderOfStores();
    const keychain = new WindowsKeychain();
    const record = { v: 1, text: "ü😀".repeat(length / 2) };
    await open({ keychain, partSize: 1280 }).set("k", record);
    expect(await open({ keychain, partSize: 1280 }).get("k")).toEqual(record);
    expect(Math.max(...[...keychain.entries.values()].map((text) => Buffer.byteLength(text)))).toBeLessThanOrEqual(1280);
  });

  test("a keychain that cuts and says nothing is noticed", async () => {
    const { open } = await folderOfStores();
    const store = open({ keychain: new WindowsKeychain() });
    await store.set("small", { v: 1 });
    await expect(store.set("k", { v: 1, text: "x".repeat(5000) })).rejects.toMatchObject({
      code: "invalid_option",
      hint: expect.stringContaining("partSize"),
    });
    await expect(store.get("k")).rejects.toMatchObject({ code: "invalid_record" });
    expect(await store.get("small")).toEqual({ v: 1 });
  });

  test("keys that differ in case are two", async () => {
    const { open } = await folderOfStores();
    const store = open({ keychain: new WindowsKeychain() });
    await store.set("tokens/default/https://x.example/Mcp", { v: 1, n: 1 });
    await store.set("tokens/default/https://x.example/mcp", { v: 1, n: 2 });
    expect(await store.get("tokens/default/https://x.example/Mcp")).toEqual({ v: 1, n: 1 });
  });

  test("parts of a record are gone when it is replaced or deleted", async () => {
    const { open } = await folderOfStores();
    const keychain = new WindowsKeychain();
    const store = open({ keychain, partSize: 200 });
    await store.set("k", { v: 1, text: "x".repeat(3000) });
    await store.set("k", { v: 1, text: "x".repeat(2000) });
    await store.set("k", { v: 1, text: "x".repeat(1000) });
    const parts = () => [...keychain.entries.keys()].filter((name) => name.includes("part:")).length;
    expect(parts()).toBe(Math.ceil(JSON.stringify({ v: 1, text: "x".repeat(1000) }).length / 164));
    await store.set("k", { v: 1 });
    expect(parts()).toBe(0);
    await store.set("k", { v: 1, text: "x".repeat(1000) });
    await store.delete("k");
    expect([...keychain.entries.keys()].filter((name) => !name.endsWith("index"))).toEqual([]);
  });
});

describe("a process dies while it writes", () => {
  const values: Record<string, StoredRecord | undefined> = {
    none: undefined,
    small: { v: 1, text: "a" },
    long: { v: 1, text: "b".repeat(900) },
    longer: { v: 1, text: "c".repeat(1500) },
  };
  const names = Object.keys(values);

  test.each(names.flatMap((from) => names.map((to) => [from, to] as const)))(
    "from %s to %s: the old record or the new one",
    async (from, to) => {
      const { path, open } = await folderOfStores();
      for (let survived = 0, ended = false; !ended; survived++) {
        const keychain = new FakeKeychain();
        const options = { keychain, partSize: 300 };
        const [before, after] = [values[from], values[to]];
        const store = open(options);
        await store.set("other", { v: 1 });
        if (before) await store.set("k", before);
        const reader = open(options);
        await reader.get("k");
        let calls = 0;
        keychain.before = () => {
          if (++calls > survived) throw new Error("dead");
        };
        ended = await (after ? store.set("k", after) : store.delete("k")).then(
          () => true,
          () => false,
        );
        keychain.before = () => {};
        for (const store of [open(options), reader]) {
          const found = await store.get("k");
          expect([before, after]).toContainEqual(found);
          if (ended) expect(found).toEqual(after);
          expect(found).toEqual(await open(options).get("k"));
          if (found) expect(await store.keys("")).toContain("k");
          expect(await store.get("other")).toEqual({ v: 1 });
        }
        // And everything goes on.
        await open(options).set("k", { v: 1, text: "d".repeat(700) });
        expect(await reader.get("k")).toEqual({ v: 1, text: "d".repeat(700) });
        await open(options).delete("k");
        expect(await open(options).keys("")).toEqual(["other"]);
        expect(keychain.entries.size).toBe(2);
        await rm(path, { recursive: true });
      }
    },
  );
});

describe("Keychain asks again and again (SpeakMCP #635)", () => {
  test("a record is read once a process, and again when another process has written it", async () => {
    const { open } = await folderOfStores();
    const keychain = new FakeKeychain();
    const [writer, reader] = [open({ keychain }), open({ keychain })];
    await writer.set("k", { v: 1, n: 1 });
    await writer.set("other", { v: 1 });
    await reader.get("other");
    keychain.calls.length = 0;
    await Promise.all([reader.get("k"), reader.get("k")]);
    await reader.get("k");
    await writer.get("k");
    expect(keychain.calls).toEqual(["get record:k"]);
    await writer.set("k", { v: 1, n: 2 });
    keychain.calls.length = 0;
    expect(await reader.get("k")).toEqual({ v: 1, n: 2 });
    expect(await reader.get("other")).toEqual({ v: 1 });
    expect(keychain.calls).toEqual(["get record:k"]);
  });

  test("what is in memory is used while the keychain is locked, hangs, or is gone", async () => {
    const { open } = await folderOfStores();
    const keychain = new FakeKeychain();
    const store = open({ keychain });
    await store.set("k", { v: 1 });
    keychain.before = () => {
      throw new Error("locked");
    };
    expect(await store.get("k")).toEqual({ v: 1 });
    await expect(store.set("k", { v: 1, n: 2 })).rejects.toMatchObject({ code: "keychain_locked" });
  });

  test("a write that the user allows late is the last one, not one that overtakes", async () => {
    const { open } = await folderOfStores();
    const keychain = new FakeKeychain();
    const [store, other] = [open({ keychain }), open({ keychain: new FakeKeychain(keychain.entries), keychainTimeout: 5000 })];
    await store.set("k", { v: 1, n: 1 });
    await other.keys("");
    const { promise: allowed, resolve: allow } = Promise.withResolvers<void>();
    keychain.before = (call) => (call === "set record:k" ? allowed : undefined);
    await expect(store.set("k", { v: 1, n: 2 })).rejects.toMatchObject({ code: "keychain_timeout" });
    const writing = other.set("k", { v: 1, n: 3 });
    // It waits for the lock.
    await expect(other.withLock("keychain-store", async () => {}, { lockTimeout: 50 })).rejects.toMatchObject({ code: "lock_timeout" });
    allow();
    await writing;
    expect(await store.get("k")).toEqual({ v: 1, n: 3 });
    expect(await open({ keychain }).get("k")).toEqual({ v: 1, n: 3 });
  });
});

describe("a keychain that answers null when it is locked, as keytar does", () => {
  async function locked() {
    const { open, ...rest } = await folderOfStores();
    const keychain = new FakeKeychain();
    await open({ keychain }).set("k", { v: 1 });
    const running = open({ keychain });
    await running.keys("");
    return { ...rest, open, running, keychain, empty: new FakeKeychain(), lock: () => keychain.entries.clear() };
  }

  test("is not an empty store", async () => {
    const { open, empty } = await locked();
    const store = open({ keychain: empty });
    await expect(store.get("k")).rejects.toMatchObject({ code: "keychain_locked" });
    await expect(store.keys("")).rejects.toMatchObject({ code: "keychain_locked" });
    await expect(store.set("k", { v: 1 })).rejects.toMatchObject({ code: "keychain_locked" });
    expect(empty.entries.size).toBe(0);
  });

  test("is not an empty store for a process that runs already", async () => {
    const { running, lock } = await locked();
    lock();
    for (const refused of [running.get("k"), running.get("unknown"), running.delete("k"), running.take("k")]) {
      await expect(refused).rejects.toMatchObject({ code: "keychain_locked" });
    }
  });

  test("is opened as soon as it is unlocked", async () => {
    const { open, keychain } = await locked();
    const store = open({ keychain });
    const entries = [...keychain.entries];
    keychain.entries.clear();
    await expect(store.get("k")).rejects.toMatchObject({ code: "keychain_locked" });
    for (const [name, text] of entries) keychain.entries.set(name, text);
    expect(await store.get("k")).toEqual({ v: 1 });
  });
});

describe("where the keychain does not work", () => {
  const failing = (message: string) => {
    const keychain = new FakeKeychain();
    keychain.before = () => {
      throw new Error(message);
    };
    return keychain;
  };
  const hanging = () => {
    const keychain = new FakeKeychain();
    keychain.before = () => new Promise(() => {});
    return keychain;
  };
  const ways: [string, () => FakeKeychain | false, string][] = [
    ["is switched off", () => false, "keychain_unavailable"],
    ["cannot be reached", () => failing("Cannot autolaunch D-Bus without X11 $DISPLAY"), "keychain_unavailable"],
    ["is locked", () => failing("Cannot create an item in a locked collection"), "keychain_locked"],
    ["asks and is refused", () => failing("User canceled the operation."), "keychain_refused"],
    ["hangs", hanging, "keychain_timeout"],
  ];

  test.each(ways)("(it %s) and nothing was ever kept there: SQLite with a key file, from then on", async (_, keychain) => {
    const { open, events, path } = await folderOfStores();
    const store = open({ keychain: keychain() });
    await store.set("k", { v: 1 });
    expect(await store.status()).toEqual({ kind: "sqlite", path, key: "file", app: named });
    expect(events).toEqual([{ type: "store.opened", kind: "sqlite", key: "file", path, app: named }]);
    expect(await open({ keychain: false }).status()).toEqual({ kind: "sqlite", path, key: "file", app: named });
    const working = new FakeKeychain();
    expect(await open({ keychain: working }).get("k")).toEqual({ v: 1 });
    expect(working.calls).toEqual([]);
  });

  test.each(ways)("(it %s) and the app wants no file: the error", async (_, keychain, code) => {
    const { open, path } = await folderOfStores();
    await expect(open({ keychain: keychain(), fallback: "error" }).set("k", { v: 1 })).rejects.toMatchObject({ code });
    expect(readdirSync(path)).toEqual(["locks"]);
  });

  test.each(ways)("(it %s) but holds records: keychain_locked, unless the app wants a file all the same", async (_, keychain, code) => {
    const { open } = await folderOfStores();
    const working = new FakeKeychain();
    await open({ keychain: working }).set("k", { v: 1, from: "keychain" });
    for (const fallback of [undefined, "error"] as const) {
      await expect(open({ keychain: keychain(), fallback }).get("k")).rejects.toMatchObject({ code: "keychain_locked", cause: { code } });
    }
    const store = open({ keychain: keychain(), fallback: "key-file" });
    await store.set("k", { v: 1, from: "file" });
    expect((await store.status()).kind).toBe("sqlite");
    expect(await open({ keychain: working }).get("k")).toEqual({ v: 1, from: "keychain" });
  });
});

test("nothing but locks and versions is on disk, and a deleted folder loses nothing", async () => {
  const { open, path, events } = await folderOfStores();
  const keychain = new FakeKeychain();
  const store = open({ keychain });
  await store.set("tokens/default/https://mcp.example", { v: 1, refreshToken: "secret-of-a-user" });
  for (const one of [store, open({ keychain })])
    expect(await one.status()).toEqual({ kind: "keychain", path, key: "keychain", app: named });
  expect(events).toEqual([{ type: "store.opened", kind: "keychain", key: "keychain", path, app: named }]);
  const files = readdirSync(path, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  for (const { parentPath, name } of files) {
    const text = readFileSync(join(parentPath, name), "latin1");
    expect(text).not.toContain("secret-of-a-user");
    expect(text).not.toContain("mcp.example");
  }
  await rm(path, { recursive: true });
  await store.set("k", { v: 1 });
  expect((await open({ keychain }).keys("")).sort()).toEqual(["k", "tokens/default/https://mcp.example"]);
});

test.each([undefined, "key-file"] as const)("reading creates nothing, and decides nothing (fallback %s)", async (fallback) => {
  const { open, path } = await folderOfStores();
  const keychain = new FakeKeychain();
  for (const asked of [keychain, false] as const) {
    const store = open({ keychain: asked, fallback });
    expect([await store.get("k"), await store.take("k"), await store.keys(""), await store.delete("k")]).toEqual([
      undefined,
      undefined,
      [],
      undefined,
    ]);
  }
  expect([keychain.entries.size, existsSync(path)]).toEqual([0, false]);
  const store = open({ keychain, fallback });
  expect(await store.get("k")).toBeUndefined();
  await open({ keychain, fallback }).set("k", { v: 1 });
  expect(await store.get("k")).toEqual({ v: 1 });
});

test("a folder that has moved still finds its records", async () => {
  const [from, to] = [await folderOfStores(), await folderOfStores()];
  const keychain = new FakeKeychain();
  await from.open({ keychain }).set("k", { v: 1 });
  await rename(from.path, to.path);
  expect(await to.open({ keychain }).get("k")).toEqual({ v: 1 });
});

test("records are found again by a later version: their service is called after the app and its folder", async () => {
  const { path, open } = await folderOfStores();
  const keychain = new FakeKeychain();
  await open({ keychain }).set("k", { v: 1 });
  const service = `mcp-client-auth/acme/${sha256(path).slice(0, 8)}`;
  expect(new Set([...keychain.entries.keys()].map((name) => name.split(" ")[0]))).toEqual(new Set([service]));
});

test("two folders of one app do not share records", async () => {
  const [one, two] = [await folderOfStores(), await folderOfStores()];
  const keychain = new FakeKeychain();
  await one.open({ keychain }).set("k", { v: 1 });
  expect(await two.open({ keychain }).keys("")).toEqual([]);
});

test.each<[what: string, marker: object]>([
  ["of a later version", { v: 2, place: "keychain" }],
  ["of a place that nobody knows", { v: 1, place: "cloud" }],
  ["of no place", { v: 1 }],
  ["without the name in the keychain", { v: 1, place: "keychain", service: "" }],
])("a note %s on where the records are is not followed", async (_what, marker) => {
  const { path, open } = await folderOfStores();
  const keychain = new FakeKeychain();
  await open({ keychain }).set("k", { v: 1 });
  await writeFile(join(path, "keychain-store.json"), JSON.stringify({ service: "mcp-client-auth/acme/0", ...marker }));
  await expect(open({ keychain }).get("k")).rejects.toMatchObject({
    code: "store_unusable",
    message: expect.stringContaining("does not say where the records are"),
  });
});

test.each([0, 99, Number.NaN])("partSize %d is refused", (partSize) => {
  expect(() => keychainStore({ partSize })).toThrow(expect.objectContaining({ code: "invalid_option" }));
});
