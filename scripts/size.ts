/** Bundles what a program gets from each entry point, dependencies included and peers not, and holds the limits. */
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import manifest from "../package.json" with { type: "json" };

const root = fileURLToPath(new URL("..", import.meta.url));

/** What a program imports, where it runs, and the limit in bytes, minified and gzipped. */
const programs: [name: string, code: string, platform: "neutral" | "node", limit?: number][] = [
  [". (everything)", `export * from "./dist/index.js";`, "neutral", 20_000],
  [". (generateCodeVerifier)", `export { generateCodeVerifier } from "./dist/index.js";`, "neutral", 2_000],
  ["./node", `export * from "./dist/node/index.js";`, "node"],
  ["./sdk-v1", `export * from "./dist/transports/sdk-v1.js";`, "neutral"],
  ["./sdk-v2", `export * from "./dist/transports/sdk-v2.js";`, "neutral"],
];

let tooLarge = false;
const rows = [];
for (const [name, contents, platform, limit] of programs) {
  const { outputFiles, metafile } = await build({
    stdin: { contents, resolveDir: root },
    absWorkingDir: root,
    bundle: true,
    splitting: true,
    minify: true,
    write: false,
    metafile: true,
    format: "esm",
    platform,
    target: "es2024",
    mainFields: ["module", "main"],
    outdir: "out",
    external: Object.keys(manifest.peerDependencies).flatMap((peer) => [peer, `${peer}/*`]),
    logLevel: "error",
  });
  // Only what is loaded with the entry counts; what is imported dynamically is listed beside it.
  const reached = new Set<string>();
  const visit = (path: string) => {
    if (reached.has(path)) return;
    reached.add(path);
    for (const used of metafile.outputs[path]?.imports ?? []) if (used.kind === "import-statement" && !used.external) visit(used.path);
  };
  visit("out/stdin.js");
  let [minified, gzipped, later] = [0, 0, 0];
  for (const { path, contents: bytes } of outputFiles) {
    const size = gzipSync(bytes, { level: 9 }).length;
    if (![...reached].some((output) => path.replaceAll("\\", "/").endsWith(`/${output}`))) later += size;
    else [minified, gzipped] = [minified + bytes.length, gzipped + size];
  }
  const fits = limit === undefined || gzipped <= limit;
  tooLarge ||= !fits;
  rows.push({ import: name, minified, gzipped, "gzipped, loaded later": later, limit: limit ?? "", "": fits ? "" : "too large" });
}
console.table(rows);
process.exitCode = tooLarge ? 1 : 0;
