import { McpAuthError } from "../../../errors.ts";
import type { Keychain } from "./calls.ts";

/** A long text is stored in parts, in one of two slots: the other slot keeps the old text until the new one is complete. */
type Place = "a" | "b";

/** The entry of an account whose text is in parts. Each part begins with the ID. */
interface Head {
  readonly place: Place;
  readonly count: number;
  readonly id: string;
}

/** How often a text is read again after it was replaced during the read. */
const attempts = 20;

/**
 * Stores JSON texts of any length in a keychain. A crash at any moment leaves the old text or the new one.
 *
 * Several processes may read at the same time, one may write. Texts are written as ASCII: keychains differ in the bytes they
 * use for a character, and some stop at a NUL.
 */
export class KeychainEntries {
  readonly #keychain: Keychain;
  readonly #service: string;
  readonly #partSize: number;

  /** @param partSize the longest text that one entry of the keychain takes, in characters */
  constructor(keychain: Keychain, service: string, partSize: number) {
    this.#keychain = keychain;
    this.#service = service;
    this.#partSize = partSize;
  }

  /**
   * The text, or `null`.
   *
   * @throws McpAuthError `invalid_record` when it is torn; what the keychain throws.
   */
  async read(account: string): Promise<string | null> {
    let before: string | undefined;
    for (let attempt = 0; attempt < attempts; attempt++) {
      const text = await this.#get(account);
      const head = parseHead(text);
      if (!head) return text;
      const parts = await this.#join(account, head);
      if (parts !== undefined) return parts;
      // The same head twice without its parts: no process is replacing the text.
      if (text === before) break;
      before = text ?? undefined;
    }
    throw new McpAuthError("invalid_record", { detail: `${account}: parts are missing` });
  }

  /** @throws McpAuthError `invalid_option` when the keychain changes the text; what the keychain throws. */
  async write(account: string, json: string): Promise<void> {
    const text = json.replace(/[\u007f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
    const before = parseHead(await this.#get(account));
    if (text.length <= this.#partSize) {
      await this.#set(account, text);
      if (before) await this.#clear(account, before.place);
      return;
    }
    const head: Head = { place: before?.place === "a" ? "b" : "a", count: Math.ceil(text.length / this.#size), id: crypto.randomUUID() };
    for (let i = 0; i < head.count; i++) {
      await this.#set(partOf(account, head.place, i), head.id + text.slice(i * this.#size, (i + 1) * this.#size));
    }
    await this.#set(account, formatHead(head));
    if (before) await this.#clear(account, before.place);
  }

  /** Deletes a text, and parts that a crash may have left. Resolves to whether there was one. */
  async delete(account: string): Promise<boolean> {
    const had = await this.#keychain.deletePassword(this.#service, account);
    for (const place of ["a", "b"] as const) await this.#clear(account, place);
    return had;
  }

  async #join(account: string, { place, count, id }: Head): Promise<string | undefined> {
    let text = "";
    for (let i = 0; i < count; i++) {
      const part = await this.#get(partOf(account, place, i));
      if (!part?.startsWith(id)) return undefined;
      text += part.slice(id.length);
    }
    return text;
  }

  /** Deletes parts, also those that a crash has left. The last part is deleted first: a second crash leaves no gap that hides others. */
  async #clear(account: string, place: Place): Promise<void> {
    let end = 0;
    while ((await this.#get(partOf(account, place, end))) !== null) end++;
    for (let i = end - 1; i >= 0; i--) await this.#keychain.deletePassword(this.#service, partOf(account, place, i));
  }

  get #size(): number {
    return this.#partSize - 36;
  }

  #get(account: string): Promise<string | null> {
    return this.#keychain.getPassword(this.#service, account);
  }

  /** Some keychains silently truncate a text that is too long for them. */
  async #set(account: string, text: string): Promise<void> {
    await this.#keychain.setPassword(this.#service, account, text);
    if ((await this.#get(account)) === text) return;
    throw new McpAuthError("invalid_option", {
      detail: `the keychain does not keep ${text.length} characters as they are`,
      hint: "Set a smaller `partSize`.",
    });
  }
}

function partOf(account: string, place: Place, index: number): string {
  return `part:${place}${index}:${account}`;
}

function formatHead({ place, count, id }: Head): string {
  return `parts:${place}:${count}:${id}`;
}

/** `undefined` for a text that is not in parts. JSON never begins like a head. */
function parseHead(text: string | null): Head | undefined {
  const [, place, count, id = ""] = /^parts:([ab]):(\d+):(.{36})$/.exec(text ?? "") ?? [];
  return place === "a" || place === "b" ? { place, count: Number(count), id } : undefined;
}
