import { McpAuthError, type McpAuthErrorCode } from "../../errors.ts";
import { dirname, fs } from "../builtins.ts";
import { isWithoutLocks, resultCode } from "./database.ts";

/** What the file system will refuse again. All other failures are transient: a full disk, too many open files. */
const finalErrnos: Readonly<Record<string, McpAuthErrorCode>> = {
  EACCES: "store_denied",
  EPERM: "store_denied",
  EROFS: "store_denied",
  ENOTDIR: "store_unusable",
  EISDIR: "store_unusable",
  ERR_FS_EISDIR: "store_unusable",
  EEXIST: "store_unusable",
  ELOOP: "store_unusable",
  ENAMETOOLONG: "store_unusable",
  ENXIO: "store_unusable",
};

/** The same of SQLite: `SQLITE_PERM`, `SQLITE_READONLY`, `SQLITE_AUTH`. */
const deniedResults = new Set([3, 8, 23]);
/** `SQLITE_CANTOPEN`, for whatever reason. */
const cannotOpen = 14;
/** `SQLITE_READONLY_DBMOVED`: the file was deleted or replaced; the next attempt opens the new one. */
const moved = 1032;

/**
 * Translates a failure of the file system or SQLite. Typed errors are returned unchanged.
 *
 * @param path the file or folder that was used
 */
export function storeError(cause: unknown, path: string): McpAuthError {
  return cause instanceof McpAuthError ? cause : new McpAuthError(codeFor(cause, path), { detail: path, cause });
}

function codeFor(cause: unknown, path: string): McpAuthErrorCode {
  if (isWithoutLocks(cause)) return "lock_unsupported";
  const result = resultCode(cause);
  if (deniedResults.has(result & 0xff) && result !== moved) return "store_denied";
  const reason = (result & 0xff) === cannotOpen ? whyClosed(path) : cause;
  return finalErrnos[errnoOf(reason)] ?? "store_failed";
}

/** Why SQLite cannot open the file. It is not opened here: closing it would free its locks (POSIX). */
function whyClosed(path: string): unknown {
  const { R_OK, W_OK, X_OK } = fs.constants;
  try {
    fs.accessSync(path, R_OK | W_OK);
    // SQLite creates a journal beside the file.
    fs.accessSync(dirname(path), W_OK | X_OK);
    return undefined;
  } catch (error) {
    return error;
  }
}

/** Runs `work`, which uses `path`. Its failures become typed errors. */
export async function typed<T>(path: string, work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    throw storeError(cause, path);
  }
}

export function isErrno(error: unknown, ...codes: string[]): boolean {
  return codes.includes(errnoOf(error));
}

function errnoOf(error: unknown): string {
  return error instanceof Error ? String(Reflect.get(error, "code")) : "";
}
