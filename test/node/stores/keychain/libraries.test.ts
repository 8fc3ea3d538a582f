/** The libraries for keychains: which of them can be used, and what they are used for. */
import { beforeEach, describe, expect, test, vi } from "vitest";
import { FakeKeychain } from "./support.ts";

/** An entry of `@napi-rs/keyring`; old versions do not look at which store is named. */
class Entry {
  static isOld = false;
  static stored = new Map<string, string>();
  static writes: Promise<void> = Promise.resolve();
  readonly #name: string;
  constructor(service: string, account: string, options?: { linux?: { store?: string } }) {
    this.#name = `${service} ${account}`;
    if (!Entry.isOld && options?.linux?.store === "none") throw new Error("unknown store");
  }
  getPassword = async () => Entry.stored.get(this.#name);
  setPassword = async (password: string) => {
    await Entry.writes;
    Entry.stored.set(this.#name, password);
  };
  deletePassword = async () => Entry.stored.delete(this.#name);
}

/** Loaded anew: what was loaded once is kept. */
async function keyring() {
  vi.resetModules();
  vi.doMock("@napi-rs/keyring", () => ({ AsyncEntry: Entry }));
  const { libraries } = await import("../../../../src/node/stores/keychain/keychain.ts");
  return libraries["@napi-rs/keyring"]();
}

beforeEach(() => {
  Object.assign(Entry, { isOld: false, stored: new Map(), writes: Promise.resolve() });
});

describe("@napi-rs/keyring", () => {
  test("keeps, finds and deletes", async () => {
    const keychain = await keyring();
    await keychain.setPassword("service", "account", "text");
    expect(await keychain.getPassword("service", "account")).toBe("text");
    expect([await keychain.deletePassword("service", "account"), await keychain.getPassword("service", "account")]).toEqual([
      true,
      undefined,
    ]);
  });

  test("has kept a text only when the keychain says so", async () => {
    const writes = Promise.withResolvers<void>();
    Entry.writes = writes.promise;
    const keychain = await keyring();
    let isKept = false;
    const keeping = keychain.setPassword("service", "account", "text").then(() => {
      isKept = true;
    });
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(isKept).toBe(false);
    writes.resolve();
    await keeping;
  });

  test.runIf(process.platform === "linux")(
    "in a version that cannot name its store is not used: it would lose the key at the next start",
    async () => {
      Entry.isOld = true;
      await expect(keyring()).rejects.toThrow("too old");
    },
  );
});

test("a keychain is named in what it fails with", async () => {
  const { openKeychains } = await import("../../../../src/node/stores/keychain/keychain.ts");
  const broken = new FakeKeychain();
  broken.getPassword = () => Promise.reject(new Error("no such interface"));
  for await (const keychain of openKeychains({ keychain: broken }))
    await expect(keychain.getPassword("service", "account")).rejects.toThrow("the app's keychain");
});

test("what is no failure of a keychain is not taken for a locked one", async () => {
  const { findInKeychains } = await import("../../../../src/node/stores/keychain/keychain.ts");
  const bug = new TypeError("a mistake of ours");
  await expect(findInKeychains({ keychain: new FakeKeychain() }, "the key", () => Promise.reject(bug))).rejects.toBe(bug);
});
