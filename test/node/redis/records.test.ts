/** Records in Redis: encrypted, bound to their names, with keys that can change; pending authorizations go by themselves. */
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { StoreEvent } from "../../../src/index.ts";
import { generateStoreKey } from "../../../src/node/redis/index.ts";
import { failure } from "../../storm/support.ts";
import { keys, nameOf, openStore, type RedisServer, startRedis, watchedStore } from "./support.ts";

const record = { v: 1, token: "the-secret-of-the-test" };
const [older = "", newer = "", another = ""] = [keys[0], generateStoreKey(), generateStoreKey()];

let server: RedisServer;
beforeAll(async () => {
  server = await startRedis();
});
beforeEach(async () => {
  await server.command("FLUSHALL");
});

const field = async (key: string, name: "j" | "v") => String(await server.command("HGET", nameOf(key, "record"), name));
const headerOf = (jwe: string) => JSON.parse(Buffer.from(jwe.split(".")[0] ?? "", "base64url").toString()) as Record<string, string>;

describe("what is in Redis", () => {
  test("a JWE with the record's name and the ID of its key; nothing of the value or the key in clear", async () => {
    const store = await openStore(server);
    await store.set("tokens/a", record);
    const jwe = await field("tokens/a", "j");
    expect(headerOf(jwe)).toEqual({ alg: "dir", enc: "A256GCM", kid: expect.stringMatching(/^[\w-]{43}$/), name: "tokens/a" });
    expect(jwe).not.toContain(record.token);
    expect(JSON.stringify(headerOf(jwe))).not.toContain(older);
    expect(await store.status?.()).toEqual({ kind: "redis" });
  });

  test("a version that grows with each write, also after the record was deleted", async () => {
    const store = await openStore(server);
    const versions: number[] = [];
    for (let write = 0; write < 5; write++) {
      await store.set("k", record);
      versions.push(Number(await field("k", "v")));
      if (write === 2) await store.delete("k");
    }
    expect(versions).toEqual([...new Set(versions)].sort((a, b) => a - b));
  });

  test.each(["{a}b", "a}b{c", "}", "{", "%7B", "a*?[b]^\\", "", "ü€😀"])("keys and prefixes may hold %j", async (odd) => {
    const [mine, other] = [await openStore(server, { prefix: `${odd}mine:` }), await openStore(server, { prefix: `${odd}other:` })];
    await mine.withLock(odd, (held) => held.set(odd, record));
    await mine.set(`x${odd}`, record);
    expect((await mine.keys("")).sort()).toEqual([odd, `x${odd}`].sort());
    expect(await mine.keys(`x${odd}`)).toEqual([`x${odd}`]);
    expect([await mine.get(odd), await other.get(odd), await other.keys("")]).toEqual([record, undefined, []]);
  });
});

describe("a record that cannot be read leaves the others usable, and stays until it is replaced", () => {
  test.each<[what: string, code: string, spoil: () => Promise<string>]>([
    ["damaged", "invalid_record", async () => `${(await field("a", "j")).slice(0, -2)}xx`],
    ["not encrypted", "invalid_record", async () => JSON.stringify(record)],
    ["empty", "invalid_record", async () => ""],
    ["another's", "invalid_record", () => field("b", "j")],
    [
      "of a key that is not in the ring",
      "store_unusable",
      async () => {
        await (await openStore(server, { keys: [another] })).set("a", record);
        return field("a", "j");
      },
    ],
  ])("%s: %s", async (_what, code, spoil) => {
    const store = await openStore(server);
    for (const key of ["a", "b"]) await store.set(key, record);
    const spoilt = await spoil();
    await server.command("HSET", nameOf("a", "record"), "j", spoilt);
    for (const read of [() => store.get("a"), () => store.take("a")]) {
      const error = await failure(read());
      expect([error.code, error.transient, error.message]).toEqual([code, false, expect.stringMatching(/\ba\b/)]);
      expect(String(error)).not.toContain(record.token);
    }
    expect(await field("a", "j")).toBe(spoilt);
    expect(await store.get("b")).toEqual(record);
    expect((await store.keys("")).sort()).toEqual(["a", "b"]);
    await store.set("a", record);
    expect(await store.get("a")).toEqual(record);
  });

  test("the hint for a key that is missing names the key ring", async () => {
    await (await openStore(server, { keys: [another] })).set("a", record);
    const error = await failure((await openStore(server)).get("a"));
    expect([error.message, error.hint]).toEqual([expect.stringContaining("`keys`"), expect.stringContaining("Add to `keys`")]);
    for (const key of [another, older]) expect(String(error)).not.toContain(key);
  });
});

describe("pending authorizations expire by themselves, all else stays", () => {
  test.each([
    ["pending/1", { expiresAt: Date.now() + 60_000 }, true],
    ["pending/2", {}, false],
    ["pending/3", { expiresAt: "tomorrow" }, false],
    ["pending/4", { expiresAt: Number.NaN }, false],
    ["tokens/a", { expiresAt: Date.now() + 60_000 }, false],
  ])("%s with %j: %s", async (key, fields, expires) => {
    const store = await openStore(server);
    for (const write of [
      () => store.set(key, { ...record, ...fields }),
      () => store.withLock(key, (held) => held.set(key, { ...record, ...fields })),
    ]) {
      await write();
      const ttl = Number(await server.command("PTTL", nameOf(key, "record")));
      if (expires) expect(ttl).toSatisfy((ms: number) => ms > 30_000 && ms <= 60_000);
      else expect(ttl).toBe(-1);
    }
  });

  test("one whose time is over is gone, also for `keys`; a new one without an end stays", async () => {
    const store = await openStore(server);
    await store.set("pending/1", { ...record, expiresAt: Date.now() - 1 });
    await expect.poll(() => store.get("pending/1")).toBeUndefined();
    expect(await store.keys("pending/")).toEqual([]);
    await store.set("pending/1", { ...record, expiresAt: Date.now() + 60_000 });
    await store.set("pending/1", record);
    expect(await server.command("PTTL", nameOf("pending/1", "record"))).toBe(-1);
  });
});

describe("key rotation", () => {
  test("a ring reads with any key, and writes with the first", async () => {
    await (await openStore(server, { keys: [older] })).set("a", record);
    const both = await openStore(server, { keys: [newer, older] });
    expect(await both.get("a")).toEqual(record);
    await both.set("b", record);
    const onlyNewer = await openStore(server, { keys: [newer] });
    expect(await onlyNewer.get("b")).toEqual(record);
    expect((await failure(onlyNewer.get("a"))).code).toBe("store_unusable");
  });

  test("`rotateKeys` encrypts all with the newest, says how many, and keeps what it cannot read and when a record ends", async () => {
    const before = await openStore(server, { keys: [older] });
    await before.set("a", record);
    await before.set("pending/1", { ...record, expiresAt: Date.now() + 60_000 });
    await (await openStore(server, { keys: [another] })).set("foreign", record);
    const store = await openStore(server, { keys: [newer, older] });
    await store.set("b", record);
    const foreign = await field("foreign", "j");
    expect(await store.rotateKeys()).toEqual({ rotated: 2, unchanged: 1, unreadable: 1 });
    expect(await store.rotateKeys()).toEqual({ rotated: 0, unchanged: 3, unreadable: 1 });
    const after = await openStore(server, { keys: [newer] });
    expect([await after.get("a"), await after.get("b")]).toEqual([record, record]);
    expect(Number(await server.command("PTTL", nameOf("pending/1", "record")))).toBeGreaterThan(0);
    expect(await field("foreign", "j")).toBe(foreign);
  });

  test("a write between its read and its write is not overwritten; a record that is deleted stays deleted", async () => {
    const writer = await openStore(server, { keys: [newer, older] });
    const old = await openStore(server, { keys: [older] });
    await old.set("changed", { v: 1, n: 1 });
    await old.set("deleted", { v: 1, n: 1 });
    const { store, hook } = await watchedStore(server, { keys: [newer, older] });
    const met = new Set<string>();
    hook.current = async (command, send) => {
      const key = ["changed", "deleted"].find((name) => command.includes(nameOf(name, "record")));
      if (command[0] === "EVAL" && key && !met.has(key)) {
        met.add(key);
        if (key === "changed") await writer.set(key, { v: 1, n: 2 });
        else await writer.delete(key);
      }
      return send();
    };
    expect(await store.rotateKeys()).toEqual({ rotated: 0, unchanged: 1, unreadable: 0 });
    expect([await writer.get("changed"), await writer.get("deleted")]).toEqual([{ v: 1, n: 2 }, undefined]);
    expect(met.size).toBe(2);
  });

  test("while many write: no write is lost, and in the end all is encrypted with the newest", async () => {
    const names = Array.from({ length: 8 }, (_, index) => `k${index}`);
    // Machines that do not have the newest key yet, but know it.
    const writers = await Promise.all([1, 2].map(() => openStore(server, { keys: [older, newer] })));
    const count = (store: (typeof writers)[0], key: string) =>
      store.withLock(key, async (held) => held.set(key, { v: 1, n: 1 + Number((await store.get(key))?.n ?? 0) }));
    let isOver = false;
    const writing = Promise.all(
      writers.flatMap((store) =>
        names.map(async (key) => {
          for (let turn = 0; turn < 10; turn++) await count(store, key);
        }),
      ),
    ).finally(() => {
      isOver = true;
    });
    const rotating = await openStore(server, { keys: [newer, older] });
    let rotated = 0;
    while (!isOver) rotated += (await rotating.rotateKeys()).rotated;
    await writing;
    await rotating.rotateKeys();
    expect(rotated).toBeGreaterThan(0);
    const after = await openStore(server, { keys: [newer] });
    expect(await Promise.all(names.map(async (key) => (await after.get(key))?.n))).toEqual(names.map(() => 20));
  });
});

describe("a Redis that is set up to lose logins", () => {
  const told = async (...args: string[]) => {
    const events: StoreEvent[] = [];
    const store = await openStore(await startRedis(...args), { onEvent: (event) => void events.push(event) });
    await store.set("a", record);
    await store.withLock("b", (held) => held.set("b", record));
    return events;
  };

  test.each<[what: string, args: string[], reasons: string[]]>([
    ["deletes any record when its memory is full", ["--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru"], ["evicts"]],
    ["forgets with its end", ["--appendonly", "no"], ["not-persistent"]],
    ["deletes what expires", ["--maxmemory", "50mb", "--maxmemory-policy", "volatile-lru"], []],
    ["may use all memory", ["--maxmemory-policy", "allkeys-lru"], []],
    ["is set up well", [], []],
  ])("%s: it is said once", async (_what, args, reasons) => {
    const events = await told(...args);
    await expect.poll(() => events).toEqual(reasons.map((reason) => ({ type: "store.at-risk", reason })));
  });

  test("one that does not say is used all the same", async () => {
    const { store, hook } = await watchedStore(server, { onEvent: () => expect.fail("nothing is known") });
    hook.current = (command, send) => (command[0] === "INFO" ? Promise.reject(new Error("NOPERM this user has no permissions")) : send());
    await store.set("a", record);
    expect(await store.get("a")).toEqual(record);
  });
});
