/** The one key of a folder. */
import { readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { chmod, mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { openKey } from "../../../src/node/stores/key.ts";
import { FileLocks } from "../../../src/node/stores/lock.ts";
import type { KeyOptions } from "../../../src/node/stores/options.ts";
import { FakeKeychain, temporaryFolder, WindowsKeychain } from "./keychain/support.ts";

async function appFolder() {
  const folder = join(await temporaryFolder(), "acme");
  const open = (options: KeyOptions) =>
    openKey({ keychainTimeout: 50, ...options, folder, locks: new FileLocks(join(folder, "locks")) }).then(({ kid, place }) => ({
      kid,
      place,
    }));
  return { folder, open, files: () => readdirSync(folder).filter((name) => name !== "locks") };
}

const failures: [name: string, keychain: () => FakeKeychain | false, code: string][] = [
  ["is switched off", () => false, "keychain_unavailable"],
  ["cannot be reached", () => failing("Cannot autolaunch D-Bus without X11 $DISPLAY"), "keychain_unavailable"],
  ["is locked", () => failing("Cannot create an item in a locked collection"), "keychain_locked"],
  ["asks and is refused", () => failing("User canceled the operation."), "keychain_refused"],
  ["hangs", () => hanging(), "keychain_timeout"],
];

function failing(message: string): FakeKeychain {
  const keychain = new FakeKeychain();
  keychain.before = () => {
    throw new Error(message);
  };
  return keychain;
}

function hanging(): FakeKeychain {
  const keychain = new FakeKeychain();
  keychain.before = () => new Promise(() => {});
  return keychain;
}

describe("the first key", () => {
  test("goes to the keychain; the folder only names it", async () => {
    const { folder, open, files } = await appFolder();
    const keychain = new FakeKeychain();
    const { kid, place } = await open({ keychain });
    expect(place).toBe("keychain");
    expect(files()).toEqual(["keychain.json"]);
    expect(JSON.parse(readFileSync(join(folder, "keychain.json"), "utf8"))).toEqual({ v: 1, kid });
    expect([...keychain.entries.keys()]).toEqual([`mcp-client-auth acme ${kid}`]);
    expect(keychain.calls).toEqual([`set acme ${kid}`, `get acme ${kid}`]);
  });

  test("is read once a process, and made known to all that ask at once", async () => {
    const { open } = await appFolder();
    const keychain = new FakeKeychain();
    const keys = await Promise.all(Array.from({ length: 10 }, () => open({ keychain })));
    expect(new Set(keys.map(({ kid }) => kid)).size).toBe(1);
    expect(keychain.calls).toHaveLength(2);
  });

  test.each(failures)("where the keychain %s it goes to a file that only this user can read", async (_, keychain) => {
    const { folder, open, files } = await appFolder();
    const { kid, place } = await open({ keychain: keychain() });
    expect([place, files()]).toEqual(["file", ["key"]]);
    expect(statSync(join(folder, "key")).mode & 0o777).toBe(0o600);
    // And stays there, also where a keychain works.
    const working = new FakeKeychain();
    expect(await open({ keychain: working })).toEqual({ kid, place: "file" });
    expect(working.calls).toEqual([]);
  });

  test.each(failures)("where the keychain %s, and the app wants no file, it gets the error", async (_, keychain, code) => {
    const { open, files } = await appFolder();
    await expect(open({ keychain: keychain(), keychainFailure: "error" })).rejects.toMatchObject({ code });
    expect(files()).toEqual([]);
  });

  test("a keychain that does not keep what is written is none", async () => {
    const { open } = await appFolder();
    const keychain = new FakeKeychain();
    keychain.before = () => keychain.entries.clear();
    expect(await open({ keychain })).toMatchObject({ place: "file" });
  });

  describe("that somebody made without the lock stays", () => {
    const theirs = { v: 1, kid: "theirs", k: Buffer.alloc(32, 7).toString("base64url") };

    test("in a file", async () => {
      const { folder, open } = await appFolder();
      const keychain = new FakeKeychain();
      keychain.before = () => {
        writeFileSync(join(folder, "key"), JSON.stringify(theirs));
        throw new Error("Cannot autolaunch D-Bus without X11 $DISPLAY");
      };
      expect(await open({ keychain })).toEqual({ kid: "theirs", place: "file" });
      expect(JSON.parse(readFileSync(join(folder, "key"), "utf8"))).toEqual(theirs);
    });

    test("in the keychain", async () => {
      const { folder, open } = await appFolder();
      const keychain = new FakeKeychain();
      keychain.entries.set("mcp-client-auth acme theirs", JSON.stringify(theirs));
      keychain.before = () => writeFileSync(join(folder, "keychain.json"), JSON.stringify({ v: 1, kid: "theirs" }));
      expect(await open({ keychain })).toEqual({ kid: "theirs", place: "keychain" });
      expect(JSON.parse(readFileSync(join(folder, "keychain.json"), "utf8"))).toEqual({ v: 1, kid: "theirs" });
    });
  });

  test("fits into the smallest keychain, and two folders of one app do not take each other's", async () => {
    const [one, two] = [await appFolder(), await appFolder()];
    const keychain = new WindowsKeychain();
    const kids = [await one.open({ keychain }), await two.open({ keychain })].map(({ kid }) => kid);
    expect(new Set(kids).size).toBe(2);
    expect(keychain.entries.size).toBe(2);
  });
});

describe("a key that lives in the keychain", () => {
  /** As another process finds it: nothing is remembered. */
  async function elsewhere() {
    const { folder, open, files } = await appFolder();
    await mkdir(folder, { recursive: true });
    const kid = crypto.randomUUID();
    const key = JSON.stringify({ v: 1, kid, k: Buffer.alloc(32, 7).toString("base64url") });
    writeFileSync(join(folder, "keychain.json"), JSON.stringify({ v: 1, kid }));
    const keychain = new FakeKeychain();
    keychain.entries.set(`mcp-client-auth acme ${kid}`, key);
    return { open, files, kid, key, keychain };
  }

  test("is read from there, once", async () => {
    const { open, kid, keychain } = await elsewhere();
    const keys = await Promise.all([open({ keychain }), open({ keychain }), open({ keychain })]);
    expect(keys).toEqual(Array.from({ length: 3 }, () => ({ kid, place: "keychain" })));
    await open({ keychain });
    expect(keychain.calls).toEqual([`get acme ${kid}`]);
  });

  test.each([...failures, ["answers null, as keytar does when it is locked", () => new FakeKeychain(), undefined]] as const)(
    "where the keychain %s: keychain_locked, never a second key",
    async (_, keychain, cause) => {
      for (const keychainFailure of ["key-file", "error"] as const) {
        const { open, files } = await elsewhere();
        const error: unknown = await open({ keychain: keychain(), keychainFailure }).catch((error: unknown) => error);
        expect(error).toMatchObject({ code: "keychain_locked", hint: expect.stringContaining("Unlock") });
        expect((error as { cause?: { code: string } }).cause?.code).toBe(cause);
        expect(files()).toEqual(["keychain.json"]);
      }
    },
  );

  test.each([
    ["another key", { kid: "other" }],
    ["a short key", { k: "AAAA" }],
    ["a later version", { v: 2 }],
  ])("is not mistaken for %s", async (_, change) => {
    const { open, kid, key, keychain } = await elsewhere();
    keychain.entries.set(`mcp-client-auth acme ${kid}`, JSON.stringify({ ...JSON.parse(key), ...change }));
    await expect(open({ keychain })).rejects.toMatchObject({ code: "keychain_locked" });
  });

  test("is had as soon as the keychain is unlocked", async () => {
    const { open, kid, keychain } = await elsewhere();
    keychain.before = () => {
      throw new Error("locked");
    };
    await expect(open({ keychain })).rejects.toMatchObject({ code: "keychain_locked" });
    keychain.before = () => {};
    expect(await open({ keychain })).toEqual({ kid, place: "keychain" });
  });
});

describe("a key file", () => {
  test("that others could read is mended", async () => {
    const { folder, open } = await appFolder();
    const { kid } = await open({ keychain: false });
    await chmod(join(folder, "key"), 0o644);
    expect(await open({ keychain: false })).toEqual({ kid, place: "file" });
    expect(statSync(join(folder, "key")).mode & 0o777).toBe(0o600);
  });

  test("that is damaged is an error, and left as it is", async () => {
    const { folder, open } = await appFolder();
    await open({ keychain: false });
    const secret = "c2VjcmV0c2VjcmV0";
    writeFileSync(join(folder, "key"), `{"v":1,"k":"${secret}`);
    const error: unknown = await open({ keychain: false }).catch((error: unknown) => error);
    expect(error).toMatchObject({ code: "store_unusable", transient: false });
    expect(String(error)).not.toContain(secret);
    expect(readFileSync(join(folder, "key"), "utf8")).toContain(secret);
  });

  test("that is a link is refused", async () => {
    const { folder, open } = await appFolder();
    await open({ keychain: false });
    const target = join(folder, "..", "elsewhere");
    writeFileSync(target, readFileSync(join(folder, "key")));
    await rm(join(folder, "key"));
    symlinkSync(target, join(folder, "key"));
    await expect(open({ keychain: false })).rejects.toMatchObject({ code: "store_unusable" });
  });

  test("that cannot be written is an error, and the next attempt succeeds", async () => {
    const { folder, open } = await appFolder();
    writeFileSync(folder, "in the way");
    await expect(open({ keychain: false })).rejects.toMatchObject({ code: "store_unusable" });
    await rm(folder);
    expect(await open({ keychain: false })).toMatchObject({ place: "file" });
  });
});
