import { join } from "node:path";
import ts from "typescript";
import { expect, test } from "vitest";

const root = join(import.meta.dirname, "../..");
const config = ts.getParsedCommandLineOfConfigFile(join(root, "scripts/tsconfig.neutral.json"), undefined, {
  ...ts.sys,
  onUnRecoverableConfigFileDiagnostic: (diagnostic) => {
    throw new Error(ts.flattenDiagnosticMessageText(diagnostic.messageText, "\n"));
  },
});

/** What the compiler says of `text` as a file of the neutral source. */
function complaints(text: string): string[] {
  const file = join(root, "src/http/sample.ts");
  const host = ts.createCompilerHost(config?.options ?? {});
  const { getSourceFile } = host;
  host.getSourceFile = (name, target) => (name === file ? ts.createSourceFile(name, text, target) : getSourceFile(name, target));
  const program = ts.createProgram([file], config?.options ?? {}, host);
  const diagnostics = program.getSemanticDiagnostics(program.getSourceFile(file));
  return diagnostics.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, "\n"));
}

test.each([
  [`import { readFileSync } from "node:fs"; export const read = readFileSync;`, "node:fs"],
  ["export const platform = process.platform;", "process"],
  [`export const bytes = Buffer.from("text");`, "Buffer"],
  ["export const later = setImmediate;", "setImmediate"],
])("the neutral source may not say: %s", (text, name) => {
  expect(complaints(text)).toEqual([expect.stringContaining(`Cannot find name '${name}'`)]);
});

test("the neutral source may use Web APIs", () => {
  expect(complaints("export const send = () => fetch(new URL('https://host'), { signal: AbortSignal.timeout(1) });")).toEqual([]);
});

test("all of src is looked at but what is for Node; the Redis store is, too", () => {
  const files = (config?.fileNames ?? []).map((name) => name.slice(join(root, "src/").length));
  expect(files).toContain("errors.ts");
  expect(files.filter((name) => /^(node|cli|testing)\//.test(name))).toEqual(["node/redis/index.ts"]);
});
