/** What has been confirmed survives a power cut at any moment, on a disk that keeps only what was synchronised. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { lookIn, promised } from "./durable.ts";

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "mcp-client-auth-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

let library: string;
beforeAll(() => {
  if (process.platform !== "linux") return;
  library = join(mkdtempSync(join(tmpdir(), "mcp-client-auth-")), "synced.so");
  execFileSync("cc", ["-shared", "-fPIC", "-o", library, join(import.meta.dirname, "synced.c")]);
});
afterAll(() => rmSync(join(library, ".."), { recursive: true, force: true }));

/** Plays the program; it says `T`. */
function run<T>(what: string) {
  const [folder, synced, others] = [temporaryFolder(), temporaryFolder(), temporaryFolder()];
  const keychain = join(others, "keychain");
  const fault = join(others, "fault");
  const stdout = execFileSync(process.execPath, [join(import.meta.dirname, "durable-process.ts"), what], {
    env: { ...process.env, LD_PRELOAD: library, SYNCED: synced, SYNC_FAULT: fault, KEYCHAIN: keychain, FOLDER: folder, NODE_OPTIONS: "" },
    stdio: ["ignore", "pipe", "inherit"],
    encoding: "utf8",
  });
  return { said: JSON.parse(stdout) as T, folder, keychain, synced: read(synced) };
}

interface Synced {
  /** How many synchronisations there were then. */
  at: number;
  kind: string;
  id: string;
  content: Buffer;
}

function read(folder: string): Synced[] {
  return readdirSync(folder)
    .sort()
    .map((name) => {
      const [at = "", kind = "", id = ""] = name.split("-");
      return { at: Number(at), kind, id, content: readFileSync(join(folder, name)) };
    });
}

/** Which names survive: those of folders that were synchronised, or also those that were there when a file in the folder was. */
const disks = { "writes names late": ["folder"], "writes names early": ["folder", "names"] } as const;

/** The disk after a power cut, as a folder. `synced` is what happened before. */
function restored(synced: Synced[], root: string, kinds: readonly string[]): string {
  const last = (id: string, ...wanted: string[]) => synced.findLast((one) => one.id === id && wanted.includes(one.kind))?.content ?? "";
  const restore = (id: string, path: string) => {
    for (const line of String(last(id, ...kinds)).split("\n")) {
      const [type = "", child = "", ...name] = line.split(" ");
      const at = join(path, name.join(" "));
      // A file whose content was never synchronised is empty.
      if (type === "file") writeFileSync(at, last(child, "file"));
      if (type !== "folder") continue;
      mkdirSync(at, { mode: 0o700 });
      restore(child, at);
    }
  };
  const target = temporaryFolder();
  restore(root, target);
  return target;
}

function identity(path: string): string {
  const { ino, birthtimeNs } = statSync(path, { bigint: true });
  return `${ino}.${birthtimeNs / 1_000_000_000n}.${birthtimeNs % 1_000_000_000n}`;
}

describe.runIf(process.platform === "linux")("a power cut at any moment loses nothing that was confirmed", () => {
  test.each(Object.entries(promised))("%s", async (name, what) => {
    const { said, folder, keychain, synced } = run<number[]>(name);
    vi.stubEnv("KEYCHAIN", keychain);
    const end = synced.at(-1)?.at ?? 0;
    for (const [disk, kinds] of Object.entries(disks)) {
      for (let at = 0; at <= end; at++) {
        const done = said.filter((count) => count <= at).length;
        const before = synced.filter((one) => one.at <= at);
        const found = await lookIn(restored(before, identity(folder), kinds), what);
        // What was on its way may be there already.
        const possible = what.states.slice(done, done + 2).flat();
        const moment = `${at} of ${end} synchronisations, ${done} of ${said.length} steps, on a disk that ${disk}`;
        expect(possible, moment).toContain(found);
      }
    }
    expect(said).toEqual(what.steps.map(() => expect.any(Number)));
    expect(said.at(-1)).toBe(end);
  });
});

test.runIf(process.platform === "linux")("a disk that cannot synchronise: an error, no half-made key, and the old record stays", () => {
  expect(run("faulty").said).toEqual([
    ...["store_failed", null, "ok", "store_failed", { v: 1, n: 2 }, "ok", { v: 1, n: 4 }],
    // Several at once: each gets the error, or the next transaction.
    ...[["store_failed", "store_failed"], { v: 1, n: 4 }, ["ok", "ok"], { v: 1, n: 8 }],
  ]);
});
