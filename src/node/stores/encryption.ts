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

/**
 * Encrypts a record as a JWE. It is bound to its name in the store.
 *
 * @see RFC 7516, RFC 7518 §5.3
 */
export async function seal({ kid, key }: StoreKey, name: string, record: StoredRecord): Promise<string> {
  // Loaded on demand: a program that only reads starts faster without it.
  const { CompactEncrypt } = await import("jose/jwe/compact/encrypt");
  return new CompactEncrypt(new TextEncoder().encode(JSON.stringify(record)))
    .setProtectedHeader({ alg: "dir", enc: "A256GCM", kid, name })
    .encrypt(key);
}

/** @throws McpAuthError `invalid_record` when it is damaged, another record, or was encrypted with another key. */
export async function unseal({ key }: StoreKey, name: string, jwe: string): Promise<StoredRecord> {
  try {
    const { plaintext, protectedHeader } = await compactDecrypt(jwe, key, accepted);
    if (protectedHeader.name === name) return JSON.parse(new TextDecoder().decode(plaintext)) as StoredRecord;
  } catch (cause) {
    throw new McpAuthError("invalid_record", { detail: name, cause });
  }
  throw new McpAuthError("invalid_record", { detail: `${name} is in another's place` });
}
