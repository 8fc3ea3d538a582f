/** What a program loads with an import: each file costs 0.3 to 0.5 ms at every start. Times are measured in `bench`, never here. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import manifest from "../../package.json" with { type: "json" };

const root = join(import.meta.dirname, "../..");
const hooks = `
  import { registerHooks } from "node:module";
  registerHooks({ load: (url, context, next) => (console.log(url), next(url, context)) });`;

/** The files, relative to `dist`, and modules of others, by name. */
async function loadedBy(entry: string): Promise<string[]> {
  const program = `await import(${JSON.stringify(pathToFileURL(join(root, entry)).href)})`;
  const preload = `data:text/javascript,${encodeURIComponent(hooks)}`;
  const args = ["--import", preload, "--input-type=module", "--eval", program];
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: root });
  const dist = pathToFileURL(join(root, "dist/")).href;
  const urls = stdout.split("\n").filter((url) => url !== "" && !url.startsWith("data:"));
  return urls.map((url) =>
    url.startsWith(dist) ? url.slice(dist.length) : (/.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(fileURLToPath(url))?.[1] ?? url),
  );
}

// Files of ours, at most, with the entry's own; packages of others.
test.each([
  [".", 5, []],
  ["./node", 5, []],
  ["./machine", 4, []],
  ["./hosted", 5, []],
  ["./credentials", 2, []],
  ["./grants", 8, []],
  ["./sdk-v1", 3, []],
  ["./sdk-v2", 3, []],
  ["./websocket", 2, []],
  ["./redis", 4, ["jose"]],
] as const)("%s loads at most %i files of ours, and of others %j", async (entry, most, packages) => {
  const loaded = await loadedBy(manifest.exports[entry].default);
  const ours = loaded.filter((file) => file.endsWith(".js"));
  expect(ours.length).toBeGreaterThan(0);
  expect(ours.length, ours.join(", ")).toBeLessThanOrEqual(most);
  expect([...new Set(loaded.filter((file) => !file.endsWith(".js")))]).toEqual(packages);
});
