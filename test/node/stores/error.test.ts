/** What a failure of file system or SQLite means, and whether it is worth trying again. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { McpAuthError, type McpAuthErrorCode } from "../../../src/errors.ts";
import { fs } from "../../../src/node/builtins.ts";
import { storeError, typed } from "../../../src/node/stores/error.ts";

const errno = (code: string) => Object.assign(new Error(code), { code });
const sqlite = (errcode: number) => Object.assign(new Error("SQLite"), { code: "ERR_SQLITE_ERROR", errcode });

test.each<[code: string, means: McpAuthErrorCode, transient: boolean]>([
  ["EACCES", "store_denied", false],
  ["EPERM", "store_denied", false],
  ["EROFS", "store_denied", false],
  ["ENOTDIR", "store_unusable", false],
  ["EISDIR", "store_unusable", false],
  ["ERR_FS_EISDIR", "store_unusable", false],
  ["EEXIST", "store_unusable", false],
  ["ELOOP", "store_unusable", false],
  ["ENAMETOOLONG", "store_unusable", false],
  ["ENXIO", "store_unusable", false],
  ["ENOSPC", "store_failed", true],
  ["EDQUOT", "store_failed", true],
  ["EMFILE", "store_failed", true],
  ["ENFILE", "store_failed", true],
  ["EIO", "store_failed", true],
  ["ENOENT", "store_failed", true],
  ["EBUSY", "store_failed", true],
])("%s: %s", (code, means, transient) => {
  const cause = errno(code);
  expect(storeError(cause, "/a/b")).toMatchObject({ code: means, transient, cause, message: expect.stringContaining("/a/b") });
});

test.each<[name: string, result: number, means: McpAuthErrorCode]>([
  ["SQLITE_PERM", 3, "store_denied"],
  ["SQLITE_READONLY", 8, "store_denied"],
  ["SQLITE_READONLY_DIRECTORY", 1544, "store_denied"],
  ["SQLITE_READONLY_DBMOVED: the next attempt opens the new one", 1032, "store_failed"],
  ["SQLITE_AUTH", 23, "store_denied"],
  ["SQLITE_FULL", 13, "store_failed"],
  ["SQLITE_IOERR", 10, "store_failed"],
  ["SQLITE_IOERR_FSYNC", 1034, "store_failed"],
  ["SQLITE_PROTOCOL: locks do not work", 15, "lock_unsupported"],
  ["SQLITE_NOLFS", 22, "lock_unsupported"],
  ["SQLITE_IOERR_LOCK", 3850, "lock_unsupported"],
])("%s: %s", (_name, result, means) => {
  expect(storeError(sqlite(result), "/a/b")).toMatchObject({ code: means });
});

describe("SQLite cannot open the file, and does not say why", () => {
  const cannotOpen = sqlite(14);
  /** A database that could be used. */
  function usable(): string {
    const folder = mkdtempSync(join(tmpdir(), "mcp-client-auth-"));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const path = join(folder, "records.sqlite");
    writeFileSync(path, "");
    return path;
  }

  test("nothing is wrong with it: it may work again", () => {
    expect(storeError(cannotOpen, usable()).code).toBe("store_failed");
  });

  test("it is not there: it may be again", () => {
    expect(storeError(cannotOpen, `${usable()}-gone`).code).toBe("store_failed");
  });

  test("a file is in the place of its folder", () => {
    expect(storeError(cannotOpen, join(usable(), "records.sqlite")).code).toBe("store_unusable");
  });

  test.each(["the file", "its folder"])("%s may not be written to", (what) => {
    const path = usable();
    const { accessSync } = fs;
    const closed = what === "the file" ? path : join(path, "..");
    vi.spyOn(fs, "accessSync").mockImplementation((name, mode) => {
      if (name === closed) throw errno("EACCES");
      accessSync(name, mode);
    });
    onTestFinished(() => void vi.restoreAllMocks());
    expect(storeError(cannotOpen, path).code).toBe("store_denied");
  });
});

test("an error that has a name keeps it", async () => {
  const locked = new McpAuthError("keychain_locked");
  expect(storeError(locked, "/a")).toBe(locked);
  await expect(typed("/a", () => Promise.reject(locked))).rejects.toBe(locked);
  await expect(typed("/a", () => Promise.reject(errno("EROFS")))).rejects.toMatchObject({ code: "store_denied" });
});
