import { mkdir, open, readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { type HeldLock, type LockOptions, MemoryStore, type Store, type StoredRecord } from "../../src/index.ts";

/** Records in files of one folder, written atomically and durably. Its locks hold within the process only. */
export class FileStore implements Store {
  readonly #folder: string;
  readonly #locks = new MemoryStore();
  #writes = 0;

  constructor(folder: string) {
    this.#folder = folder;
  }

  async get(key: string): Promise<StoredRecord | undefined> {
    try {
      return JSON.parse(await readFile(this.#path(key), "utf8")) as StoredRecord;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw error;
    }
  }

  async set(key: string, value: StoredRecord): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const temporary = join(this.#folder, `.${process.pid}-${++this.#writes}`);
    const file = await open(temporary, "wx", 0o600);
    await file.writeFile(JSON.stringify(value));
    await file.sync();
    await file.close();
    await rename(temporary, this.#path(key));
    await this.#sync();
  }

  async delete(key: string): Promise<void> {
    await rm(this.#path(key), { force: true });
  }

  async take(key: string): Promise<StoredRecord | undefined> {
    return this.#locks.withLock(`take/${key}`, async () => {
      const record = await this.get(key);
      await this.delete(key);
      return record;
    });
  }

  async keys(prefix: string): Promise<string[]> {
    const names = await readdir(this.#folder).catch(() => []);
    return names
      .filter((name) => !name.startsWith("."))
      .map(decodeURIComponent)
      .filter((key) => key.startsWith(prefix));
  }

  withLock<T>(key: string, action: (held: HeldLock) => Promise<T>, options?: LockOptions): Promise<T> {
    return this.#locks.withLock(
      key,
      ({ signal }) => action({ signal, set: (k, value) => this.set(k, value), delete: (k) => this.delete(k) }),
      options,
    );
  }

  #path(key: string): string {
    return join(this.#folder, encodeURIComponent(key));
  }

  /** A renamed file is durable when its folder is. */
  async #sync(): Promise<void> {
    const folder = await open(this.#folder);
    await folder.sync();
    await folder.close();
  }
}
