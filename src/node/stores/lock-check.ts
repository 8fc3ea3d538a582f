import { McpAuthError } from "../../errors.ts";
import { fs, join } from "../builtins.ts";
import { isBusy, openDatabase } from "./database.ts";
import { fileAt, secureFile } from "./files.ts";

/** `f_type` of file systems whose locks may not reach other machines (Linux, statfs(2)). */
const networkFileSystems: Readonly<Record<number, string>> = {
  26985: "nfs",
  4266872130: "smb",
  4283649346: "smb",
  1702057286: "fuse",
  16914839: "9p",
  12805120: "ceph",
  1397113167: "afs",
};

/** Folders whose locks keep others out, and folders in which a lock can be taken. */
const checked = new Set<string>();
const lockable = new Set<string>();

/**
 * Checks, once per process, that the lock held now works: some file systems grant locks that lock nothing.
 *
 * @throws McpAuthError `lock_unsupported`
 */
export async function checkLocking(folder: string, heldPath: string): Promise<void> {
  if (checked.has(folder)) return;
  if (process.platform === "linux" && !isKnownToKernel(heldPath) && (await isFreeForOthers(heldPath))) {
    throw unsupported(folder, "a lock kept nobody out");
  }
  checked.add(folder);
}

/**
 * Checks, once per process, that a busy lock has a holder: SQLite reports "busy", too, when a file system refuses to lock.
 *
 * @throws McpAuthError `lock_unsupported`
 */
export function checkLockable(folder: string): void {
  if (lockable.has(folder)) return;
  // A new file: no other process can hold its lock.
  const path = join(folder, `.${crypto.randomUUID()}`);
  secureFile(path);
  const database = openDatabase(path);
  try {
    database.exec("BEGIN IMMEDIATE");
    lockable.add(folder);
  } catch (error) {
    throw isBusy(error) ? unsupported(folder, "locks are refused") : error;
  } finally {
    database.close();
    for (const suffix of ["", "-journal"]) fs.rmSync(path + suffix, { force: true });
  }
}

function unsupported(folder: string, why: string): McpAuthError {
  return new McpAuthError("lock_unsupported", { detail: `${folder} (${networkFileSystem(folder) ?? why})` });
}

/** Name of the network file system that holds the folder; `undefined` on a local disk, or when unknown. */
export function networkFileSystem(folder: string): string | undefined {
  return process.platform === "linux" ? networkFileSystems[fs.statfsSync(folder).type] : undefined;
}

/** Layered file systems show different inodes, containers different process IDs: one match is enough. */
function isKnownToKernel(path: string): boolean {
  let locks: string;
  try {
    locks = fs.readFileSync("/proc/locks", "utf8");
  } catch {
    return true;
  }
  const inode = fileAt(path)?.ino;
  return locks.split("\n").some((line) => / POSIX /.test(line) && (line.includes(` ${process.pid} `) || line.includes(`:${inode} `)));
}

/** Whether another process can take the lock now. Only Node is started for this: an app's own executable would start the app. */
async function isFreeForOthers(path: string): Promise<boolean> {
  if (!/^node(\.exe)?$/.test(process.execPath.replace(/^.*[/\\]/, ""))) return false;
  const program = `
    const { DatabaseSync } = process.getBuiltinModule("node:sqlite");
    new DatabaseSync(process.argv[1]).exec("BEGIN IMMEDIATE");
    console.log("free");`;
  const { execFile } = await import("node:child_process");
  return new Promise((resolve) => {
    execFile(process.execPath, ["--no-warnings", "--eval", program, path], { timeout: 5000 }, (_error, stdout) =>
      resolve(stdout.includes("free")),
    );
  });
}
