/** A copy of the project in which every mutant stands behind a switch: the working tree itself is never touched. */
import { createHash } from "node:crypto";
import { cpSync, existsSync, globSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import ts from "typescript";
import { instrument, type Mutant, switchName } from "./mutants.ts";

export interface Scratch {
  folder: string;
  /** A mutant's number is its place. */
  mutants: readonly Mutant[];
}

const root = join(import.meta.dirname, "../..");
/** What tests need of the project. */
const copied = ["src", "test", "scripts", "examples", "docs", "README.md", "package.json", "tsconfig.json", "vitest.config.ts"];

/**
 * The copy for the project as it is now; one that is there already is used again, with what was recorded in it.
 *
 * @param sources glob patterns of what is mutated
 */
export function createScratch(sources: readonly string[]): Scratch {
  const files = globSync([...sources], { cwd: root }).sort();
  if (files.length === 0) throw new Error(`no such files: ${sources.join(" ")}`);
  const texts = new Map(files.map((file) => [file, readFileSync(join(root, file), "utf8")]));
  // What else changes is copied again, or does not change what is reached. Two clones of the project do not meet.
  const made = JSON.stringify([root, readFileSync(join(import.meta.dirname, "mutants.ts"), "utf8"), ...texts]);
  const hash = createHash("sha256").update(made).digest("hex").slice(0, 12);
  const folder = join(tmpdir(), `mcp-client-auth-mutation-${hash}`);
  const isNew = !existsSync(join(folder, "active"));
  // The tests may have changed since.
  for (const name of copied.filter((name) => isNew || name !== "src")) {
    rmSync(join(folder, name), { recursive: true, force: true });
    cpSync(join(root, name), join(folder, name), { recursive: true });
  }
  rmSync(join(folder, "node_modules"), { force: true });
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));

  const mutants: Mutant[] = [];
  for (const [file, text] of texts) {
    const { code, mutants: found } = instrument(file, text, mutants.length, prelude(join(folder, "switch.cjs")));
    // One that cannot be parsed would be noticed by every test, and so would all the others of its file.
    const { diagnostics } = ts.transpileModule(code, { reportDiagnostics: true, compilerOptions: { target: ts.ScriptTarget.ES2024 } });
    if (diagnostics?.[0])
      throw new Error(`${file} cannot be parsed any more: ${ts.flattenDiagnosticMessageText(diagnostics[0].messageText, " ")}`);
    if (isNew) writeFileSync(join(folder, file), code);
    mutants.push(...found);
  }
  cpSync(join(import.meta.dirname, "switch.cjs"), join(folder, "switch.cjs"));
  activate(folder, undefined);
  return { folder, mutants };
}

/** Puts one mutant in use, for all processes that start from now on; none with `undefined`. */
export function activate(folder: string, active: number | "record" | undefined): void {
  writeFileSync(join(folder, "active"), String(active ?? -1));
}

/** Works in every module, whatever else it imports, and changes no line above it. */
function prelude(path: string): string {
  const load = `globalThis.process.getBuiltinModule("node:module").createRequire(${JSON.stringify(path)})(${JSON.stringify(path)})`;
  return `function ${switchName}(id) { return (globalThis.__mutation ??= ${load})(id); }`;
}
