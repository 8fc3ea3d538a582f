/** Times of fresh processes, measured by this one: from Node's start to the first byte that the program writes. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { median, rounded } from "./numbers.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

/** Above the empty program, in ms. The minimum is the better number on a busy machine. */
export interface StartTime {
  "minimum, ms": number;
  "median, ms": number;
}

/** A folder with programs that import packages as a user's do, for as long as the measurement takes. */
export async function withPrograms<T>(programs: Readonly<Record<string, string>>, measure: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), "bench-starts-"));
  try {
    await mkdir(join(folder, "node_modules"));
    for (const name of ["mcp-client-auth", "oauth4webapi", "jose", "@modelcontextprotocol"]) {
      const target = name === "mcp-client-auth" ? root : join(root, "node_modules", name);
      await symlink(target, join(folder, "node_modules", name), "junction");
    }
    for (const [name, code] of Object.entries(programs))
      await writeFile(join(folder, `${name}.mjs`), `${code}\nprocess.stdout.write("x");\n`);
    return await measure(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Lets all programs and an empty one take turns, so that what disturbs the machine disturbs each the same. The first turn warms up. */
export async function startTimes(
  programs: Readonly<Record<string, string>>,
  turns: number,
  env: Readonly<Record<string, string>> = {},
): Promise<{ empty: StartTime; above: Record<string, StartTime> }> {
  return withPrograms({ ...programs, empty: "" }, async (folder) => {
    const times = new Map(["empty", ...Object.keys(programs)].map((name): [string, number[]] => [name, []]));
    for (let turn = 0; turn <= turns; turn++) {
      for (const [name, all] of times) {
        const time = await firstByte(join(folder, `${name}.mjs`), env);
        if (turn > 0) all.push(time);
      }
    }
    const empty = summary(times.get("empty") ?? []);
    times.delete("empty");
    const above = [...times].map(([name, all]): [string, StartTime] => [name, difference(summary(all), empty)]);
    return { empty: difference(empty, { "minimum, ms": 0, "median, ms": 0 }), above: Object.fromEntries(above) };
  });
}

async function firstByte(program: string, env: Readonly<Record<string, string>>): Promise<number> {
  const started = performance.now();
  const child = spawn(process.execPath, [program], { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "inherit"] });
  let time = Number.NaN;
  child.stdout.once("data", () => {
    time = performance.now() - started;
  });
  const [code] = await once(child, "close");
  if (code !== 0 || Number.isNaN(time)) throw new Error(`${program} ended with ${code}`);
  return time;
}

const summary = (times: readonly number[]): StartTime => ({ "minimum, ms": Math.min(...times), "median, ms": median(times) });

/** How much more one of them is. */
export function difference(a: StartTime, b: StartTime): StartTime {
  return { "minimum, ms": rounded(a["minimum, ms"] - b["minimum, ms"]), "median, ms": rounded(a["median, ms"] - b["median, ms"]) };
}
