/** Whether a lock that was had is one: some file systems say yes and lock nothing. */
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { fs } from "../../../src/node/builtins.ts";
import { checkLocking, networkFileSystem } from "../../../src/node/stores/lock-check.ts";

/** A database in a folder of its own, and what the kernel says of locks. */
function made(locks: (inode: number) => string | Error) {
  const folder = mkdtempSync(join(tmpdir(), "mcp-client-auth-"));
  const path = join(folder, "lock.sqlite");
  const database = new DatabaseSync(path);
  database.exec("CREATE TABLE t (x)");
  const { readFileSync } = fs;
  const kernel = vi.spyOn(fs, "readFileSync").mockImplementation(((name: string, ...how: never[]) => {
    if (name !== "/proc/locks") return readFileSync(name, ...how);
    const said = locks(statSync(path).ino);
    if (said instanceof Error) throw said;
    return said;
  }) as typeof fs.readFileSync);
  onTestFinished(() => {
    kernel.mockRestore();
    database.close();
    rmSync(folder, { recursive: true, force: true });
  });
  return { folder, path, hold: () => database.exec("BEGIN IMMEDIATE"), kernel };
}
const none = () => "";
const line = (pid: number, inode: number, kind = "POSIX") => `1: ${kind}  ADVISORY  WRITE ${pid} fe:01:${inode} 1073741825 1073741825\n`;

describe.runIf(process.platform === "linux")("a lock that is said to be held", () => {
  test("by nobody whom the kernel knows, and free for another process: there are no locks", async () => {
    const { folder, path } = made(none);
    await expect(checkLocking(folder, path)).rejects.toMatchObject({
      code: "lock_unsupported",
      message: expect.stringContaining("a lock kept nobody out"),
    });
  });

  test("and that another process cannot have: it is one, whatever the kernel says", async () => {
    const { folder, path, hold } = made(none);
    hold();
    await expect(checkLocking(folder, path)).resolves.toBeUndefined();
  });

  // Free in truth: whoever asks another process gets another answer.
  test.each<[what: string, locks: (inode: number) => string | Error, isOne: boolean]>([
    ["by this process, in a file that the kernel calls otherwise", () => line(process.pid, 1), true],
    ["in this file, by a process that the container calls otherwise", (inode) => line(1, inode), true],
    ["by another process in another file", () => line(1, 1), false],
    ["by a lock of another kind", (inode) => line(process.pid, inode, "FLOCK"), false],
    ["as far as a kernel that tells nothing lets one know", () => new Error("EACCES"), true],
  ])("%s: %j", async (_what, locks, isOne) => {
    const { folder, path } = made(locks);
    const checked = await checkLocking(folder, path).then(
      () => true,
      () => false,
    );
    expect(checked).toBe(isOne);
  });

  test("is looked at once a process and folder", async () => {
    const { folder, path, hold, kernel } = made(none);
    hold();
    await checkLocking(folder, path);
    const asked = () => kernel.mock.calls.filter(([name]) => name === "/proc/locks").length;
    const before = asked();
    await checkLocking(folder, path);
    expect([before, asked()]).toEqual([1, 1]);
  });
});

describe.runIf(process.platform === "linux")("a network file system has a name", () => {
  test.each([
    [0x6969, "nfs"],
    [0xfe534d42, "smb"],
    [0xff534d42, "smb"],
    [0x65735546, "fuse"],
    [0x01021997, "9p"],
    [0x00c36400, "ceph"],
    [0x5346414f, "afs"],
    [0xef53, undefined],
    [0x01021994, undefined],
  ])("0x%s: %s", (type, name) => {
    vi.spyOn(fs, "statfsSync").mockReturnValueOnce({ type } as ReturnType<typeof fs.statfsSync>);
    onTestFinished(() => void vi.restoreAllMocks());
    expect(networkFileSystem("/somewhere")).toBe(name);
  });
});
