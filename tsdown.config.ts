/** How `dist` is made: `npm run build`. */
import { join } from "node:path";
import { defineConfig, type Rolldown } from "tsdown";

/** The entry points of package.json. Each keeps its path, so that code and types lie beside each other. */
const entry = {
  index: "src/index.ts",
  "node/index": "src/node/index.ts",
  "machine/index": "src/machine/index.ts",
  "hosted/index": "src/hosted/index.ts",
  "credentials/index": "src/credentials/index.ts",
  "grants/index": "src/grants/index.ts",
  "transports/sdk/v1": "src/transports/sdk/v1.ts",
  "transports/sdk/v2": "src/transports/sdk/v2.ts",
  "transports/websocket/websocket": "src/transports/websocket/websocket.ts",
  "node/redis/index": "src/node/redis/index.ts",
};
type Entry = keyof typeof entry;
const entries = Object.keys(entry) as Entry[];

/**
 * Files that a program loads with an import: a module belongs to the first line whose entry imports it, and another one as well
 * where `shared` says so. What only dynamic imports need is left to the bundler.
 *
 * Each file costs 0.3 to 0.5 ms at every start, and the bundler by itself makes one for each combination of entries and dynamic
 * imports: more than twenty for `.`. No source file is named here, so that one that moves stays in its chunk;
 * `test/package/loaded.test.ts` holds what each entry loads.
 */
const chunks: readonly { name: string; importedBy: Entry; shared?: true }[] = [
  { name: "base", importedBy: "credentials/index", shared: true },
  { name: "shared", importedBy: "machine/index", shared: true },
  { name: "core", importedBy: "index", shared: true },
  // Beside the entry's own file, because dynamic imports need parts of it.
  { name: "node/core", importedBy: "node/index" },
  { name: "machine/core", importedBy: "machine/index" },
  { name: "hosted/core", importedBy: "hosted/index" },
  // The steps of a login: of these `node/index` needs only some, and only for a login.
  { name: "steps", importedBy: "index" },
];

const imports = new Map<Entry, ReadonlySet<string>>();

/** The modules that an entry imports, not dynamically, directly or by way of others. */
function importsOf(name: Entry, modules: Rolldown.ChunkingContext): ReadonlySet<string> {
  const known = imports.get(name);
  if (known) return known;
  const found = new Set([join(import.meta.dirname, entry[name])]);
  // What is added to a set while it is walked through is walked through, too.
  for (const id of found) for (const next of modules.getModuleInfo(id)?.importedIds ?? []) found.add(next);
  imports.set(name, found);
  return found;
}

const groups = chunks.map(({ name, importedBy, shared }, place) => ({
  name: (id: string, modules: Rolldown.ChunkingContext) => {
    const isImportedBy = (other: Entry) => importsOf(other, modules).has(id);
    return isImportedBy(importedBy) && (!shared || entries.some((other) => other !== importedBy && isImportedBy(other))) ? name : null;
  },
  priority: chunks.length - place,
}));

export default defineConfig({
  entry,
  platform: "node",
  fixedExtension: false,
  hash: false,
  target: "es2024",
  // Not minified: an uncaught error prints the line that it comes from, and gzip gains 1 %.
  dts: true,
  banner: { dts: '/// <reference lib="esnext.disposable" />' },
  sourcemap: true,
  failOnWarn: true,
  report: false,
  // Dependencies are installed, so that users' audits and updates reach them: nothing of others is built in.
  deps: { onlyBundle: [] },
  outputOptions: {
    // Docstrings are in the declarations.
    comments: { jsdoc: false },
    codeSplitting: { groups },
  },
});
