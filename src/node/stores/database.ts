import type { DatabaseSync } from "node:sqlite";
import { unsupported } from "../../runtime.ts";

/** Result codes of SQLite that are handled. */
const codes = { busy: 5, locked: 6, corrupt: 11, protocol: 15, noLocks: 22, notADatabase: 26 } as const;

/** `SQLITE_IOERR_LOCK` and similar codes: the file system refuses to lock. */
const lockingFailed = new Set([2314, 2826, 3594, 3850]);

/**
 * Opens a database. Suppresses the warning that Node 22 prints for `node:sqlite`. A locked database fails at once.
 *
 * @throws McpAuthError `unsupported_runtime` where there is no `node:sqlite`; what SQLite throws.
 */
export function openDatabase(path: string): DatabaseSync {
  const { DatabaseSync } = sqlite();
  return new DatabaseSync(path);
}

/** @throws McpAuthError `unsupported_runtime` */
export function sqlite(): typeof import("node:sqlite") {
  const { emitWarning } = process;
  // Loading is synchronous: no other warning is lost.
  process.emitWarning = () => {};
  try {
    // Undefined before Node 22.13, as is what gives modules before 22.3, in a Node that was built without it, and in other runtimes.
    const found = process.getBuiltinModule?.("node:sqlite") as typeof import("node:sqlite") | undefined;
    if (found) return found;
  } finally {
    process.emitWarning = emitWarning;
  }
  throw unsupported("node:sqlite", "Pass a `store`, or use Node 22.13 or newer.");
}

/** Another connection, in any process, holds a lock now. */
export function isBusy(error: unknown): boolean {
  const code = resultCode(error) & 0xff;
  return code === codes.busy || code === codes.locked;
}

/** The file is not a database, or is torn. */
export function isDamaged(error: unknown): boolean {
  const code = resultCode(error) & 0xff;
  return code === codes.corrupt || code === codes.notADatabase;
}

/** The file system cannot lock files. */
export function isWithoutLocks(error: unknown): boolean {
  const code = resultCode(error);
  return code === codes.protocol || code === codes.noLocks || lockingFailed.has(code);
}

/** SQLite's extended result code; 0 when the error is not one of SQLite. */
export function resultCode(error: unknown): number {
  const code = error instanceof Error ? Reflect.get(error, "errcode") : undefined;
  return typeof code === "number" ? code : 0;
}
