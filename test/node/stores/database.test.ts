/** What SQLite's result codes mean to a store. */
import { expect, test } from "vitest";
import { isBusy, isDamaged, isWithoutLocks, resultCode } from "../../../src/node/stores/database.ts";

const sqliteError = (errcode: unknown) => Object.assign(new Error("of SQLite"), { errcode });

test.each<[name: string, error: unknown, means: ("busy" | "damaged" | "without locks")[]]>([
  ["SQLITE_BUSY", sqliteError(5), ["busy"]],
  ["SQLITE_BUSY_RECOVERY", sqliteError(261), ["busy"]],
  ["SQLITE_BUSY_SNAPSHOT", sqliteError(517), ["busy"]],
  ["SQLITE_LOCKED", sqliteError(6), ["busy"]],
  ["SQLITE_LOCKED_SHAREDCACHE", sqliteError(262), ["busy"]],
  ["SQLITE_CORRUPT", sqliteError(11), ["damaged"]],
  ["SQLITE_CORRUPT_VTAB", sqliteError(267), ["damaged"]],
  ["SQLITE_CORRUPT_INDEX", sqliteError(779), ["damaged"]],
  ["SQLITE_NOTADB", sqliteError(26), ["damaged"]],
  ["SQLITE_PROTOCOL", sqliteError(15), ["without locks"]],
  ["SQLITE_NOLFS", sqliteError(22), ["without locks"]],
  ["SQLITE_IOERR_UNLOCK", sqliteError(2058 + 256), ["without locks"]],
  ["SQLITE_IOERR_BLOCKED", sqliteError(2826), ["without locks"]],
  ["SQLITE_IOERR_CHECKRESERVEDLOCK", sqliteError(3594), ["without locks"]],
  ["SQLITE_IOERR_LOCK", sqliteError(3850), ["without locks"]],
  ["SQLITE_IOERR_READ", sqliteError(266), []],
  ["SQLITE_FULL", sqliteError(13), []],
  ["SQLITE_READONLY", sqliteError(8), []],
  ["an error of another kind", new Error("EACCES"), []],
  ["a code that is no number", sqliteError("5"), []],
  ["no error", { errcode: 5 }, []],
])("%s", (_name, error, means) => {
  const found = { busy: isBusy(error), damaged: isDamaged(error), "without locks": isWithoutLocks(error) };
  expect(Object.entries(found).flatMap(([name, is]) => (is ? [name] : []))).toEqual(means);
  expect(resultCode(error) > 0).toBe(error instanceof Error && typeof Reflect.get(error, "errcode") === "number");
});
