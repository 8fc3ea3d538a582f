import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, onTestFinished, test } from "vitest";

interface Program {
  child: ChildProcess;
  output: () => string;
  /** Exit code or signal. */
  end: Promise<number | NodeJS.Signals | null>;
}

async function start(mode: string, detail = ""): Promise<Program> {
  const child = spawn(process.execPath, [fileURLToPath(new URL("ending-process.ts", import.meta.url)), mode, detail], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  let output = "";
  child.stdout?.on("data", (chunk) => {
    output += chunk;
  });
  const end = new Promise<number | NodeJS.Signals | null>((resolve) => child.on("close", (code, signal) => resolve(signal ?? code)));
  await expect.poll(() => output).toContain("ready");
  return { child, output: () => output, end };
}

/** Milliseconds in which two signals count as one key press. */
const sameKeyMs = 200;

describe.skipIf(process.platform === "win32")("a signal while a refresh is in flight", () => {
  test.each(["SIGTERM", "SIGINT", "SIGHUP"] as const)("%s ends the process by that signal, after the work", async (signal) => {
    const program = await start("one");
    program.child.kill(signal);
    await expect.poll(() => program.output()).toContain("ending");
    program.child.stdin?.write("go\n");
    expect(await program.end).toBe(signal);
    expect(program.output()).toBe("ready\nending\nfinished\n");
  });

  test("work that begins meanwhile is waited for, too", async () => {
    const program = await start("more");
    program.child.kill("SIGTERM");
    program.child.stdin?.write("go\n");
    expect(await program.end).toBe("SIGTERM");
    expect(program.output()).toContain("finished more");
  });

  test("work that fails ends the process all the same", async () => {
    const program = await start("rejects");
    program.child.kill("SIGTERM");
    program.child.stdin?.write("go\n");
    expect(await program.end).toBe("SIGTERM");
  });

  test("the second Ctrl-C ends it at once", async () => {
    const program = await start("one");
    program.child.kill("SIGINT");
    const again = setInterval(() => program.child.kill("SIGINT"), sameKeyMs + 50);
    expect(await program.end).toBe("SIGINT");
    clearInterval(again);
    expect(program.output()).not.toContain("finished");
  });

  test.each([1, 2, 3, 4, 5])("a signal that arrives together with the answer is not lost, try %i", async () => {
    const program = await start("one");
    program.child.stdin?.write("go\n");
    program.child.kill("SIGTERM");
    expect(await program.end).toBe("SIGTERM");
  });

  test("Ctrl-C that arrives twice, from the terminal and from npm, is one", async () => {
    const program = await start("one");
    program.child.kill("SIGINT");
    program.child.kill("SIGINT");
    await expect.poll(() => program.output()).toContain("ending");
    program.child.stdin?.write("go\n");
    expect(await program.end).toBe("SIGINT");
    expect(program.output()).toContain("finished");
  });

  test.each([
    [0, "one"],
    [199, "one"],
    [200, "one"],
    [201, "two"],
    [5000, "two"],
  ])("Ctrl-C again after %i ms is %s: two end it at once", async (ms, count) => {
    const program = await start("two-keys", String(ms));
    program.child.stdin?.write("go\n");
    if (count === "one") {
      await expect.poll(() => program.output()).toContain("pressed");
      program.child.stdin?.write("go\n");
    }
    expect(await program.end).toBe("SIGINT");
    expect(program.output().includes("finished")).toBe(count === "one");
  });

  test("work that hangs is given up after 10 s", async () => {
    const program = await start("one");
    const began = performance.now();
    program.child.kill("SIGTERM");
    expect(await program.end).toBe("SIGTERM");
    expect(performance.now() - began).toBeGreaterThan(9_000);
  });

  test("an app that listens itself decides alone", async () => {
    const program = await start("app-listens");
    program.child.kill("SIGTERM");
    expect(await program.end).toBe(7);
    expect(program.output()).toContain("app saw SIGTERM");
  });

  test("a library that only tidies up on exit is no such app", async () => {
    const program = await start("signal-exit");
    program.child.kill("SIGTERM");
    program.child.stdin?.write("go\n");
    expect(await program.end).toBe("SIGTERM");
    expect(program.output()).toMatch(/finished\ntidied up/);
  });
});

describe("without anything in flight", () => {
  test.skipIf(process.platform === "win32").each(["SIGTERM", "SIGINT", "SIGHUP"] as const)(
    "%s does what it always does",
    async (signal) => {
      const program = await start("idle");
      program.child.kill(signal);
      expect(await program.end).toBe(signal);
    },
  );

  test("1000 works need one listener, and none afterwards", async () => {
    const program = await start("many");
    program.child.stdin?.write("go\n");
    await expect.poll(() => program.output()).toContain("listeners");
    program.child.kill("SIGTERM");
    expect(await program.end).toBe("SIGTERM");
    expect(program.output()).not.toContain("MaxListenersExceededWarning");
  });

  test("a process that ends by itself knows it, and one that lives on forgets it", async () => {
    const program = await start("ending");
    expect(await program.end).toBe(0);
    expect(program.output()).toBe("ending false\nready\nbeforeExit true\nalive again false\nexit true\n");
  });
});
