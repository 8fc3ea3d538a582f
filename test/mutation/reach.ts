/** Which tests reach which mutants: recorded once a test file, by running it with all mutants switched off. */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Runner } from "./runner.ts";
import { activate, type Scratch } from "./scratch.ts";

/** What the tests of one file reach. */
export interface Reach {
  file: string;
  hash: string;
  /** Tests that do not even pass without a mutant; the file itself when it cannot be loaded. They are left out. */
  failed: string[];
  tests: { name: string; ms: number; ids: number[] }[];
}

/** One line of what `switch.cjs` writes. */
interface Line {
  file: string;
  test?: string;
  ms: number;
  ids: number[];
}

export async function recordReach({ folder }: Scratch, files: readonly string[], onFile?: (reach: Reach) => void): Promise<Reach[]> {
  const all: Reach[] = [];
  const runner = new Runner(folder, { isRecording: true });
  mkdirSync(join(folder, "reach"), { recursive: true });
  try {
    activate(folder, "record");
    for (const file of files) {
      const kept = join(folder, "reach", `${file.replaceAll("/", "-")}.json`);
      const hash = createHash("sha256")
        .update(readFileSync(join(folder, file)))
        .digest("hex");
      let reach = existsSync(kept) ? (JSON.parse(readFileSync(kept, "utf8")) as Reach) : undefined;
      if (reach?.hash !== hash || reach.failed.length > 0) {
        reach = await recordFile(runner, folder, file, hash);
        writeFileSync(kept, JSON.stringify(reach));
        onFile?.(reach);
      }
      all.push(reach);
    }
  } finally {
    runner.dispose();
    activate(folder, undefined);
  }
  return all;
}

async function recordFile(runner: Runner, folder: string, file: string, hash: string): Promise<Reach> {
  const written = join(folder, "reached");
  rmSync(written, { force: true });
  const { failed } = await runner.run({ file });
  const text = existsSync(written) ? readFileSync(written, "utf8") : "";
  const lines = text
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Line);
  const tests = new Map<string, { ms: number; ids: Set<number> }>();
  // What runs before the tests runs for each of them: constants, `beforeAll`.
  const shared = lines.filter((line) => line.test === undefined).flatMap(({ ids }) => ids);
  for (const { test, ms, ids } of lines) {
    if (test === undefined) continue;
    const entry = tests.get(test) ?? { ms: 0, ids: new Set(shared) };
    entry.ms += ms;
    for (const id of ids) entry.ids.add(id);
    tests.set(test, entry);
  }
  const passed = failed.includes(file) ? [] : [...tests].filter(([name]) => !failed.includes(name));
  return { file, hash, failed, tests: passed.map(([name, { ms, ids }]) => ({ name, ms, ids: [...ids] })) };
}
