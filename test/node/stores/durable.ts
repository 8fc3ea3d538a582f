/** What must survive a power cut: steps of a program, and how what is left of them is found. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { codeOf } from "../../../src/errors.ts";
import { replaceFile, writeNewFile } from "../../../src/node/stores/files.ts";
import type { Keychain } from "../../../src/node/stores/keychain/calls.ts";
import { KeychainStore } from "../../../src/node/stores/keychain/store.ts";
import { SqliteStore } from "../../../src/node/stores/sqlite.ts";
import type { Store } from "../../../src/stores/store.ts";

type Step = (store: Store, folder: string) => unknown;

export interface Promised {
  steps: Step[];
  /** What is found before the first step, and after each; a list: any of these. */
  states: unknown[];
  open?: (place: { app: string; folder: string }) => Store;
  look?: (folder: string) => unknown;
}

const set =
  (n: number, length = 10): Step =>
  (store) =>
    store.set("login", { v: 1, n, text: "x".repeat(length) });

/** In one transaction: all or none. */
const setAll =
  (n: number): Step =>
  (store) =>
    Promise.all(["a", "b", "c"].map((key) => store.set(key, { v: 1, n, text: "x".repeat(3000) })));

/** A keychain that needs no disk. */
function keychain(): Keychain {
  const path = process.env.KEYCHAIN ?? "";
  const entries = (): Record<string, string> =>
    existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as Record<string, string>) : {};
  return {
    getPassword: async (_service, account) => entries()[account] ?? null,
    setPassword: async (_service, account, text) => writeFileSync(path, JSON.stringify({ ...entries(), [account]: text })),
    deletePassword: async () => false,
  };
}

const inFile = (name: string) => (folder: string) =>
  existsSync(join(folder, name)) ? readFileSync(join(folder, name), "utf8") : undefined;

export const promised: Readonly<Record<string, Promised>> = {
  "a record": {
    // The second needs pages of its own, the third frees them.
    steps: [set(1), set(2, 20_000), set(3)],
    states: [undefined, 1, 2, 3],
  },
  "records that are written at once": {
    steps: [setAll(1), setAll(2)],
    states: [",,", "1,1,1", "2,2,2"],
    look: async (folder) => {
      const store = openIn(folder);
      const found = await Promise.all(["a", "b", "c"].map((key) => store.get(key)));
      return found.map((record) => record?.n).join();
    },
  },
  "a record that is written under a lock": {
    steps: [(store) => store.withLock("login", (held) => held.set("login", { v: 1, n: 1 }))],
    states: [undefined, 1],
  },
  "that a record is deleted": { steps: [set(1), (store) => store.delete("login")], states: [undefined, 1, undefined] },
  "that a record is taken": { steps: [set(1), (store) => store.take("login")], states: [undefined, 1, undefined] },
  "a record whose key is in the keychain": {
    steps: [set(1), set(2)],
    states: [undefined, 1, 2],
    open: (place) => new SqliteStore({ ...place, keychain: keychain() }),
  },
  "a record of the keychain store without a keychain": {
    steps: [set(1), set(2)],
    states: [undefined, 1, 2],
    open: (place) => new KeychainStore({ ...place, keychain: false }),
  },
  "a record after a damaged database": {
    steps: [
      set(1),
      async (store, folder) => {
        writeFileSync(join(folder, "new/acme/records.sqlite"), "no database at all ".repeat(500));
        await store.get("login").catch(codeOf);
      },
      set(2),
    ],
    // The damage is never synchronised.
    states: [undefined, 1, [1, undefined], 2],
  },
  "a new file": { steps: [(_store, folder) => writeNewFile(join(folder, "file"), "1")], states: [undefined, "1"], look: inFile("file") },
  "a file that is replaced": {
    steps: [(_store, folder) => replaceFile(join(folder, "file"), "1"), (_store, folder) => replaceFile(join(folder, "file"), "2")],
    states: [undefined, "1", "2"],
    look: inFile("file"),
  },
};

/** The store of a program that has just been started. Two folders are missing on a new disk. */
export function openIn(folder: string, { open }: Pick<Promised, "open"> = {}): Store {
  const place = { app: "acme", folder: join(folder, "new") };
  return open?.(place) ?? new SqliteStore({ ...place, keychain: false });
}

/** What is found on a disk, by the number that was written. */
export async function lookIn(folder: string, what: Promised): Promise<unknown> {
  if (what.look) return what.look(folder);
  return openIn(folder, what)
    .get("login")
    .then((record) => record?.n, codeOf);
}
