/**
 * What a user meets can be named: each type, ours or a dependency's, that an entry's signatures mention is exported by that entry
 * or by one of the two that have the managers.
 */
import { join, relative } from "node:path";
import ts from "typescript";
import { expect, test } from "vitest";
import manifest from "../../package.json" with { type: "json" };

const root = join(import.meta.dirname, "../..");
const { options } = ts.parseJsonConfigFileContent(ts.readConfigFile(join(root, "tsconfig.json"), ts.sys.readFile).config, ts.sys, root);
const entries = Object.entries(manifest.exports).flatMap(([name, target]) =>
  typeof target === "object" ? [{ name, path: join(root, target.default.replace("dist/", "src/").replace(/\.js$/, ".ts")) }] : [],
);

/** Their declarations are a user's as soon as ours mention them; peers' are installed by who uses them. */
const dependencies = new RegExp(`^node_modules/(${Object.keys(manifest.dependencies).join("|")})/`);

/** Types that each file's exports mention, and that neither it nor one of `homes` exports. */
function unnameable(files: readonly string[], homes: readonly string[], host = ts.createCompilerHost(options)): string[][] {
  const program = ts.createProgram(files, options, host);
  const checker = program.getTypeChecker();
  const resolved = (symbol: ts.Symbol) => (symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol);
  const isMet = (symbol: ts.Symbol) =>
    symbol.declarations?.some((declaration) => {
      const path = pathOf(declaration);
      return !ts.isTypeParameterDeclaration(declaration) && (!path.startsWith("node_modules") || dependencies.test(path));
    });

  const typeAt = (name: ts.Node) => {
    const symbol = checker.getSymbolAtLocation(name);
    return symbol && resolved(symbol);
  };
  /** `type Ours = Theirs` names both. */
  const renamed = (symbol: ts.Symbol) =>
    (symbol.declarations ?? []).flatMap((declaration) =>
      ts.isTypeAliasDeclaration(declaration) && ts.isTypeReferenceNode(declaration.type) ? (typeAt(declaration.type.typeName) ?? []) : [],
    );
  const exportsOf = (file: string) => {
    const source = program.getSourceFile(file);
    const module = source && checker.getSymbolAtLocation(source);
    if (!module) throw new Error(`${file} is missing`);
    return checker.getExportsOfModule(module).map(resolved);
  };
  const shared = homes.flatMap(exportsOf);
  return files.map((file) => {
    const exported = exportsOf(file);
    const nameable = new Set([...exported, ...shared].flatMap((symbol) => [symbol, ...renamed(symbol)]));
    const missing = new Set<string>();
    const visited = new Set<ts.Symbol>();
    const visitType = (symbol: ts.Symbol) => {
      if (visited.has(symbol)) return;
      visited.add(symbol);
      for (const declaration of symbol.declarations ?? []) if (!dependencies.test(pathOf(declaration))) visit(declaration);
    };
    const visit = (node: ts.Node, isBase = false) => {
      if (ts.isBlock(node) || isHidden(node)) return;
      // A base's is called by its heir.
      if (ts.isConstructorDeclaration(node) && node.parent.name && !exported.includes(typeAt(node.parent.name) as ts.Symbol)) return;
      const name = ts.isTypeReferenceNode(node) ? node.typeName : ts.isExpressionWithTypeArguments(node) ? node.expression : undefined;
      const type = name && typeAt(name);
      if (type && isMet(type)) {
        // A base's name is ours; its members are its heir's.
        if (isBase) visitType(type);
        else if (!nameable.has(type)) missing.add(name.getText());
      }
      ts.forEachChild(node, (child) => visit(child, isBase || ts.isHeritageClause(node)));
    };
    for (const symbol of exported) visitType(symbol);
    return [...missing].sort();
  });
}

const pathOf = (node: ts.Node) => relative(root, node.getSourceFile().fileName);

function isHidden(node: ts.Node): boolean {
  const isPrivate = ts.isClassElement(node) && node.name && ts.isPrivateIdentifier(node.name);
  const flags = ts.canHaveModifiers(node) ? ts.getCombinedModifierFlags(node as ts.Declaration) : 0;
  return Boolean(isPrivate || flags & (ts.ModifierFlags.Private | ts.ModifierFlags.Protected));
}

test("each entry: types that its signatures mention and nobody can name", { timeout: 120_000 }, () => {
  const homes = entries.filter(({ name }) => name === "." || name === "./machine");
  const found = unnameable(
    entries.map(({ path }) => path),
    homes.map(({ path }) => path),
  );
  expect(found).toEqual(entries.map(() => []));
});

test.each([
  ["a member", "interface Hidden {} export interface Shown { member?: Hidden }", ["Hidden"]],
  ["a parameter", "interface Hidden {} export function shown(hidden: readonly Hidden[]): void {}", ["Hidden"]],
  [
    "a base's member",
    "interface Hidden {} interface Base { member: Hidden } export interface Shown extends Omit<Base, 'a'> {}",
    ["Hidden"],
  ],
  ["a dependency's", 'import type { ClientAuth } from "oauth4webapi"; export type Shown = () => ClientAuth;', ["ClientAuth"]],
  ["what is private", "interface Hidden {} export class Shown { #a?: Hidden; private b?: Hidden; c() { const d: Hidden = {}; } }", []],
  ["what is exported", "export interface Shown { it: Shown; text: Promise<string> }", []],
])("the check sees %s", { timeout: 120_000 }, (_what, text, expected) => {
  const file = join(root, "test/shown.ts");
  const host = ts.createCompilerHost(options);
  const { getSourceFile } = host;
  host.getSourceFile = (name, target) => (name === file ? ts.createSourceFile(name, text, target, true) : getSourceFile(name, target));
  expect(unnameable([file], [], host)).toEqual([expected]);
});
