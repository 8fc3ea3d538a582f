/** Holds the direction of imports in `src`: a folder may import itself and what lies below it, types included; no files import each other. */
import { globSync, readFileSync } from "node:fs";
import { posix } from "node:path";
import ts from "typescript";

/**
 * From top to bottom; what stands in one line may not import each other. `entry` is `index.ts`; `contract` is what credentials
 * and transports agree on.
 */
const levels = [
  ["cli", "testing"],
  ["node"],
  ["entry"],
  ["hosted"],
  ["user", "machine"],
  ["login"],
  ["tokens"],
  ["credentials"],
  ["transports"],
  ["contract"],
  ["grants"],
  ["registration", "client-auth"],
  ["discovery", "authorization"],
  ["http", "profiles", "stores"],
  ["foundation"],
];
/** Files in `src` itself. */
const places: Readonly<Record<string, string>> = {
  "index.ts": "entry",
  "audit.ts": "entry",
  "credential.ts": "contract",
  "async.ts": "foundation",
  "clock.ts": "foundation",
  "errors.ts": "foundation",
  "oauth4webapi.ts": "foundation",
  "events.ts": "foundation",
  "extensions.ts": "foundation",
  "options.ts": "foundation",
  "runtime.ts": "foundation",
  "pause.ts": "foundation",
};

/**
 * One line for each import that points up, sideways, or nowhere, and one for each circle of files.
 *
 * @param files path below `src` (`tokens/token-set.ts`) to the file's text
 */
export function violations(files: ReadonlyMap<string, string>): string[] {
  const found: string[] = [];
  const imports = new Map<string, string[]>();
  for (const [file, text] of files) {
    const from = place(file);
    if (levelOf(from) < 0) {
      found.push(`src/${file}: the folder ${from} has no place in the order`);
      continue;
    }
    const targets: string[] = [];
    imports.set(file, targets);
    for (const { fileName: specifier } of ts.preProcessFile(text, true, true).importedFiles) {
      if (!specifier.startsWith(".")) continue;
      const target = posix.join(posix.dirname(file), specifier);
      const to = place(target);
      targets.push(target);
      if (!files.has(target)) found.push(`src/${file}: ${specifier} does not exist in src`);
      else if (to !== from && levelOf(to) <= levelOf(from)) found.push(`src/${file}: ${from} may not import ${to} (${specifier})`);
    }
  }
  return [...found, ...circles(imports)];
}

/** Each circle once, as a path that ends where it begins. Types count: what is read together belongs together. */
function circles(imports: ReadonlyMap<string, readonly string[]>): string[] {
  const found: string[] = [];
  const done = new Set<string>();
  const visit = (file: string, path: readonly string[]) => {
    const begun = path.indexOf(file);
    if (begun >= 0) found.push(`circle: ${[...path.slice(begun), file].map((name) => `src/${name}`).join(" → ")}`);
    if (begun >= 0 || done.has(file)) return;
    for (const target of imports.get(file) ?? []) visit(target, [...path, file]);
    done.add(file);
  };
  for (const file of imports.keys()) visit(file, []);
  return found;
}

function place(file: string): string {
  const [folder = "", rest] = file.split("/", 2);
  return rest === undefined ? (places[file] ?? file) : folder;
}

function levelOf(folder: string): number {
  return levels.findIndex((level) => level.includes(folder));
}

if (import.meta.main) {
  const root = new URL("../src/", import.meta.url);
  const files = new Map(
    globSync("**/*.ts", { cwd: root }).map((path) => [path.replaceAll("\\", "/"), readFileSync(new URL(path, root), "utf8")]),
  );
  const found = violations(files);
  console.log(found.length > 0 ? found.join("\n") : `${files.size} files import downwards only, in no circle.`);
  process.exitCode = found.length > 0 ? 1 : 0;
}
