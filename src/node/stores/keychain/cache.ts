import { fs, join, sha256 } from "../../builtins.ts";
import { readText, secureFolder } from "../files.ts";

interface Cached {
  readonly version: string;
  readonly text: string;
}

/**
 * Caches what was read from a keychain until a process writes it: a keychain may ask the user at each read.
 *
 * For each account a small file holds the version of its text. The file is deleted before a write and created again
 * afterwards. While it is missing (a process writes, or died while writing) the cache is not used.
 */
export class KeychainCache {
  readonly #folder: string;
  readonly #cached = new Map<string, Cached>();
  readonly #reads = new Map<string, Promise<string | null>>();

  /** @param folder where the files are; created when needed */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /** The text, or `null`. Concurrent readers share one read. */
  async read(account: string, load: () => Promise<string | null>): Promise<string | null> {
    const version = this.#version(account);
    if (!version) return load();
    const cached = this.#cached.get(account);
    if (cached?.version === version) return cached.text;
    const id = `${version} ${account}`;
    const reading = this.#reads.get(id) ?? load().finally(() => this.#reads.delete(id));
    this.#reads.set(id, reading);
    const text = await reading;
    if (text !== null) this.#cached.set(account, { version, text });
    return text;
  }

  /** Runs a write of the text. `write` resolves to what is stored afterwards. */
  async replace(account: string, write: () => Promise<string | null>): Promise<void> {
    secureFolder(this.#folder);
    fs.rmSync(this.#fileOf(account), { force: true, recursive: true });
    this.#cached.delete(account);
    const text = await write();
    if (text === null) return;
    const version = crypto.randomUUID();
    fs.writeFileSync(this.#fileOf(account), version, { mode: 0o600 });
    this.#cached.set(account, { version, text });
  }

  /** `undefined` when the file cannot be read, or is empty because it is being written: the cache is not used then. */
  #version(account: string): string | undefined {
    try {
      return readText(this.#fileOf(account)) || undefined;
    } catch {
      return undefined;
    }
  }

  #fileOf(account: string): string {
    return join(this.#folder, sha256(account).slice(0, 32));
  }
}
