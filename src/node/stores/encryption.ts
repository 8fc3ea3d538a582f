import { compactDecrypt } from "jose/jwe/compact/decrypt";
import { McpAuthError } from "../../errors.ts";
import type { StoredRecord } from "../../stores/store.ts";

/** What encrypts the values of one store. */
export interface StoreKey {
  /** Identifies the key. Stored in clear beside what the key has encrypted. */
  readonly kid: string;
  /** For AES-GCM with 256 bits. */
  readonly key: CryptoKey;
  /** Where the key is stored. */
  readonly place: "keychain" | "file";
}

/** What `seal` makes, and nothing else: no wrapped key, no password, no compression. */
const accepted = { keyManagementAlgorithms: ["dir"], contentEncryptionAlgorithms: ["A256GCM"], maxDecompressedLength: 0 };

/** So many records that are unchanged are not decrypted again. */
const remembered = 256;

// Loaded on demand: a program that only reads starts faster without it.
let encryption: Promise<typeof import("jose/jwe/compact/encrypt")> | undefined;

/**
 * Encrypts the records of a store, each as a JWE that is bound to its name in the store.
 *
 * @see RFC 7516, RFC 7518 §5.3
 */
export class Cipher {
  readonly #key: StoreKey;
  /** What was encrypted and decrypted last, by name; the oldest first. */
  readonly #known = new Map<string, { readonly jwe: string; readonly text: string }>();

  constructor(key: StoreKey) {
    this.#key = key;
  }

  /** @param text the record as JSON */
  async seal(name: string, text: string): Promise<string> {
    const { kid, key } = this.#key;
    encryption ??= import("jose/jwe/compact/encrypt");
    const { CompactEncrypt } = await encryption;
    const jwe = await new CompactEncrypt(new TextEncoder().encode(text))
      .setProtectedHeader({ alg: "dir", enc: "A256GCM", kid, name })
      .encrypt(key);
    this.#remember(name, jwe, text);
    return jwe;
  }

  /** @throws McpAuthError `invalid_record` when it is damaged, another record, or was encrypted with another key. */
  async unseal(name: string, jwe: string): Promise<StoredRecord> {
    const known = this.#known.get(name);
    const text = known?.jwe === jwe ? known.text : await this.#decrypt(name, jwe);
    try {
      const record = JSON.parse(text) as StoredRecord;
      this.#remember(name, jwe, text);
      return record;
    } catch (cause) {
      throw new McpAuthError("invalid_record", { detail: name, cause });
    }
  }

  async #decrypt(name: string, jwe: string): Promise<string> {
    try {
      const { plaintext, protectedHeader } = await compactDecrypt(jwe, this.#key.key, accepted);
      if (protectedHeader.name === name) return new TextDecoder().decode(plaintext);
    } catch (cause) {
      throw new McpAuthError("invalid_record", { detail: name, cause });
    }
    throw new McpAuthError("invalid_record", { detail: `${name} is in another's place` });
  }

  #remember(name: string, jwe: string, text: string): void {
    this.#known.delete(name);
    this.#known.set(name, { jwe, text });
    if (this.#known.size <= remembered) return;
    const [oldest = ""] = this.#known.keys();
    this.#known.delete(oldest);
  }
}
