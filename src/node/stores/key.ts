import { randomBytes, randomUUID } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { StoreKey } from "./encryption.ts";
import { secureFile, secureFolder, writeNewFile } from "./folder.ts";
import type { FileLocks } from "./lock.ts";

export type KeyOptions = {};

/** Where the key of a folder is; `undefined` when there is none yet. */
export function findKey(folder: string): StoreKey["place"] | undefined {
  if (existsSync(join(folder, "key"))) return "file";
  return existsSync(join(folder, "keychain.json")) ? "keychain" : undefined;
}

export async function openKey({ folder }: KeyOptions & { folder: string; locks: FileLocks }): Promise<StoreKey> {
  const path = join(folder, "key");
  if (!existsSync(path)) {
    secureFolder(folder);
    writeNewFile(path, JSON.stringify({ v: 1, kid: randomUUID(), k: randomBytes(32).toString("base64url") }));
  }
  secureFile(path);
  const { kid, k } = JSON.parse(readFileSync(path, "utf8")) as { kid: string; k: string };
  const key = await crypto.subtle.importKey("raw", Buffer.from(k, "base64url"), "AES-GCM", false, ["encrypt", "decrypt"]);
  return { kid, key, place: "file" };
}
