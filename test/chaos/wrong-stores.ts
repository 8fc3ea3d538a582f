/** Stores that break one promise each: whoever looks for damage must find it here. */
import { mkdirSync, writeFileSync } from "node:fs";
import { appendFile, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { HeldLock, LockOptions, Store, StoredRecord } from "../../src/index.ts";
import { McpAuthError, systemClock } from "../../src/index.ts";
import { FileStore } from "../process/file-store.ts";

export type WrongStore = keyof typeof wrongStores;

export const wrongStores = {
  /** Its locks hold within a process only. */
  "process-locks": (folder: string): Store => new FileStore(join(folder, "files")),
  /** Its locks are files that a process deletes when it has done: if it still can. */
  "lock-files": (folder: string): Store => new LockFiles(join(folder, "files")),
  /** It overwrites records piece by piece. */
  "in-place": (folder: string): Store => new InPlace(join(folder, "files")),
};

class LockFiles extends FileStore {
  readonly #folder: string;

  constructor(folder: string) {
    super(folder);
    this.#folder = folder;
  }

  override async withLock<T>(
    key: string,
    action: (held: HeldLock) => Promise<T>,
    { lockTimeout = 60_000, signal }: LockOptions = {},
  ): Promise<T> {
    mkdirSync(this.#folder, { recursive: true });
    const path = join(this.#folder, `.lock-${encodeURIComponent(key)}`);
    const until = performance.now() + lockTimeout;
    for (;;) {
      try {
        writeFileSync(path, "", { flag: "wx" });
        break;
      } catch {
        if (performance.now() > until) throw new McpAuthError("lock_timeout", { detail: key });
        await systemClock.sleep(5, { signal });
      }
    }
    try {
      const set: HeldLock["set"] = (name, value) => this.set(name, value);
      return await action({ signal: new AbortController().signal, set, delete: (name) => this.delete(name) });
    } finally {
      await rm(path);
    }
  }
}

class InPlace extends FileStore {
  readonly #folder: string;

  constructor(folder: string) {
    super(folder);
    this.#folder = folder;
  }

  override async get(key: string): Promise<StoredRecord | undefined> {
    const text = await readFile(this.#file(key), "utf8").catch(() => undefined);
    return text === undefined ? undefined : (JSON.parse(text) as StoredRecord);
  }

  override async set(key: string, value: StoredRecord): Promise<void> {
    mkdirSync(this.#folder, { recursive: true });
    const text = JSON.stringify(value);
    await writeFile(this.#file(key), "");
    for (let start = 0; start < text.length; start += 4096) await appendFile(this.#file(key), text.slice(start, start + 4096));
  }

  #file(key: string): string {
    return join(this.#folder, encodeURIComponent(key));
  }
}
