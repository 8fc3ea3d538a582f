/** What failures of the file system and of SQLite mean to whoever uses a store. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { McpAuthError, type McpAuthErrorCode } from "../../../src/errors.ts";
import { fs } from "../../../src/node/builtins.ts";
import { storeError, typed } from "../../../src/node/stores/error.ts";

const errno = (code: string) => Object.assign(new Error(code), { code });
const ofSqlite = (errcode: number) => Object.assign(new Error("of SQLite"), { code: "ERR_SQLITE_ERROR", errcode });

const table: [what: string, cause: unknown, code: McpAuthErrorCode, isTransient: boolean][] = [
  ["EACCES", errno("EACCES"), "store_denied", false],
  ["EPERM", errno("EPERM"), "store_denied", false],
  ["EROFS", errno("EROFS"), "store_denied", false],
  ["ENOTDIR", errno("ENOTDIR"), "store_unusable", false],
  ["EISDIR", errno("EISDIR"), "store_unusable", false],
  ["ERR_FS_EISDIR", errno("ERR_FS_EISDIR"), "store_unusable", false],
  ["EEXIST", errno("EEXIST"), "store_unusable", false],
  ["ELOOP", errno("ELOOP"), "store_unusable", false],
  ["ENAMETOOLONG", errno("ENAMETOOLONG"), "store_unusable", false],
  ["ENXIO", errno("ENXIO"), "store_unusable", false],
  ["ENOSPC", errno("ENOSPC"), "store_failed", true],
  ["EDQUOT", errno("EDQUOT"), "store_failed", true],
  ["EMFILE", errno("EMFILE"), "store_failed", true],
  ["ENFILE", errno("ENFILE"), "store_failed", true],
  ["ENOMEM", errno("ENOMEM"), "store_failed", true],
  ["EIO", errno("EIO"), "store_failed", true],
  ["ENOENT", errno("ENOENT"), "store_failed", true],
  ["ESTALE", errno("ESTALE"), "store_failed", true],
  ["SQLITE_PERM", ofSqlite(3), "store_denied", false],
  ["SQLITE_READONLY", ofSqlite(8), "store_denied", false],
  ["SQLITE_READONLY_RECOVERY", ofSqlite(264), "store_denied", false],
  ["SQLITE_READONLY_DIRECTORY", ofSqlite(1544), "store_denied", false],
  ["SQLITE_READONLY_DBMOVED", ofSqlite(1032), "store_failed", true],
  ["SQLITE_AUTH", ofSqlite(23), "store_denied", false],
  ["SQLITE_FULL", ofSqlite(13), "store_failed", true],
  ["SQLITE_IOERR_FSYNC", ofSqlite(1034), "store_failed", true],
  ["SQLITE_NOMEM", ofSqlite(7), "store_failed", true],
  ["SQLITE_PROTOCOL", ofSqlite(15), "lock_unsupported", false],
  ["SQLITE_IOERR_LOCK", ofSqlite(3850), "lock_unsupported", false],
  ["what is not an error", "EACCES", "store_failed", true],
];

test.each(table)("%s", async (_what, cause, code, transient) => {
  // A file and a folder that everybody could use: only `cause` counts.
  const path = join(tmpdir(), "mcp-client-auth-nothing");
  const expected = { code, transient, cause, message: expect.stringContaining(path) };
  expect(storeError(cause, path)).toMatchObject(expected);
  await expect(typed(path, () => Promise.reject(cause))).rejects.toMatchObject(expected);
});

test("an error that is typed already is passed on", async () => {
  const cause = new McpAuthError("lock_timeout", { detail: "k" });
  expect(storeError(cause, "/nowhere")).toBe(cause);
  await expect(typed("/nowhere", () => Promise.reject(cause))).rejects.toBe(cause);
});

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "mcp-client-auth-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Which of file and folder the system refuses, with what. */
test.each<[what: string, refuses: "file" | "folder" | undefined, with_: string, code: McpAuthErrorCode]>([
  ["the file is read-only", "file", "EACCES", "store_denied"],
  ["the file is gone", "file", "ENOENT", "store_failed"],
  ["the file is a link to itself", "file", "ELOOP", "store_unusable"],
  ["no journal can be made beside it", "folder", "EACCES", "store_denied"],
  ["the disk is read-only", "folder", "EROFS", "store_denied"],
  ["nothing is wrong any more", undefined, "", "store_failed"],
])("SQLite cannot open: %s", (_what, refuses, code, meaning) => {
  const folder = join(temporaryFolder(), "app");
  mkdirSync(folder);
  const path = join(folder, "records.sqlite");
  writeFileSync(path, "");
  const { accessSync } = fs;
  const { R_OK, W_OK, X_OK } = fs.constants;
  vi.spyOn(fs, "accessSync").mockImplementation((at, mode) => {
    if (at === path && refuses === "file" && mode === (R_OK | W_OK)) throw errno(code);
    if (at === folder && refuses === "folder" && mode === (W_OK | X_OK)) throw errno(code);
    return accessSync(at, mode);
  });
  // SQLITE_CANTOPEN, SQLITE_CANTOPEN_NOTEMPDIR, SQLITE_CANTOPEN_ISDIR
  for (const result of [14, 270, 526]) expect(storeError(ofSqlite(result), path).code).toBe(meaning);
});
