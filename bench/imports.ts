import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import manifest from "../package.json" with { type: "json" };

const root = fileURLToPath(new URL("..", import.meta.url));
const runs = 21;

export interface ImportTime {
  import: string;
  /** Above an empty module, in ms. */
  "minimum, ms": number;
  "median, ms": number;
}

/** How long an import takes in a fresh process. All take turns, so that what disturbs the machine disturbs each the same. */
export async function importTimes(): Promise<ImportTime[]> {
  const folder = await mkdtemp(join(tmpdir(), "bench-imports-"));
  const empty = join(folder, "empty.mjs");
  await writeFile(empty, "");
  const names = Object.keys(manifest.exports)
    .filter((entry) => entry !== "./package.json")
    .map((entry) => manifest.name + entry.slice(1));
  const imports: Record<string, string> = {
    empty: pathToFileURL(empty).href,
    ...Object.fromEntries(names.map((name) => [name, name])),
    oauth4webapi: "oauth4webapi",
    "SDK v1: auth": "@modelcontextprotocol/sdk/client/auth.js",
    "SDK v2: auth": "@modelcontextprotocol/client",
  };
  const times = new Map(Object.keys(imports).map((name): [string, number[]] => [name, []]));
  for (let run = 0; run < runs; run++) for (const [name, url] of Object.entries(imports)) times.get(name)?.push(await timeOf(url));
  await rm(folder, { recursive: true });

  const nothing = summary(times.get("empty") ?? []);
  times.delete("empty");
  return [...times].map(([name, all]) => {
    const { minimum, median } = summary(all);
    return { import: name, "minimum, ms": round(minimum - nothing.minimum), "median, ms": round(median - nothing.median) };
  });
}

async function timeOf(url: string): Promise<number> {
  const program = `const start = performance.now(); await import(${JSON.stringify(url)}); console.log(performance.now() - start);`;
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", program], { cwd: root });
  return Number(stdout);
}

function summary(times: readonly number[]) {
  const sorted = times.toSorted((a, b) => a - b);
  return { minimum: sorted[0] ?? Number.NaN, median: sorted[Math.floor(sorted.length / 2)] ?? Number.NaN };
}

const round = (ms: number) => Math.round(ms * 10) / 10;
