/** Files that show who holds a lock come and go: there is never more than one holder, and nothing stays behind. */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { promisify } from "node:util";
import { describe, expect, onTestFinished, test } from "vitest";
import { type FileLock, FileLocks } from "../../../src/node/stores/lock.ts";
import { failure } from "../../storm/support.ts";

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "mcp-client-auth-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

const program = (name: string) => new URL(name, import.meta.url).pathname;
const owners = (folder: string) => readdirSync(folder).filter((name) => name.endsWith(".owner"));
const descriptors = () => readdirSync("/proc/self/fd").length;
const keys = (count: number) => Array.from({ length: count }, (_, i) => `user${i}`);

/** Holds all keys at once, and then runs `action`. */
async function holdingAll<T>(locks: FileLocks, all: readonly string[], action: (held: FileLock[]) => Promise<T>): Promise<T> {
  const end = Promise.withResolvers<void>();
  const held: Promise<FileLock>[] = [];
  const runs = all.map((key) => {
    const { promise, resolve, reject } = Promise.withResolvers<FileLock>();
    held.push(promise);
    return locks
      .withLock(key, async (lock) => {
        resolve(lock);
        await end.promise;
      })
      .catch(reject);
  });
  try {
    return await action(await Promise.all(held));
  } finally {
    end.resolve();
    await Promise.all(runs);
  }
}

describe("what is open and on disk is bounded by what is in use", () => {
  test.runIf(process.platform === "linux")("a thousand locks at once: two files more, ten descriptors at most", async () => {
    const folder = temporaryFolder();
    const locks = new FileLocks(folder);
    const before = descriptors();
    await holdingAll(locks, keys(1000), async (held) => {
      expect(descriptors() - before).toBeLessThanOrEqual(10);
      expect(readdirSync(folder).length).toBeLessThanOrEqual(3);
      for (const lock of held) lock.check();
    });
    await expect.poll(() => owners(folder)).toEqual([]);
    expect(descriptors()).toBeLessThanOrEqual(before);
  });

  test("the last lock takes the owner's file with it, and the next one has another", async () => {
    const folder = temporaryFolder();
    const locks = new FileLocks(folder);
    const nameIn = () => locks.withLock("k", async () => owners(folder));
    const first = await nameIn();
    await expect.poll(() => readdirSync(folder).sort()).toEqual(["held.sqlite", "held.sqlite-journal"]);
    const second = await nameIn();
    expect([first.length, second.length]).toEqual([1, 1]);
    expect(second).not.toEqual(first);
  });

  test("who gives up leaves nothing", async () => {
    const folder = join(temporaryFolder(), "locks");
    const give = new AbortController();
    const waiting = new FileLocks(folder).withLock("k", async () => {}, { signal: give.signal });
    await Promise.resolve();
    give.abort(new Error("enough"));
    await expect(waiting).rejects.toThrow("enough");
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(existsSync(folder) ? owners(folder) : []).toEqual([]);
  });

  test("a process that ends leaves no owner's file, and deletes those of others that were killed", async () => {
    const folder = temporaryFolder();
    const text = `
      import { FileLocks } from ${JSON.stringify(program("../../../src/node/stores/lock.ts"))};
      const locks = new FileLocks(process.env.FOLDER);
      await locks.withLock("k", async () => { if (process.env.DIES) process.kill(process.pid, "SIGKILL"); });
      await locks.withLock("k", async () => console.log("had"));`;
    const run = (env: NodeJS.ProcessEnv) =>
      promisify(execFile)(process.execPath, ["--no-warnings", "--input-type=module-typescript", "--eval", text], {
        env: { ...process.env, NODE_OPTIONS: "", FOLDER: folder, ...env },
      });
    for (let i = 0; i < 3; i++) await expect(run({ DIES: "1" })).rejects.toMatchObject({ signal: "SIGKILL" });
    expect(owners(folder).length).toBeGreaterThan(0);
    // One that was created, and never locked.
    writeFileSync(join(folder, "never-locked.owner"), "");
    expect((await run({})).stdout).toBe("had\n");
    expect(owners(folder)).toEqual([]);
  });

  test.runIf(process.platform === "linux")("a hundred locks at once with 64 descriptors", async () => {
    const folder = temporaryFolder();
    const text = `
      import { FileLocks } from ${JSON.stringify(program("../../../src/node/stores/lock.ts"))};
      const locks = new FileLocks(process.env.FOLDER);
      let held = 0;
      let all;
      const isFull = new Promise((resolve) => { all = resolve; });
      await Promise.all(Array.from({ length: 100 }, (_, i) => locks.withLock("user" + i, async () => {
        if (++held === 100) all();
        await isFull;
      })));
      console.log("had", held);`;
    const { stdout } = await promisify(execFile)(
      "bash",
      ["-c", 'ulimit -n 64; exec "$0" "$@"', process.execPath, "--no-warnings", "--input-type=module-typescript", "--eval", text],
      { env: { ...process.env, NODE_OPTIONS: "", FOLDER: folder } },
    );
    expect(stdout).toBe("had 100\n");
  });
});

describe("eight processes that come, go and are killed", () => {
  interface Entry {
    what: string;
    key: string;
    pid: string;
    count: number;
  }
  const parse = (line: string): Entry => {
    const [what = "", ...rest] = line.split(" ");
    const [key = "", pid = "", count = ""] = what === "enter" || what === "leave" ? rest : ["", ...rest];
    return { what, key, pid, count: Number(count) };
  };

  /** Every key has one holder at a time, and no count is lost. */
  function violations(log: readonly Entry[]): string[] {
    const found: string[] = [];
    const killed = new Set<string>();
    const holders = new Map<string, string>();
    const last = new Map<string, number>();
    for (const { what, key, pid, count } of log) {
      if (what === "killing") killed.add(pid);
      if (what === "enter") {
        const holder = holders.get(key);
        if (holder && !killed.has(holder)) found.push(`${pid} entered ${key} while ${holder} was in`);
        holders.set(key, pid);
      }
      if (what === "leave") {
        if (count <= (last.get(key) ?? 0)) found.push(`${pid} counted ${key} to ${count} after ${last.get(key)}`);
        last.set(key, count);
        if (holders.get(key) === pid) holders.delete(key);
      }
    }
    return found;
  }

  test("one holder at a time, no count is lost, no file stays", { timeout: 240_000 }, async () => {
    const folder = temporaryFolder();
    const path = join(folder, "log");
    writeFileSync(path, "");
    const log = () => readFileSync(path, "utf8").trimEnd().split("\n").map(parse);
    const start = (turns: number) => {
      const child = spawn(process.execPath, ["--no-warnings", program("lock-log-process.ts")], {
        env: { ...process.env, FOLDER: folder, TURNS: String(turns), NODE_OPTIONS: "" },
        stdio: ["ignore", "ignore", "inherit"],
      });
      onTestFinished(() => void child.kill("SIGKILL"));
      return { child, pid: String(child.pid), ended: once(child, "close").then(([code]) => code as number | null) };
    };
    const workers = Array.from({ length: 8 }, () => start(200));
    const killedInside: boolean[] = [];
    for (let i = 0; i < 12; i++) {
      const victim = start(1_000_000);
      await expect
        .poll(() => log().some(({ what, pid }) => what === "enter" && pid === victim.pid), { timeout: 60_000, interval: 5 })
        .toBe(true);
      appendFileSync(path, `killing ${victim.pid}\n`);
      victim.child.kill("SIGKILL");
      await victim.ended;
      killedInside.push(log().findLast(({ pid, what }) => pid === victim.pid && what !== "killing")?.what === "enter");
    }
    expect(await Promise.all(workers.map(({ ended }) => ended))).toEqual(workers.map(() => 0));
    const entries = log();
    expect(violations(entries)).toEqual([]);
    expect(entries.filter(({ what, pid }) => what === "leave" && workers.some((worker) => worker.pid === pid))).toHaveLength(8 * 200);
    expect(killedInside).toContain(true);
    await new FileLocks(join(folder, "locks")).withLock("after", async () => {});
    await expect.poll(() => readdirSync(join(folder, "locks")).sort(), { timeout: 10_000 }).toEqual(["held.sqlite", "held.sqlite-journal"]);
  });

  test.each<[what: string, lines: string[], count: number]>([
    ["two in one key", ["enter a 1", "enter a 2"], 1],
    ["a lost count", ["enter a 1", "leave a 1 1", "enter a 2", "leave a 2 1"], 1],
    ["one after a holder that was killed", ["enter a 1", "killing 1", "enter a 2", "leave a 2 1"], 0],
  ])("the judge sees %s", (_, lines, count) => {
    expect(violations(lines.map(parse))).toHaveLength(count);
  });
});

describe("a table that somebody deletes or damages", () => {
  const table = (folder: string) => join(folder, "held.sqlite");
  const damages: Record<string, (path: string) => void> = {
    deleted: (path) => rmSync(path),
    "made empty": (path) => truncateSync(path),
    "overwritten with noise": (path) => writeFileSync(path, "noise ".repeat(2000)),
    torn: (path) => truncateSync(path, 4096),
    "that of another program": (path) => {
      rmSync(path);
      new DatabaseSync(path).exec("CREATE TABLE held (other)");
    },
  };

  test.each(Object.entries(damages))(
    "%s, while a lock is held: it stays held, and others have theirs when it is free",
    async (_, damage) => {
      const folder = temporaryFolder();
      const holder = spawn(process.execPath, ["--no-warnings", program("lock-process.ts")], {
        env: { ...process.env, FOLDER: folder, NODE_OPTIONS: "" },
        stdio: ["pipe", "pipe", "inherit"],
      });
      onTestFinished(() => void holder.kill("SIGKILL"));
      let said = "";
      holder.stdout.on("data", (data) => {
        said += data;
      });
      holder.stdin.write("lock k\n");
      await expect.poll(() => said, { timeout: 45_000 }).toContain("locked k");
      damage(table(folder));
      const locks = new FileLocks(folder);
      for (const key of ["k", "other"]) {
        expect([key, (await failure(locks.withLock(key, async () => "two", { lockTimeout: 100 }))).code]).toEqual([key, "lock_timeout"]);
      }
      holder.stdin.write("check\n");
      await expect.poll(() => said).toContain("still holds k");
      const next = locks.withLock("k", async () => "mine");
      holder.stdin.write("release\n");
      expect(await next).toBe("mine");
    },
  );

  test.each(Object.entries(damages))("%s, while its process holds a lock: that one goes on, and takes others", async (_, damage) => {
    const folder = temporaryFolder();
    const locks = new FileLocks(folder);
    await locks.withLock("k", async (lock) => {
      damage(table(folder));
      expect(await locks.withLock("other", async () => "mine")).toBe("mine");
      lock.check();
      // It is in the new table.
      const child = spawn(process.execPath, ["--no-warnings", program("lock-process.ts")], {
        env: { ...process.env, FOLDER: folder, NODE_OPTIONS: "" },
        stdio: ["pipe", "pipe", "inherit"],
      });
      onTestFinished(() => void child.kill("SIGKILL"));
      let said = "";
      child.stdout.on("data", (data) => {
        said += data;
      });
      child.stdin.write("lock k\nlock third\n");
      await expect.poll(() => said, { timeout: 45_000 }).toContain("locked third");
      expect(said).not.toContain("locked k");
    });
  });

  test("replaced by a table without the lock: lock_lost", async () => {
    const [folder, other] = [temporaryFolder(), temporaryFolder()];
    await new FileLocks(other).withLock("something", async () => {});
    await new FileLocks(folder).withLock("k", async (lock) => {
      lock.check();
      rmSync(table(folder));
      const copy = new DatabaseSync(table(folder));
      copy.exec("CREATE TABLE held (key TEXT PRIMARY KEY, owner TEXT NOT NULL) STRICT, WITHOUT ROWID");
      copy.close();
      expect(() => lock.check()).toThrow(expect.objectContaining({ code: "lock_lost" }));
      expect((await failure(lock.write(async () => {}))).code).toBe("lock_lost");
      expect(lock.signal.aborted).toBe(true);
    });
  });
});

describe("an owner's file that somebody deletes or replaces: lock_lost, and others have the lock", () => {
  test.each<[what: string, act: (folder: string) => void]>([
    ["deleted", (folder) => rmSync(join(folder, owners(folder)[0] ?? ""))],
    [
      "replaced",
      (folder) => {
        const path = join(folder, owners(folder)[0] ?? "");
        rmSync(path);
        // Not the inode of the file that was there: it is still open.
        writeFileSync(path, "");
      },
    ],
    [
      "replaced by a link to itself",
      (folder) => {
        const path = join(folder, owners(folder)[0] ?? "");
        rmSync(path);
        symlinkSync(path, path);
      },
    ],
    ["with its folder", (folder) => rmSync(folder, { recursive: true })],
    [
      "with its folder, which another process has made anew",
      (folder) => {
        rmSync(folder, { recursive: true });
        mkdirSync(folder);
      },
    ],
  ])("%s", async (_, act) => {
    const folder = join(temporaryFolder(), "locks");
    const locks = new FileLocks(folder);
    await locks.withLock("k", async (lock) => {
      lock.check();
      act(folder);
      expect(() => lock.check()).toThrow(expect.objectContaining({ code: "lock_lost", transient: true }));
      expect((await failure(lock.write(async () => {}))).code).toBe("lock_lost");
      // Another lock of this process does not revive it.
      expect(await locks.withLock("other", async () => "mine")).toBe("mine");
      expect(() => lock.check()).toThrow(expect.objectContaining({ code: "lock_lost" }));
    });
    expect(await locks.withLock("k", async () => "mine")).toBe("mine");
    expect(existsSync(join(folder, "held.sqlite"))).toBe(true);
  });
});
