/** What was read from a keychain is kept in memory, until a process writes it. */
import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { KeychainCache } from "../../../../src/node/stores/keychain/cache.ts";
import { temporaryFolder } from "./support.ts";

async function made() {
  const folder = await temporaryFolder();
  const open = () => {
    const cache = new KeychainCache(folder);
    let loads = 0;
    const read = (text: string | null) =>
      cache.read("account", async () => {
        loads++;
        return text;
      });
    return { cache, read, loads: () => loads };
  };
  return { folder, open };
}

test("it is read once a process, and again when another process has written it", async () => {
  const { open } = await made();
  const [one, other] = [open(), open()];
  await one.cache.replace("account", async () => "first");
  expect([await one.read("x"), await other.read("first"), await other.read("x")]).toEqual(["first", "first", "first"]);
  await other.cache.replace("account", async () => "second");
  expect([await one.read("second"), await one.read("x"), one.loads(), other.loads()]).toEqual(["second", "second", 1, 1]);
});

test("those who read at the same time share one read", async () => {
  const { open } = await made();
  await open().cache.replace("account", async () => "text");
  const { read, loads } = open();
  expect(await Promise.all([read("text"), read("text"), read("text")])).toEqual(["text", "text", "text"]);
  expect(loads()).toBe(1);
});

test("what was deleted is not remembered", async () => {
  const { folder, open } = await made();
  const { cache, read, loads } = open();
  await cache.replace("account", async () => "text");
  await cache.replace("account", async () => null);
  expect([await read(null), await read(null), loads(), readdirSync(folder)]).toEqual([null, null, 2, []]);
});

test("a folder in the place of a version is removed by the next write; until then nothing is remembered", async () => {
  const { folder, open } = await made();
  const { cache, read } = open();
  await cache.replace("account", async () => "text");
  const [version = ""] = readdirSync(folder);
  rmSync(join(folder, version));
  mkdirSync(join(folder, version, "deeper"), { recursive: true });
  expect(await read("newer")).toBe("newer");
  await cache.replace("account", async () => "newest");
  expect(await read("x")).toBe("newest");
});
