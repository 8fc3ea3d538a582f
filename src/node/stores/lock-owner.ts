import type { DatabaseSync } from "node:sqlite";
import { fs, join } from "../builtins.ts";
import { isDamaged, openDatabase, sqlite } from "./database.ts";
import { fileAt, isStillAt, secureFile } from "./files.ts";

const suffix = ".owner";

/**
 * A file that shows that its process lives: an empty database, locked for as long as this object or its process lives.
 *
 * Its name is random and never used again: an owner that was found dead once stays dead.
 */
export class OwnerFile {
  /** Its name in the folder. */
  readonly name = `${crypto.randomUUID()}${suffix}`;
  readonly path: string;
  readonly #inode: number;
  /** Keeps the lock: a garbage-collected database drops it. */
  readonly #database: DatabaseSync;

  /** @throws what SQLite and the file system throw: "busy" when another process looks at the new file at this moment */
  constructor(folder: string) {
    this.path = join(folder, this.name);
    this.#inode = secureFile(this.path);
    this.#database = openDatabase(this.path);
    try {
      // Nothing is ever written: no journal is needed.
      this.#database.exec("PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE");
    } catch (error) {
      this.retire();
      throw error;
    }
  }

  /** Whether others can see that it is locked. An owner without a file is dead to them. */
  get isInPlace(): boolean {
    return isStillAt(this.path, this.#inode);
  }

  /** Frees and deletes the file. Closed first: Windows deletes no open file. */
  retire(): void {
    this.#database.close();
    remove(this.path);
  }
}

/**
 * Whether an owner is dead for certain: it has no file, or its file is not locked. Any doubt, such as too many open files, counts as life.
 */
export function isDead(folder: string, name: string): boolean {
  return look(join(folder, name), () => {});
}

/** Deletes the file of a dead owner. Only for one that has held a lock: it does not come to life any more. */
export function removeDead(folder: string, name: string): void {
  remove(join(folder, name));
}

/** Names of the owners that live, or may live; `but` is left out. */
export function livingOwners(folder: string, but: string | undefined): string[] {
  return ownersIn(folder).filter((name) => name !== but && !isDead(folder, name));
}

/** Deletes the files of owners that died. One that is about to be locked is locked out meanwhile, and is made anew by its process. */
export async function sweepOwners(folder: string): Promise<void> {
  for (const name of ownersIn(folder)) {
    const path = join(folder, name);
    const dead = look(path, () => remove(path));
    // Windows deletes no open file, and so none that its process has opened.
    if (dead && process.platform === "win32") remove(path);
    // The event loop goes on: a crash may have left many.
    await new Promise(setImmediate);
  }
}

function ownersIn(folder: string): string[] {
  return fs.readdirSync(folder).filter((name) => name.endsWith(suffix));
}

/**
 * Looks with a shared lock, so that those who look at the same time do not take one another for the owner.
 *
 * @param whenDead runs while its process cannot lock the file
 */
function look(path: string, whenDead: () => void): boolean {
  // Nothing else is opened: a pipe would block.
  if (!fileAt(path)?.isFile()) return true;
  let database: DatabaseSync | undefined;
  try {
    // Read-only: a file that is gone by now is not created.
    database = new (sqlite().DatabaseSync)(path, { readOnly: true });
    database.exec("BEGIN; SELECT name FROM sqlite_schema");
    whenDead();
    return true;
  } catch (error) {
    if (!isDamaged(error)) return false;
    // It was not locked, and is not a new one: those are empty.
    whenDead();
    return true;
  } finally {
    database?.close();
  }
}

function remove(path: string): void {
  try {
    fs.unlinkSync(path);
  } catch {
    // Deleted already, or open on Windows: a later process deletes it.
  }
}
