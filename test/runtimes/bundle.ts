import { existsSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";

const root = join(import.meta.dirname, "../..");

/** A program in one file, with the built package as its users get it. @param code what it does with the modules in this folder */
export async function bundle(code: string, platform: "neutral" | "node"): Promise<string> {
  if (!existsSync(join(root, "dist/index.js"))) throw new Error("There is no built package: `npm run build` makes it.");
  const { outputFiles } = await build({
    stdin: { contents: code, resolveDir: import.meta.dirname },
    absWorkingDir: root,
    bundle: true,
    write: false,
    format: "esm",
    platform,
    target: "es2024",
    mainFields: ["module", "main"],
    // No paths to the source.
    tsconfigRaw: {},
    external: ["undici", "keytar", "@napi-rs/keyring"],
    logLevel: "error",
  });
  return outputFiles[0]?.text ?? "";
}
