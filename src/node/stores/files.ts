import type { Stats } from "node:fs";
import { McpAuthError } from "../../errors.ts";
import { dirname, fs } from "../builtins.ts";
import { isErrno, storeError } from "./error.ts";

/** Much more than any file of ours holds. */
const maxBytes = 1024 * 1024;

/**
 * Creates a folder that only this user can enter. An existing folder gets the same permissions.
 *
 * @throws McpAuthError `store_unusable` when it is a link or the like, `store_denied` when it belongs to another user; what the file system throws.
 */
export function secureFolder(path: string): void {
  const found = fileAt(path) ?? createFolder(path);
  if (!found.isDirectory()) throw unusable(path, "is not a folder of its own");
  mend(path, found, 0o700);
}

/**
 * Creates an empty file that only this user can read. An existing file gets the same permissions.
 *
 * @returns its inode, to recognise another file in its place later
 * @throws McpAuthError `store_unusable` when it is a link or the like, `store_denied` when it belongs to another user; what the file system throws.
 */
export function secureFile(path: string): number {
  const found = fileAt(path) ?? createFile(path);
  checkFile(path, found);
  return found.ino;
}

/** The same for the journal that SQLite may keep beside a database. Nothing is created. */
export function secureJournal(path: string): void {
  const found = fileAt(`${path}-journal`);
  if (found) checkFile(`${path}-journal`, found);
}

function checkFile(path: string, found: Stats): void {
  if (!found.isFile()) throw unusable(path, "is not a file of its own");
  mend(path, found, 0o600);
}

/** What is at this path. Links are not followed. @throws McpAuthError when the path cannot be read */
export function fileAt(path: string): Stats | undefined {
  try {
    return fs.lstatSync(path, { throwIfNoEntry: false });
  } catch (error) {
    throw storeError(error, path);
  }
}

function createFolder(path: string): Stats {
  try {
    const first = fs.mkdirSync(path, { recursive: true, mode: 0o700 });
    // The name of each new folder is in the one above.
    for (let made = path; first && made.length >= first.length; made = dirname(made)) syncFolder(dirname(made));
  } catch (error) {
    const above = dirname(path);
    // A link that leads nowhere: it exists, and its target does not.
    if (isErrno(error, "ENOENT") && fileAt(above)) throw unusable(above, "is not a folder of its own");
    throw error;
  }
  return fs.lstatSync(path);
}

function createFile(path: string): Stats {
  try {
    // Never truncates: when two processes create the file at once, the second one uses it.
    fs.closeSync(fs.openSync(path, "wx", 0o600));
  } catch (error) {
    if (!isErrno(error, "EEXIST")) throw error;
  }
  return fs.lstatSync(path);
}

/** By path: opening a file that is locked would free its lock (POSIX). */
function mend(path: string, { mode, uid }: Stats, wanted: number): void {
  if (process.platform === "win32") return;
  if (uid !== process.geteuid?.()) throw new McpAuthError("store_denied", { detail: `${path} belongs to another user` });
  if ((mode & 0o077) !== 0) fs.chmodSync(path, wanted);
}

export function unusable(path: string, what: string): McpAuthError {
  return new McpAuthError("store_unusable", { detail: `${path} ${what}` });
}

/**
 * The text of a small file.
 *
 * @throws McpAuthError `store_unusable` when it is no file, or no small one; what the file system throws.
 */
export function readText(path: string): string {
  const { O_RDONLY, O_NONBLOCK = 0 } = fs.constants;
  // Without `O_NONBLOCK`, opening a pipe would wait for a writer.
  const file = fs.openSync(path, O_RDONLY | O_NONBLOCK);
  try {
    const found = fs.fstatSync(file);
    if (!found.isFile()) throw unusable(path, "is not a file");
    if (found.size > maxBytes) throw unusable(path, "is too large to be ours");
    return fs.readFileSync(file, "utf8").replace(/^\uFEFF/, "");
  } finally {
    fs.closeSync(file);
  }
}

/**
 * Replaces a file. After a crash at any moment it holds the old text or the new one. A folder in its place stays.
 *
 * @throws what the file system throws
 */
export function replaceFile(path: string, text: string): void {
  const temporary = writeTemporary(path, text);
  try {
    fs.renameSync(temporary, path);
  } catch (error) {
    fs.rmSync(temporary, { force: true });
    throw error;
  }
  syncFolder(dirname(path));
}

/**
 * Writes a new file. After a crash at any moment it exists completely or not at all.
 *
 * @returns `false` when the file exists; it is not changed
 */
export function writeNewFile(path: string, text: string): boolean {
  const temporary = writeTemporary(path, text);
  try {
    fs.linkSync(temporary, path);
  } catch (error) {
    if (isErrno(error, "EEXIST")) return false;
    throw error;
  } finally {
    fs.rmSync(temporary, { force: true });
  }
  syncFolder(dirname(path));
  return true;
}

/** Writes a complete, durable file beside its final place. */
function writeTemporary(path: string, text: string): string {
  const temporary = `${path}.${crypto.randomUUID()}`;
  const file = fs.openSync(temporary, "wx", 0o600);
  try {
    fs.writeFileSync(file, text);
    fs.fsyncSync(file);
  } catch (error) {
    fs.rmSync(temporary, { force: true });
    throw error;
  } finally {
    fs.closeSync(file);
  }
  return temporary;
}

/** Makes the names in a folder durable. Not possible, and not needed, on Windows. */
function syncFolder(path: string): void {
  const folder = process.platform === "win32" ? undefined : openFolder(path);
  if (folder === undefined) return;
  try {
    fs.fsyncSync(folder);
  } finally {
    fs.closeSync(folder);
  }
}

/** `undefined` where this user may write, but not read. SQLite goes on, too. */
function openFolder(path: string): number | undefined {
  try {
    return fs.openSync(path, "r");
  } catch (error) {
    if (isErrno(error, "EACCES")) return undefined;
    throw error;
  }
}

/** Whether the file with this inode is still at the path. Looking by path does not free locks. */
export function isStillAt(path: string, inode: number): boolean {
  return fileAt(path)?.ino === inode;
}
