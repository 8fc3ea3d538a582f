/** Locks between processes: real ones, that are killed, stopped and starved. */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { FileLocks } from "../../../src/node/stores/lock.ts";
import { SqliteStore } from "../../../src/node/stores/sqlite.ts";
import { failure } from "../../storm/support.ts";

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "mcp-client-auth-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A process that takes locks in this folder when it is told to. */
function start(folder: string, env: NodeJS.ProcessEnv = {}) {
  const program = new URL("lock-process.ts", import.meta.url).pathname;
  const child = spawn(process.execPath, [program], {
    env: { ...process.env, ...env, FOLDER: folder, NODE_OPTIONS: "" },
    stdio: ["pipe", "pipe", "inherit"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const lines: string[] = [];
  createInterface({ input: child.stdout }).on("line", (line) => lines.push(line));
  return {
    lines,
    tell: (line: string) => void child.stdin.write(`${line}\n`),
    said: (line: string) => expect.poll(() => lines, { timeout: 45_000 }).toContain(line),
    signal: (signal: NodeJS.Signals) => void child.kill(signal),
    ended: once(child, "close"),
  };
}

async function holder(folder: string) {
  const child = start(folder);
  child.tell("lock k");
  await child.said("locked k");
  return child;
}

const bounded = { lockTimeout: 50 };

describe("between processes", () => {
  test("a lock keeps others out until it is released", async () => {
    const folder = temporaryFolder();
    const child = await holder(folder);
    const locks = new FileLocks(folder);
    expect((await failure(locks.withLock("k", async () => "mine", bounded))).code).toBe("lock_timeout");
    const next = locks.withLock("k", async () => "mine");
    child.tell("release");
    expect(await next).toBe("mine");
  });

  test("a holder that is killed frees it", async () => {
    const folder = temporaryFolder();
    const child = await holder(folder);
    const next = new FileLocks(folder).withLock("k", async () => "mine");
    child.signal("SIGKILL");
    expect(await next).toBe("mine");
  });

  test("a holder that is stopped keeps it: others wait up to their bound and never bypass it", async () => {
    const folder = temporaryFolder();
    const child = await holder(folder);
    child.signal("SIGSTOP");
    const locks = new FileLocks(folder);
    for (let i = 0; i < 3; i++) {
      const error = await failure(locks.withLock("k", async () => "mine", bounded));
      expect([error.code, error.transient]).toEqual(["lock_timeout", true]);
    }
    const next = locks.withLock("k", async () => "mine");
    child.signal("SIGCONT");
    child.tell("release");
    await child.said("released k");
    expect(await next).toBe("mine");
  });

  test("of sixteen that take turns all get through, and there is never more than one owner", { timeout: 120_000 }, async () => {
    const folder = temporaryFolder();
    const children = Array.from({ length: 16 }, () => start(folder));
    await Promise.all(children.map(({ said }) => said("ready")));
    for (const { tell } of children) tell("turns k 20");
    await Promise.all(children.map(({ said }) => said("took turns")));
    expect(await new SqliteStore({ app: "records", folder, keychain: false }).get("k")).toEqual({ v: 1, n: 320 });
  });

  test("there is one owner at a time although owners are killed all the time", { timeout: 120_000 }, async () => {
    const folder = temporaryFolder();
    const worker = start(folder);
    await worker.said("ready");
    const victims = Array.from({ length: 6 }, () => start(folder));
    await Promise.all(victims.map(({ said }) => said("ready")));
    for (const { tell } of victims) tell("turns noise 100000");
    worker.tell("turns noise 40");
    for (const { signal, ended } of victims) {
      signal("SIGKILL");
      await ended;
    }
    await worker.said("took turns");
    expect(await new FileLocks(folder).withLock("noise", async () => "free", bounded)).toBe("free");
  });
});

describe("traps of POSIX locks", () => {
  test("looking at a lock that is held, from the same process, does not free it", async () => {
    const folder = temporaryFolder();
    const child = start(folder);
    await child.said("ready");
    await new FileLocks(folder).withLock("k", async () => {
      // Other stores of this process try the same lock, and give up.
      for (let i = 0; i < 3; i++)
        expect((await failure(new FileLocks(folder).withLock("k", async () => {}, bounded))).code).toBe("lock_timeout");
      child.tell("lock k");
      expect((await failure(new FileLocks(folder).withLock("k", async () => {}, bounded))).code).toBe("lock_timeout");
      expect(child.lines).not.toContain("locked k");
    });
    await child.said("locked k");
  });

  test("a lock lasts although nothing but the action is left of it", async () => {
    const folder = temporaryFolder();
    const child = start(folder);
    await child.said("ready");
    setFlagsFromString("--expose-gc");
    const collect = runInNewContext("gc") as () => void;
    await new FileLocks(folder).withLock("k", async () => {
      for (let i = 0; i < 5; i++) {
        collect();
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      child.tell("lock k");
      child.tell("lock other");
      await child.said("locked other");
      expect(child.lines).not.toContain("locked k");
    });
    await child.said("locked k");
  });

  test("files that somebody deleted are made anew; the holder learns that it has lost the lock", async () => {
    const folder = temporaryFolder();
    await new FileLocks(folder).withLock("k", async (lock) => {
      await lock.write(async () => {});
      for (const name of readdirSync(folder)) rmSync(join(folder, name));
      expect((await failure(lock.write(async () => {}))).code).toBe("lock_lost");
      expect(lock.signal.aborted).toBe(true);
    });
    expect(await new FileLocks(folder).withLock("k", async () => "mine")).toBe("mine");
  });

  test("a table that is replaced between the look and the opening: the new one has the lock", async () => {
    const folder = temporaryFolder();
    const { exec } = DatabaseSync.prototype;
    const spy = vi.spyOn(DatabaseSync.prototype, "exec").mockImplementation(function (this: DatabaseSync, text) {
      spy.mockRestore();
      const [name = ""] = readdirSync(folder);
      renameSync(join(folder, name), join(folder, "before"));
      writeFileSync(join(folder, name), "");
      return exec.call(this, text);
    });
    const child = start(folder);
    await child.said("ready");
    await new FileLocks(folder).withLock("k", async (lock) => {
      await lock.write(async () => {});
      child.tell("lock k");
      child.tell("lock other");
      await child.said("locked other");
      expect(child.lines).not.toContain("locked k");
    });
    await child.said("locked k");
  });

  test("nothing is written under a lock that was released", async () => {
    const locks = new FileLocks(temporaryFolder());
    const lock = await locks.withLock("k", async (lock) => lock);
    const write = vi.fn(async () => {});
    expect((await failure(lock.write(write))).code).toBe("lock_lost");
    expect(write).not.toHaveBeenCalled();
  });

  test("files that hold something else than a database can be used all the same", async () => {
    const folder = temporaryFolder();
    const locks = new FileLocks(folder);
    await locks.withLock("k", async () => {});
    for (const name of readdirSync(folder)) writeFileSync(join(folder, name), "noise ".repeat(1000));
    expect(await locks.withLock("k", async () => "mine")).toBe("mine");
  });
});

describe.runIf(process.platform === "linux")("a file system without working locks is noticed and named", () => {
  const library = () => {
    const path = join(temporaryFolder(), "no-locks.so");
    execFileSync("cc", ["-shared", "-fPIC", "-o", path, new URL("no-locks.c", import.meta.url).pathname, "-ldl"]);
    return path;
  };

  test.each([
    ["says yes and locks nothing", "none"],
    ["refuses", "refused"],
  ])("one that %s: lock_unsupported, before anything is read or written", async (_, fake) => {
    const folder = temporaryFolder();
    const child = start(folder, { LD_PRELOAD: library(), FAKE_LOCKS: fake });
    await child.said("ready");
    child.tell("turns k 1");
    await expect
      .poll(() => child.lines, { timeout: 45_000 })
      .toContainEqual(expect.stringMatching(/^failed lock_unsupported: The file system has no working locks: /));
    expect(child.lines.at(-1)).toContain(folder);
    expect(existsSync(join(folder, "records"))).toBe(false);
  });

  test("the same library without a fault changes nothing", async () => {
    const folder = temporaryFolder();
    const child = start(folder, { LD_PRELOAD: library() });
    await child.said("ready");
    child.tell("turns k 1");
    await child.said("took turns");
  });
});
