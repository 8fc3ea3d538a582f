/**
 * The public surface as one text: every name of every entry with its type, members of base types included, without
 * comments. `docs/api.txt` holds it, so that each change of it is a line in a review.
 *
 * `node scripts/api.ts` writes the file; `node scripts/api.ts --check` fails when it is out of date.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import ts from "typescript";
import manifest from "../package.json" with { type: "json" };

const root = join(import.meta.dirname, "..");
const file = join(root, "docs/api.txt");

const { options } = ts.parseJsonConfigFileContent(ts.readConfigFile(join(root, "tsconfig.json"), ts.sys.readFile).config, ts.sys, root);
/** As users import them, and where they are made from. */
const entries = Object.entries(manifest.exports).flatMap(([name, target]) => {
  const [, source] = typeof target === "object" ? (/^\.\/dist\/(.*)\.js$/.exec(target.default) ?? []) : [];
  return source === undefined ? [] : [{ name: `mcp-client-auth${name.slice(1)}`, path: join(root, `src/${source}.ts`) }];
});
const program = ts.createProgram(
  entries.map(({ path }) => path),
  options,
);
const checker = program.getTypeChecker();
const format =
  ts.TypeFormatFlags.NoTruncation | ts.TypeFormatFlags.UseAliasDefinedOutsideCurrentScope | ts.TypeFormatFlags.WriteArrowStyleSignature;

function entryText({ name, path }: { name: string; path: string }): string {
  const source = program.getSourceFile(path);
  const module = source && checker.getSymbolAtLocation(source);
  if (!source || !module) throw new Error(`${path} cannot be read`);
  const symbols = checker.getExportsOfModule(module).sort((a, b) => (a.name < b.name ? -1 : 1));
  return [`# ${name}`, ...symbols.map((symbol) => symbolText(symbol, source))].join("\n\n");
}

function symbolText(exported: ts.Symbol, source: ts.SourceFile): string {
  const symbol = exported.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(exported) : exported;
  const { name } = exported;
  if (symbol.flags & ts.SymbolFlags.Function) return signatures(checker.getTypeOfSymbol(symbol), source, `function ${name}`).join("\n");
  if (symbol.flags & ts.SymbolFlags.Class) {
    const constructed = checker.getTypeOfSymbol(symbol);
    const made = checker.getDeclaredTypeOfSymbol(symbol);
    const news = constructed.getConstructSignatures().map((signature) => `  new ${signatureText(signature, source)}`);
    return block(`class ${name}${heritage(symbol)}`, [...news, ...members(made, source)]);
  }
  if (symbol.flags & ts.SymbolFlags.Interface) {
    const type = checker.getDeclaredTypeOfSymbol(symbol);
    return block(`interface ${name}${parameters(symbol)}`, [...signatures(type, source, "  "), ...members(type, source)]);
  }
  if (symbol.flags & ts.SymbolFlags.TypeAlias) {
    return `type ${name}${parameters(symbol)} = ${checker.typeToString(checker.getDeclaredTypeOfSymbol(symbol), source, format | ts.TypeFormatFlags.InTypeAlias)}`;
  }
  return `const ${name}: ${checker.typeToString(checker.getTypeOfSymbol(symbol), source, format)}`;
}

const block = (head: string, lines: readonly string[]) => (lines.length > 0 ? `${head} {\n${lines.join("\n")}\n}` : `${head} {}`);

/** What a user may rely on: `instanceof`. */
function heritage(symbol: ts.Symbol): string {
  const type = checker.getDeclaredTypeOfSymbol(symbol) as ts.InterfaceType;
  const [base] = checker.getBaseTypes(type);
  return base?.symbol.name.endsWith("Error") ? ` extends ${base.symbol.name}` : "";
}

function parameters(symbol: ts.Symbol): string {
  const [declaration] = symbol.declarations ?? [];
  const typed = declaration as ts.InterfaceDeclaration | ts.TypeAliasDeclaration | undefined;
  return typed?.typeParameters ? `<${typed.typeParameters.map((parameter) => parameter.getText()).join(", ")}>` : "";
}

/** By name: where in a file a member stands says nothing to its users. */
function members(type: ts.Type, source: ts.SourceFile): string[] {
  return checker
    .getPropertiesOfType(type)
    .filter((member) => isPublic(member))
    .map((member) => memberText(member, source))
    .sort();
}

/** Not what only subclasses see, nor what every `Error` has. */
function isPublic(member: ts.Symbol): boolean {
  const [declaration] = member.declarations ?? [];
  if (!declaration || member.name.startsWith("#")) return false;
  const hidden = ts.ModifierFlags.Private | ts.ModifierFlags.Protected;
  const isOurs = !relative(root, declaration.getSourceFile().fileName).startsWith("node_modules");
  return isOurs && !(ts.getCombinedModifierFlags(declaration as ts.Declaration) & hidden);
}

function memberText(member: ts.Symbol, source: ts.SourceFile): string {
  const [declaration] = member.declarations ?? [];
  const isOptional = member.flags & ts.SymbolFlags.Optional ? "?" : "";
  const isReadonly =
    member.flags & ts.SymbolFlags.GetAccessor ||
    (declaration && ts.getCombinedModifierFlags(declaration as ts.Declaration) & ts.ModifierFlags.Readonly);
  const name = member.name.startsWith("__@") ? `[Symbol.${member.name.slice(3).split("@")[0]}]` : member.name;
  const type = checker.getTypeOfSymbol(member);
  if (member.flags & ts.SymbolFlags.Method)
    return signatures(checker.getNonNullableType(type), source, `  ${name}${isOptional}`).join("\n");
  return `  ${isReadonly ? "readonly " : ""}${name}${isOptional}: ${withoutUndefined(checker.typeToString(type, source, format), isOptional)}`;
}

/** Every optional member takes `undefined`: a test holds that, and here it would only be noise. */
function withoutUndefined(text: string, isOptional: string): string {
  return isOptional ? text.replace(/ \| undefined$/, "") : text;
}

function signatures(type: ts.Type, source: ts.SourceFile, name: string): string[] {
  return type.getCallSignatures().map((signature) => name + signatureText(signature, source));
}

function signatureText(signature: ts.Signature, source: ts.SourceFile): string {
  return checker.signatureToString(signature, source, format & ~ts.TypeFormatFlags.WriteArrowStyleSignature);
}

/** `fetch` as the types of several libraries have it together. */
const fetchType =
  "{ (input: RequestInfo | URL, init?: RequestInit): Promise<Response>; (input: string | URL | Request, init?: RequestInit): Promise<Response>; }";
const text = `${entries.map(entryText).join("\n\n\n")}\n`
  .replaceAll(fetchType, "typeof fetch")
  .replaceAll(/import\("[^"]*"\)\./g, "")
  .replaceAll(" | { type:", "\n  | { type:");

if (process.argv.includes("--check")) {
  const held = readFileSync(file, "utf8");
  if (held !== text) {
    const [known, now] = [held.split("\n"), text.split("\n")];
    for (const line of known) if (!now.includes(line)) console.log(`- ${line}`);
    for (const line of now) if (!known.includes(line)) console.log(`+ ${line}`);
    console.error("The public surface differs from docs/api.txt. If that is meant: npm run api, then commit the file.");
    process.exitCode = 1;
  } else console.log("docs/api.txt is the public surface.");
} else {
  writeFileSync(file, text);
  console.log(`${relative(root, file)}: ${text.split("\n").length} lines`);
}
