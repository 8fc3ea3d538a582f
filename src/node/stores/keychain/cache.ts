import { fs, join, sha256 } from "../../builtins.ts";
import { readText, secureFolder } from "../files.ts";

interface Cached {
  readonly version: string;
  readonly text: string;
}

/**
 * What was read from a keychain, for as long as no process has written it since: a keychain may ask the user at every read.
 *
 * A small file for each account names the version of its text. It is removed before the text is written, and made again
 * afterwards: while it is missing (somebody writes, or died while writing) nothing is taken from memory.
 */
export class KeychainCache {
  readonly #folder: string;
  readonly #cached = new Map<string, Cached>();
  readonly #reads = new Map<string, Promise<string | null>>();

  /** @param folder where the files are; created when it is needed */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /** The text, or `null`. Who needs the same one at the same time shares one read. */
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

  /** Around a write of the text. `write` resolves to what is stored then. */
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

  /** None where the file cannot be read, and while it is being written, when it is empty: nothing is taken from memory then. */
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
