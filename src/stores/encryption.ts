import { compactDecrypt } from "jose/jwe/compact/decrypt";
import { McpAuthError } from "../errors.ts";
import type { StoredRecord } from "./store.ts";

/** What encrypts values of a store. */
export interface SealingKey {
  /** Identifies the key. Stored in clear beside what the key has encrypted. */
  readonly kid: string;
  /** For AES-GCM with 256 bits. */
  readonly key: CryptoKey;
}

/** What `seal` makes, and nothing else: no wrapped key, no password, no compression. */
const accepted = { keyManagementAlgorithms: ["dir"], contentEncryptionAlgorithms: ["A256GCM"], maxDecompressedLength: 0 };

/** So many records that are unchanged are not decrypted again. */
const remembered = 256;

// Loaded on demand: a program that only reads starts faster without it.
let encryption: Promise<typeof import("jose/jwe/compact/encrypt")> | undefined;

/**
 * Encrypts a record as a JWE. It is bound to its name in the store.
 *
 * @param text the record as JSON
 * @see RFC 7516, RFC 7518 §5.3
 */
export async function seal({ kid, key }: SealingKey, name: string, text: string): Promise<string> {
  encryption ??= import("jose/jwe/compact/encrypt");
  const { CompactEncrypt } = await encryption;
  return new CompactEncrypt(new TextEncoder().encode(text)).setProtectedHeader({ alg: "dir", enc: "A256GCM", kid, name }).encrypt(key);
}

/** The JSON of a record. @throws McpAuthError `invalid_record` when it is damaged, another record, or was encrypted with another key. */
export async function unseal({ key }: SealingKey, name: string, jwe: string): Promise<string> {
  try {
    const { plaintext, protectedHeader } = await compactDecrypt(jwe, key, accepted);
    if (protectedHeader.name === name) return new TextDecoder().decode(plaintext);
  } catch (cause) {
    throw new McpAuthError("invalid_record", { detail: name, cause });
  }
  throw new McpAuthError("invalid_record", { detail: `${name} is in another's place` });
}

/** @throws McpAuthError `invalid_record` */
export function parseRecord(name: string, text: string): StoredRecord {
  try {
    return JSON.parse(text) as StoredRecord;
  } catch (cause) {
    throw new McpAuthError("invalid_record", { detail: name, cause });
  }
}

/** Encrypts and decrypts the records of a store with one key. What has not changed is not decrypted again. */
export class Cipher {
  readonly #key: SealingKey;
  /** What was encrypted and decrypted last, by name; the oldest first. */
  readonly #known = new Map<string, { readonly jwe: string; readonly text: string }>();

  constructor(key: SealingKey) {
    this.#key = key;
  }

  /** @param text the record as JSON */
  async seal(name: string, text: string): Promise<string> {
    const jwe = await seal(this.#key, name, text);
    this.#remember(name, jwe, text);
    return jwe;
  }

  /** @throws McpAuthError `invalid_record` when it is damaged, another record, or was encrypted with another key. */
  async unseal(name: string, jwe: string): Promise<StoredRecord> {
    const known = this.#known.get(name);
    const text = known?.jwe === jwe ? known.text : await unseal(this.#key, name, jwe);
    const record = parseRecord(name, text);
    this.#remember(name, jwe, text);
    return record;
  }

  #remember(name: string, jwe: string, text: string): void {
    this.#known.delete(name);
    this.#known.set(name, { jwe, text });
    if (this.#known.size <= remembered) return;
    const [oldest = ""] = this.#known.keys();
    this.#known.delete(oldest);
  }
}
