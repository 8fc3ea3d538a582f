import { decodeProtectedHeader } from "jose/decode/protected_header";
import { McpAuthError } from "../../errors.ts";
import { base64url } from "../../http/base64url.ts";
import { parseRecord, type SealingKey, seal, unseal } from "../../stores/encryption.ts";
import type { StoredRecord } from "../../stores/store.ts";

/** 32 bytes as base64 or base64url. */
const form = /^[\w+/-]{43}=?$/;

/** Whether it has the form of a key: 32 bytes as base64url or base64. */
export function isStoreKey(value: unknown): value is string {
  return typeof value === "string" && form.test(value);
}

/**
 * Makes a key for a store's key ring: 32 random bytes as base64url. Keep it where the app keeps its secrets.
 *
 * @example
 * ```sh
 * node --input-type=module --eval 'import("mcp-client-auth/redis").then((redis) => console.log(redis.generateStoreKey()))'
 * ```
 */
export function generateStoreKey(): string {
  return base64url(crypto.getRandomValues(new Uint8Array(32)));
}

/**
 * The keys that encrypt values: new ones with the first, any of them reads. A value names its key by the thumbprint of RFC 7638:
 * no two keys share an ID, so that a wrong key is never mistaken for a damaged value.
 */
export class KeyRing {
  readonly #texts: readonly string[];
  #imported: Promise<readonly SealingKey[]> | undefined;

  /** @param texts the keys, newest first */
  constructor(texts: readonly string[]) {
    this.#texts = texts;
  }

  async seal(name: string, record: StoredRecord): Promise<string> {
    return seal(await this.#newest(), name, JSON.stringify(record));
  }

  /** @throws McpAuthError `store_unusable` when its key is not here; `invalid_record` when it is damaged, or another's */
  async unseal(name: string, jwe: string): Promise<StoredRecord> {
    const kid = keyIdOf(name, jwe);
    const key = (await this.#keys()).find((known) => known.kid === kid);
    if (key) return parseRecord(name, await unseal(key, name, jwe));
    // Not `invalid_record`: that would be replaced by a new one, and this one can be read by who has its key.
    throw new McpAuthError("store_unusable", {
      detail: `${name} is encrypted with a key that is not in \`keys\``,
      hint: "Add to `keys` the key that the other machines use; a key leaves the ring only after `rotateKeys()` everywhere.",
    });
  }

  /** Whether it is encrypted with the newest key. */
  async isNewest(name: string, jwe: string): Promise<boolean> {
    return keyIdOf(name, jwe) === (await this.#newest()).kid;
  }

  async #newest(): Promise<SealingKey> {
    const [newest] = await this.#keys();
    return newest as SealingKey;
  }

  #keys(): Promise<readonly SealingKey[]> {
    this.#imported ??= Promise.all(this.#texts.map(imported));
    return this.#imported;
  }
}

async function imported(text: string): Promise<SealingKey> {
  const bytes = Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (character) => character.charCodeAt(0));
  const thumbprint = new TextEncoder().encode(JSON.stringify({ k: base64url(bytes), kty: "oct" }));
  return {
    kid: base64url(new Uint8Array(await crypto.subtle.digest("SHA-256", thumbprint))),
    key: await crypto.subtle.importKey("raw", bytes, "AES-GCM", false, ["encrypt", "decrypt"]),
  };
}

function keyIdOf(name: string, jwe: string): string | undefined {
  try {
    return decodeProtectedHeader(jwe).kid;
  } catch (cause) {
    throw new McpAuthError("invalid_record", { detail: name, cause });
  }
}
