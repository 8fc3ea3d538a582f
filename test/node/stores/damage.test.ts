/**
 * Every file of ours in every state that a crash, a disk or a hand may leave it in. Whatever is called: a typed error that is
 * not transient, or a repaired state; no login is lost that could be kept, and there is never a second key.
 */
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { McpAuthError } from "../../../src/index.ts";
import { sha256 } from "../../../src/node/builtins.ts";
import { readMcpRemote } from "../../../src/node/mcp-remote/files.ts";
import { KeychainStore } from "../../../src/node/stores/keychain/store.ts";
import { SqliteStore } from "../../../src/node/stores/sqlite.ts";
import type { Store } from "../../../src/stores/store.ts";
import { FakeKeychain } from "./keychain/support.ts";

const login = { v: 1, refreshToken: "the-only-one" };
const lockTable = join("locks", "held.sqlite");

/** What takes the place of a file, which held `before`. */
const damages: Record<string, (path: string, before: Buffer) => void> = {
  empty: (path) => writeFileSync(path, ""),
  torn: (path, before) => writeFileSync(path, before.subarray(0, before.length / 2)),
  zeros: (path, before) => writeFileSync(path, Buffer.alloc(before.length)),
  "not UTF-8": (path) => writeFileSync(path, Buffer.alloc(2000, 0xff)),
  null: (path) => writeFileSync(path, "null"),
  huge: (path) => {
    writeFileSync(path, "");
    // Sparse: it takes no space.
    truncateSync(path, 3 * 2 ** 30);
  },
  "a folder": (path) => {
    mkdirSync(path);
    writeFileSync(join(path, "inside"), "");
  },
  "a link": (path, before) => {
    writeFileSync(`${path}.elsewhere`, before);
    symlinkSync(`${path}.elsewhere`, path);
  },
  "a link to itself": (path) => symlinkSync(path, path),
  "a link to nothing": (path) => symlinkSync(`${path}.nowhere`, path),
  "a pipe": (path) => void execFileSync("mkfifo", [path]),
};
type Damage = keyof typeof damages;

/** `kept`: everything goes on. `aside`: the database is set aside, once, and what it was is there. Otherwise the code. */
type Outcome = "kept" | "aside" | "empty" | "store_unusable";
const all = (outcome: Outcome, others: Partial<Record<Damage, Outcome>> = {}): Record<Damage, Outcome> => ({
  ...Object.fromEntries(Object.keys(damages).map((name) => [name, outcome])),
  ...(others as Record<Damage, Outcome>),
});
const notFiles = { "a folder": "store_unusable", "a link": "store_unusable", "a link to itself": "store_unusable" } as const;
const noFiles = { ...notFiles, "a link to nothing": "store_unusable", "a pipe": "store_unusable" } as const;

interface Case {
  file: string;
  /** Who uses the folder, as a process that has just been started. */
  open: (folder: string, keychain: FakeKeychain) => Store;
  outcomes: Record<Damage, Outcome>;
}

const sqlite = (folder: string) => new SqliteStore({ app: "acme", folder, keychain: false });
const sqliteWithKeychain = (folder: string, keychain: FakeKeychain) => new SqliteStore({ app: "acme", folder, keychain });
const inKeychain = (folder: string, keychain: FakeKeychain) => new KeychainStore({ app: "acme", folder, keychain });
const inKeychainsPlace = (folder: string) => new KeychainStore({ app: "acme", folder, keychain: false });

const cases: Record<string, Case> = {
  "the key file": { file: "key", open: sqlite, outcomes: all("store_unusable") },
  "the name of the key in the keychain": { file: "keychain.json", open: sqliteWithKeychain, outcomes: all("store_unusable") },
  "the database": {
    file: "records.sqlite",
    open: sqlite,
    outcomes: all("aside", { empty: "empty", ...noFiles }),
  },
  "its journal": { file: "records.sqlite-journal", open: sqlite, outcomes: all("kept", noFiles) },
  "the table of locks": { file: lockTable, open: sqlite, outcomes: all("kept", noFiles) },
  "its journal, too": { file: `${lockTable}-journal`, open: sqlite, outcomes: all("kept", noFiles) },
  "the word where the keychain store keeps records": { file: "keychain-store.json", open: inKeychain, outcomes: all("store_unusable") },
  "the same, of one that has no keychain": { file: "keychain-store.json", open: inKeychainsPlace, outcomes: all("store_unusable") },
  "the version of a record in the keychain": {
    file: join("keychain", sha256("record:login").slice(0, 32)),
    open: inKeychain,
    outcomes: all("kept"),
  },
};

const table = Object.entries(cases).flatMap(([name, { outcomes, ...rest }]) =>
  Object.entries(outcomes).map(([damage, outcome]) => ({ name, damage, outcome, ...rest })),
);

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "mcp-client-auth-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Everything that a store is asked, as `CODE` or `ok`; what is no typed error fails the test. */
async function askEverything(store: Store): Promise<Record<string, string>> {
  const calls: Record<string, () => Promise<unknown>> = {
    status: async () => store.status?.(),
    get: () => store.get("login"),
    keys: () => store.keys(""),
    take: () => store.take("nothing"),
    delete: () => store.delete("nothing"),
    set: () => store.set("other", { v: 1 }),
    lock: () => store.withLock("refresh", (held) => held.set("third", { v: 1 }), { lockTimeout: 5000 }),
  };
  const said: Record<string, string> = {};
  for (const [name, call] of Object.entries(calls)) {
    said[name] = await call().then(
      () => "ok",
      (error: unknown) => {
        if (!(error instanceof McpAuthError)) throw error;
        expect(error.transient, `${name}: ${error.message}`).toBe(error.code === "store_damaged");
        return error.code;
      },
    );
  }
  return said;
}

beforeEach(() => {
  delete process.env.MCP_AUTH_KEYCHAIN;
});

test.each(table)("$name, $damage: $outcome", async ({ file, open, damage, outcome }) => {
  const folder = temporaryFolder();
  const keychain = new FakeKeychain();
  const [app, whole] = [join(folder, "acme"), join(folder, "whole")];
  const path = join(app, file);
  const first = open(folder, keychain);
  await first.withLock("refresh", (held) => held.set("login", login));
  const keys = () => [...keychain.entries.keys()].filter((name) => !/ (record:|index|part:)/.test(name)).length;
  const [keysBefore, key] = [keys(), readKey(app)];
  cpSync(app, whole, { recursive: true });
  mkdirSync(dirname(path), { recursive: true });
  const before = existing(path) ?? Buffer.from("no journal at all");
  rmSync(path, { force: true });
  damages[damage]?.(path, before);

  const store = open(folder, keychain);
  const said = await askEverything(store);
  const codes = new Set(Object.values(said).filter((code) => code !== "ok"));
  const expected = { kept: [], empty: [], aside: ["store_damaged"], store_unusable: ["store_unusable"] }[outcome];
  expect([...codes], JSON.stringify(said)).toEqual(expected);
  if (outcome === "kept") expect(await store.get("login")).toEqual(login);
  if (outcome === "aside") expect(readdirSync(app).filter((name) => name.startsWith("records.sqlite.damaged-"))).toHaveLength(1);

  // No second key; and once the file is back, so is the login.
  expect(keys()).toBe(keysBefore);
  if (file !== "key") expect(readKey(app)).toBe(key);
  rmSync(path, { recursive: true, force: true });
  if (existing(join(whole, file))) cpSync(join(whole, file), path);
  expect(await open(folder, keychain).get("login")).toEqual(login);
});

const readKey = (app: string) => existing(join(app, "key"))?.toString();

function existing(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch {
    return undefined;
  }
}

describe("a folder of ours", () => {
  test.each([
    ["the app's", "acme"],
    ["that of the locks", "acme/locks"],
    ["that of the keychain's versions", "acme/keychain"],
  ])("%s, where something else is: store_unusable, and the login is there once it has gone", async (_, name) => {
    for (const damage of ["empty", "a link to itself", "a link to nothing", "a pipe"]) {
      const folder = temporaryFolder();
      const keychain = new FakeKeychain();
      const open = name.endsWith("keychain") ? inKeychain : sqlite;
      await open(folder, keychain).set("login", login);
      const [path, aside] = [join(folder, name), join(folder, "aside")];
      cpSync(path, aside, { recursive: true });
      rmSync(path, { recursive: true });
      damages[damage]?.(path, Buffer.from(""));
      const said = await askEverything(open(folder, keychain));
      expect([damage, said]).toEqual([damage, expect.objectContaining({ [name.endsWith("keychain") ? "set" : "lock"]: "store_unusable" })]);
      expect(new Set(Object.values(said).filter((code) => code !== "ok"))).toEqual(new Set(["store_unusable"]));
      rmSync(path);
      cpSync(aside, path, { recursive: true });
      expect(await open(folder, keychain).get("login")).toEqual(login);
    }
  });
});

describe("files of mcp-remote", () => {
  const url = "https://mcp.example.com/mcp";
  const path = (folder: string, ending: string) =>
    join(folder, "mcp-remote-v1", `${process.getBuiltinModule("node:crypto").hash("md5", url)}_${ending}`);

  test.each(["tokens.json", "client_info.json"].flatMap((file) => Object.keys(damages).map((damage) => ({ file, damage }))))(
    "$file, $damage: a line in `problems`, and the other file is used",
    async ({ file, damage }) => {
      const folder = temporaryFolder();
      mkdirSync(join(folder, "mcp-remote-v1"));
      const whole = { "tokens.json": { access_token: "a", refresh_token: "r" }, "client_info.json": { client_id: "c" } };
      for (const [name, content] of Object.entries(whole)) writeFileSync(path(folder, name), JSON.stringify(content));
      const spoilt = path(folder, file);
      const before = readFileSync(spoilt);
      rmSync(spoilt);
      damages[damage]?.(spoilt, before);
      const { logins, problems } = await readMcpRemote(url, { folder });
      // A link may lead to a file of this user, as an administrator sets it up.
      const isRead = damage === "a link";
      const isMissing = damage === "a link to nothing";
      expect(problems).toEqual(isRead || isMissing ? [] : [expect.stringContaining(spoilt)]);
      expect(logins).toHaveLength(1);
      const [{ tokens, client } = {}] = logins;
      expect([tokens?.refreshToken, client?.clientId]).toEqual([
        isRead || file !== "tokens.json" ? "r" : undefined,
        isRead || file !== "client_info.json" ? "c" : undefined,
      ]);
    },
  );
});
