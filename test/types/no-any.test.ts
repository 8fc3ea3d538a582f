/** The built declarations, node by node: what a user imports holds no `any`, and nothing that cannot be resolved. */
import { globSync } from "node:fs";
import { join, relative } from "node:path";
import ts from "typescript";
import { expect, test } from "vitest";

const root = join(import.meta.dirname, "../..");
const { options } = ts.parseJsonConfigFileContent(ts.readConfigFile(join(root, "tsconfig.json"), ts.sys.readFile).config, ts.sys, root);

/** Places of types that are `any`; what cannot be resolved is `any` to the compiler as well. */
function anyTypes(files: string[], host = ts.createCompilerHost(options)): string[] {
  const program = ts.createProgram(files, options, host);
  const checker = program.getTypeChecker();
  const found: string[] = [];
  for (const file of files) {
    const source = program.getSourceFile(file);
    if (!source) throw new Error(`${file} is missing`);
    const visit = (node: ts.Node) => {
      if (ts.isTypeNode(node) && checker.getTypeFromTypeNode(node).flags & ts.TypeFlags.Any) {
        const { line } = source.getLineAndCharacterOfPosition(node.getStart());
        found.push(`${relative(root, file)}:${line + 1}: ${node.getText()}`);
      }
      ts.forEachChild(node, visit);
    };
    visit(source);
  }
  return found;
}

test("no declaration of the package is `any`", { timeout: 120_000 }, () => {
  const files = globSync("dist/**/*.d.ts", { cwd: root }).map((file) => join(root, file));
  expect(files.map((file) => relative(root, file))).toEqual(
    expect.arrayContaining([
      "dist/index.d.ts",
      "dist/node/index.d.ts",
      "dist/hosted/index.d.ts",
      "dist/credentials/index.d.ts",
      "dist/transports/websocket/websocket.d.ts",
      "dist/node/redis/index.d.ts",
    ]),
  );
  expect(anyTypes(files)).toEqual([]);
});

test.each(["export declare const a: any;", "export interface A { b(): Promise<any> }", 'export type A = import("no-such-package").B;'])(
  "the check sees it: %s",
  { timeout: 120_000 },
  (text) => {
    const file = join(root, "leak.d.ts");
    const host = ts.createCompilerHost(options);
    const { getSourceFile } = host;
    host.getSourceFile = (name, target) => (name === file ? ts.createSourceFile(name, text, target, true) : getSourceFile(name, target));
    expect(anyTypes([file], host)).toHaveLength(1);
  },
);
