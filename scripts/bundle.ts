/** What a program gets when it imports something: minified, with everything that comes along. */
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));

export interface Size {
  /** Bytes that are loaded with the import. */
  minified: number;
  gzipped: number;
  /** Gzipped bytes behind dynamic imports. */
  later: number;
}

/**
 * @param code the program; paths are relative to the project
 * @param external packages that do not count
 * @param splitting `false` puts everything in one file: where files are split, esbuild keeps all that any of them could use
 */
export async function bundle(
  code: string,
  platform: "neutral" | "node",
  external: readonly string[] = [],
  splitting = true,
): Promise<Size> {
  const { outputFiles, metafile } = await build({
    stdin: { contents: code, resolveDir: root },
    absWorkingDir: root,
    bundle: true,
    splitting,
    minify: true,
    write: false,
    metafile: true,
    format: "esm",
    platform,
    target: "es2024",
    mainFields: ["module", "main"],
    // The packages as they are built: no paths to the source.
    tsconfigRaw: {},
    outdir: "out",
    external: external.flatMap((name) => [name, `${name}/*`]),
    logLevel: "error",
  });
  const reached = new Set<string>();
  const visit = (path: string) => {
    if (reached.has(path)) return;
    reached.add(path);
    for (const used of metafile.outputs[path]?.imports ?? []) if (used.kind === "import-statement" && !used.external) visit(used.path);
  };
  visit("out/stdin.js");
  const size: Size = { minified: 0, gzipped: 0, later: 0 };
  for (const { path, contents: bytes } of outputFiles) {
    const gzipped = gzipSync(bytes, { level: 9 }).length;
    if (![...reached].some((output) => path.replaceAll("\\", "/").endsWith(`/${output}`))) size.later += gzipped;
    else [size.minified, size.gzipped] = [size.minified + bytes.length, size.gzipped + gzipped];
  }
  return size;
}
