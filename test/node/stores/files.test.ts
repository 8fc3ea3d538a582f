/** Files and folders of ours: who may read them, what may lie in their place, and what of them outlives a crash. */
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { fs } from "../../../src/node/builtins.ts";
import {
  fileAt,
  isStillAt,
  readText,
  replaceFile,
  secureFile,
  secureFolder,
  secureJournal,
  writeNewFile,
} from "../../../src/node/stores/files.ts";

const errno = (code: string) => Object.assign(new Error(code), { code });

function place(): string {
  const folder = mkdtempSync(join(tmpdir(), "mcp-client-auth-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  onTestFinished(() => void vi.restoreAllMocks());
  return folder;
}
const modeOf = (path: string) => (statSync(path).mode & 0o777).toString(8);

describe.runIf(process.platform !== "win32")("who may use them", () => {
  test.each([
    ["600", "600", false],
    ["601", "600", true],
    ["610", "600", true],
    ["640", "600", true],
    ["604", "600", true],
    ["666", "600", true],
    ["700", "700", false],
  ])("a file with mode %s has %s afterwards", (mode, expected, isChanged) => {
    const path = join(place(), "file");
    writeFileSync(path, "text");
    chmodSync(path, Number.parseInt(mode, 8));
    const chmod = vi.spyOn(fs, "chmodSync");
    secureFile(path);
    expect([modeOf(path), chmod.mock.calls.length > 0, readFileSync(path, "utf8")]).toEqual([expected, isChanged, "text"]);
  });

  test("a new file and a new folder are for this user alone", () => {
    const folder = join(place(), "a", "b");
    secureFolder(folder);
    secureFile(join(folder, "file"));
    expect([modeOf(folder), modeOf(join(folder, "file"))]).toEqual(["700", "600"]);
  });

  test("a folder that others could enter is mended", () => {
    const folder = place();
    chmodSync(folder, 0o755);
    secureFolder(folder);
    expect(modeOf(folder)).toBe("700");
  });

  test.each([
    ["a folder", secureFolder, (path: string) => mkdirSync(path)],
    ["a file", secureFile, (path: string) => writeFileSync(path, "")],
    ["a journal", (path: string) => secureJournal(path.replace(/-journal$/, "")), (path: string) => writeFileSync(path, "")],
  ])("%s of another user is not used, and not changed", (_what, secure, create) => {
    const path = join(place(), "theirs-journal");
    create(path);
    chmodSync(path, 0o755);
    vi.spyOn(process as { geteuid: () => number }, "geteuid").mockReturnValue(statSync(path).uid + 1);
    expect(() => secure(path)).toThrow(
      expect.objectContaining({ code: "store_denied", message: expect.stringContaining("belongs to another user") }),
    );
    expect(modeOf(path)).toBe("755");
  });
});

describe("what may lie in their place", () => {
  test("of two processes that create a file at once, the second finds what the first has written", () => {
    const path = join(place(), "file");
    const { openSync } = fs;
    vi.spyOn(fs, "openSync").mockImplementationOnce((name, ...how) => {
      writeFileSync(path, "the first one's");
      return openSync(name, ...how);
    });
    expect(secureFile(path)).toBe(statSync(path).ino);
    expect(readFileSync(path, "utf8")).toBe("the first one's");
  });

  test.each([
    ["a file that cannot be created", (path: string) => secureFile(path), "openSync"],
    ["a folder that cannot be created", (path: string) => secureFolder(path), "mkdirSync"],
  ] as const)("%s: why not", (_what, create, call) => {
    const path = join(place(), "new");
    vi.spyOn(fs, call).mockImplementationOnce(() => {
      throw errno("ENOSPC");
    });
    expect(() => create(path)).toThrow(expect.objectContaining({ code: "ENOSPC" }));
  });

  test("a link that leads nowhere is no folder to create one in", () => {
    const link = join(place(), "link");
    symlinkSync("/nowhere/at/all", link);
    expect(() => secureFolder(join(link, "folder"))).toThrow(expect.objectContaining({ code: "store_unusable" }));
  });

  test.each([
    ["a link to a file", (path: string) => symlinkSync("/etc/hostname", path), secureFile],
    ["a folder where a file should be", (path: string) => mkdirSync(path), secureFile],
    ["a file where a folder should be", (path: string) => writeFileSync(path, ""), secureFolder],
    ["a link where a folder should be", (path: string) => symlinkSync(tmpdir(), path), secureFolder],
  ])("%s is not used", (_what, create, secure) => {
    const path = join(place(), "it");
    create(path);
    expect(() => secure(path)).toThrow(expect.objectContaining({ code: "store_unusable" }));
  });

  test.each([
    ["nothing", "nothing", undefined],
    ["a name that is too long for any", "x".repeat(300), "store_unusable"],
  ])("looking for %s", (_what, name, code) => {
    const path = join(place(), name);
    if (code === undefined) expect(fileAt(path)).toBeUndefined();
    else expect(() => fileAt(path)).toThrow(expect.objectContaining({ code }));
  });

  test("whether a file is still the one that was opened", () => {
    const path = join(place(), "file");
    const inode = secureFile(path);
    expect(isStillAt(path, inode)).toBe(true);
    replaceFile(path, "another");
    expect(isStillAt(path, inode)).toBe(false);
    rmSync(path);
    expect(isStillAt(path, inode)).toBe(false);
  });

  test.each([
    ["1 MiB is read", 1024 * 1024, undefined],
    ["more is not ours", 1024 * 1024 + 1, "store_unusable"],
  ])("%s", (_rule, size, code) => {
    const path = join(place(), "file");
    writeFileSync(path, "x".repeat(size));
    if (code === undefined) expect(readText(path)).toHaveLength(size);
    else expect(() => readText(path)).toThrow(expect.objectContaining({ code }));
  });
});

describe.runIf(process.platform !== "win32")("a folder whose names are to last", () => {
  test.each<[what: string, write: (folder: string) => void]>([
    ["a folder is created", (folder) => secureFolder(join(folder, "new"))],
    ["a file is written", (folder) => void writeNewFile(join(folder, "new"), "")],
    ["a file is replaced", (folder) => replaceFile(join(folder, "new"), "")],
  ])("%s where this user may write, but not read the folder", (_what, write) => {
    const folder = place();
    const { openSync } = fs;
    vi.spyOn(fs, "openSync").mockImplementation((path, ...how) => {
      if (path === folder) throw errno("EACCES");
      return openSync(path, ...how);
    });
    write(folder);
    expect(readdirSync(folder)).toEqual(["new"]);
  });

  test.each(["EIO", "ENOSPC"])("and that cannot be written to the disk, %s: the error, and nothing stays open", (code) => {
    const folder = place();
    const opened = vi.spyOn(fs, "openSync");
    const closed = vi.spyOn(fs, "closeSync");
    vi.spyOn(fs, "fsyncSync").mockImplementation(() => {
      throw errno(code);
    });
    expect(() => secureFolder(join(folder, "new"))).toThrow(expect.objectContaining({ code }));
    expect(() => writeNewFile(join(folder, "file"), "")).toThrow(expect.objectContaining({ code }));
    expect(closed).toHaveBeenCalledTimes(opened.mock.calls.length);
    expect(readdirSync(folder)).toEqual(["new"]);
  });
});

describe.runIf(process.platform === "linux")("what outlives a crash", () => {
  test.each<[what: string, write: (path: string) => unknown]>([
    ["a new file", (path) => writeNewFile(path, "text")],
    ["a file that is replaced", (path) => replaceFile(path, "text")],
  ])("%s is written to the disk before its name, and its name before the work goes on", (_what, write) => {
    const folder = place();
    const path = join(folder, "file");
    const steps: string[] = [];
    const { fsyncSync, linkSync, renameSync } = fs;
    vi.spyOn(fs, "fsyncSync").mockImplementation((fd) => {
      steps.push(readlinkSync(`/proc/self/fd/${fd}`) === folder ? "folder" : "text");
      fsyncSync(fd);
    });
    vi.spyOn(fs, "linkSync").mockImplementation((...paths) => {
      steps.push("name");
      linkSync(...paths);
    });
    vi.spyOn(fs, "renameSync").mockImplementation((...paths) => {
      steps.push("name");
      renameSync(...paths);
    });
    write(path);
    expect(steps).toEqual(["text", "name", "folder"]);
    expect([readdirSync(folder), readFileSync(path, "utf8")]).toEqual([["file"], "text"]);
  });

  test("one that is there already is left as it is, and nothing else is left", () => {
    const folder = place();
    const path = join(folder, "file");
    expect([writeNewFile(path, "first"), writeNewFile(path, "second")]).toEqual([true, false]);
    expect([readdirSync(folder), readFileSync(path, "utf8")]).toEqual([["file"], "first"]);
  });

  test.each([
    ["the disk is full", "writeFileSync"],
    ["it cannot be written to the disk", "fsyncSync"],
    ["it cannot get its name", "renameSync"],
  ] as const)("where %s the old text stays, and nothing else", (_what, call) => {
    const folder = place();
    const path = join(folder, "file");
    replaceFile(path, "old");
    vi.spyOn(fs, call).mockImplementationOnce(() => {
      throw errno("ENOSPC");
    });
    expect(() => replaceFile(path, "new")).toThrow(expect.objectContaining({ code: "ENOSPC" }));
    expect([readdirSync(folder), readFileSync(path, "utf8")]).toEqual([["file"], "old"]);
  });
});
