import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { expect, onTestFinished } from "vitest";
import { SqliteStore } from "../../../src/node/stores/sqlite.ts";

/** Eight processes check the contract on one store at once, and share a counter and a record that one may take. */
export async function expectContractOfProcesses(folder: string): Promise<void> {
  const [count, turns] = [8, 25];
  const children = Array.from({ length: count }, () => start(folder, turns));
  const store = new SqliteStore({ app: "test", folder, keychain: false });
  await store.set("pending", { v: 1 });
  await Promise.all(children.map(({ said }) => said("ready")));
  for (const { child } of children) child.stdin.write("go\n");
  const ends = await Promise.all(children.map(async ({ ended, lines }) => [await ended, lines.at(-1)]));
  expect(ends.map(([end]) => end)).toEqual(Array.from({ length: count }, () => 0));
  expect(ends.map(([, line]) => line).sort()).toEqual(["done with", ...Array.from({ length: count - 1 }, () => "done without")]);
  expect(await store.get("counter")).toEqual({ v: 1, n: count * turns });
}

function start(folder: string, turns: number) {
  const program = new URL("store-process.ts", import.meta.url).pathname;
  const child = spawn(process.execPath, [program], {
    env: { ...process.env, FOLDER: folder, TURNS: String(turns), NODE_OPTIONS: "" },
    stdio: ["pipe", "pipe", "inherit"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const lines: string[] = [];
  createInterface({ input: child.stdout }).on("line", (line) => lines.push(line));
  const ended = once(child, "close").then(([code]) => code as number | null);
  return { child, lines, ended, said: (line: string) => expect.poll(() => lines, { timeout: 45_000 }).toContain(line) };
}
