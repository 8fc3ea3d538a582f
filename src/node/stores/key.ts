import { McpAuthError } from "../../errors.ts";
import { members } from "../../http/json.ts";
import type { SealingKey } from "../../stores/encryption.ts";
import { basename, join } from "../builtins.ts";
import { typed } from "./error.ts";
import { fileAt, readText, secureFile, secureFolder, unusable, writeNewFile } from "./files.ts";
import { isKeychainError } from "./keychain/error.ts";
import { findInKeychains, keychainService, openKeychains } from "./keychain/keychain.ts";
import type { FileLocks } from "./lock.ts";
import type { KeyOptions } from "./options.ts";

/** What encrypts the values of one folder. */
export interface StoreKey extends SealingKey {
  /** Where the key is stored. */
  readonly place: "keychain" | "file";
}

interface KeyPlace extends KeyOptions {
  /** The folder of the app: its name is the app's. */
  folder: string;
  locks: FileLocks;
}

/** The key as it is stored. */
interface KeyText {
  readonly kid: string;
  /** 32 bytes, base64url. */
  readonly k: string;
}

/** Keys from a keychain that this process knows, by their IDs: a keychain may ask the user at every read. */
const known = new Map<string, Promise<StoreKey>>();

const fileOf = (folder: string) => join(folder, "key");
/** Says that the key is in the keychain, and which one it is. */
const markerOf = (folder: string) => join(folder, "keychain.json");

/** Where the key of a folder is; `undefined` when there is none yet. */
export function findKey(folder: string): StoreKey["place"] | undefined {
  if (fileAt(fileOf(folder))) return "file";
  return fileAt(markerOf(folder)) ? "keychain" : undefined;
}

/**
 * The one key of a folder. The first caller of all processes creates it.
 *
 * A key for the keychain is written there and read back. Only then the folder names it: a process that dies before that
 * leaves an unused entry. Each key has its own entry, so that no key is overwritten.
 *
 * @throws McpAuthError `keychain_locked` when the key lives in the keychain and cannot be had (`cause` says why);
 *   `store_unusable` when its file is damaged; `store_denied`, `store_failed`, `lock_timeout`, `lock_unsupported`; with
 *   `keychainFailure: "error"` the keychain's own.
 */
export function openKey(place: KeyPlace): Promise<StoreKey> {
  const { folder, locks } = place;
  const open = async () =>
    (await existingKey(place)) ?? (await locks.withLock("key", async () => (await existingKey(place)) ?? firstKey(place)));
  return typed(folder, open);
}

async function existingKey(place: KeyPlace): Promise<StoreKey | undefined> {
  switch (findKey(place.folder)) {
    case "file":
      return keyInFile(fileOf(place.folder));
    case "keychain":
      return keyInKeychain(place);
    default:
      return undefined;
  }
}

async function keyInFile(path: string): Promise<StoreKey> {
  secureFile(path);
  const text = parseKey(readText(path));
  if (!text) throw unusable(path, "holds no key");
  return imported(text, "file");
}

function keyInKeychain(place: KeyPlace): Promise<StoreKey> {
  const kid = readMarker(markerOf(place.folder));
  const found = known.get(kid) ?? readFromKeychain(place, kid);
  known.set(kid, found);
  // A keychain may be unlocked at any time.
  found.catch(() => known.delete(kid));
  return found;
}

/** The ID of the key. */
function readMarker(path: string): string {
  secureFile(path);
  const { kid } = members(readText(path));
  if (typeof kid !== "string") throw unusable(path, "does not name a key");
  return kid;
}

function readFromKeychain(place: KeyPlace, kid: string): Promise<StoreKey> {
  return findInKeychains(place, `the key of ${place.folder}`, async (keychain) => {
    const text = await keychain.getPassword(keychainService, accountOf(place, kid));
    const key = text === null ? undefined : parseKey(text);
    return key?.kid === kid ? imported(key, "keychain") : undefined;
  });
}

async function firstKey(place: KeyPlace): Promise<StoreKey> {
  const key = { kid: crypto.randomUUID(), k: Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("base64url") };
  secureFolder(place.folder);
  try {
    await writeToKeychain(place, key);
  } catch (error) {
    if (!isKeychainError(error) || place.keychainFailure === "error") throw error;
    // An existing one was created without the lock: it stays.
    return writeNewFile(fileOf(place.folder), JSON.stringify({ v: 1, ...key })) ? imported(key, "file") : keyInFile(fileOf(place.folder));
  }
  if (!writeNewFile(markerOf(place.folder), JSON.stringify({ v: 1, kid: key.kid }))) return keyInKeychain(place);
  const made = imported(key, "keychain");
  known.set(key.kid, made);
  return made;
}

/** @throws McpAuthError when it cannot be read from there afterwards */
async function writeToKeychain(place: KeyPlace, key: KeyText): Promise<void> {
  for await (const keychain of openKeychains(place)) {
    const text = JSON.stringify({ v: 1, ...key });
    await keychain.setPassword(keychainService, accountOf(place, key.kid), text);
    if ((await keychain.getPassword(keychainService, accountOf(place, key.kid))) === text) return;
    throw new McpAuthError("keychain_unavailable", { detail: `${keychain.name} does not keep what is written` });
  }
}

function accountOf({ folder }: KeyPlace, kid: string): string {
  return `${basename(folder)} ${kid}`;
}

function parseKey(text: string): KeyText | undefined {
  try {
    const { v, kid, k } = JSON.parse(text) as Record<string, unknown>;
    const isKey = v === 1 && typeof kid === "string" && typeof k === "string" && Buffer.from(k, "base64url").length === 32;
    return isKey ? { kid, k } : undefined;
  } catch {
    return undefined;
  }
}

async function imported({ kid, k }: KeyText, place: StoreKey["place"]): Promise<StoreKey> {
  const key = await crypto.subtle.importKey("raw", Buffer.from(k, "base64url"), "AES-GCM", false, ["encrypt", "decrypt"]);
  return { kid, key, place };
}
