/** How errors speak: a detail is one clause that says what is wrong, a hint is a sentence that says what can be done. */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { expect, test } from "vitest";
import { McpAuthError, type McpAuthErrorCode } from "../../src/index.ts";

const root = join(import.meta.dirname, "../../src");

/** The texts in a module that are given as `name`: in an object, or as a constant of that name. */
function texts(module: string, name: "detail" | "hint"): string[] {
  const found: string[] = [];
  const take = (value: ts.Node | undefined): void => {
    if (!value) return;
    if (ts.isStringLiteralLike(value)) found.push(value.text);
    else if (ts.isTemplateExpression(value)) found.push(value.getText().slice(1, -1).replaceAll("\\`", "`"));
    else if (ts.isConditionalExpression(value)) for (const branch of [value.whenTrue, value.whenFalse]) take(branch);
  };
  const look = (node: ts.Node): void => {
    if ((ts.isPropertyAssignment(node) || ts.isVariableDeclaration(node)) && node.name.getText() === name) take(node.initializer);
    ts.forEachChild(node, look);
  };
  look(ts.createSourceFile("x.ts", module, ts.ScriptTarget.Latest, true));
  return found;
}

const modules = globSync("**/*.ts", { cwd: root }).map((path) => readFileSync(join(root, path), "utf8"));
const all = (name: "detail" | "hint") => modules.flatMap((module) => texts(module, name));

test("details say what is wrong: no advice, no sentence of their own, nothing that 'is no' something", () => {
  const details = all("detail");
  expect(details.length).toBeGreaterThan(60);
  const advice = /\b(is|are) no(ne of)? |; |\.$|: it |npm install|^(Pass|Use|Set|Run) /;
  expect(details.filter((detail) => advice.test(detail))).toEqual([]);
  expect(texts('({ detail: ok ? `a` : "`b` is no URL; pass another" }); const hint = `c`;', "detail")).toEqual([
    "a",
    "`b` is no URL; pass another",
  ]);
});

test("hints are sentences", () => {
  const own = readFileSync(join(root, "errors.ts"), "utf8").matchAll(/^ {2}([a-z_]+): (?:\[|$)/gm);
  const hints = [...all("hint"), ...[...own].map(([, code]) => new McpAuthError(code as McpAuthErrorCode).hint)];
  expect(hints.length).toBeGreaterThan(60);
  expect(hints.filter((hint) => !/^[A-Z].*\.$/.test(hint))).toEqual([]);
});

test("no code says what its detail or another part of its message says again", () => {
  const own = [...readFileSync(join(root, "errors.ts"), "utf8").matchAll(/^ {2}([a-z_]+): (?:\[|$)/gm)];
  const messages = own.map(([, code]) => new McpAuthError(code as McpAuthErrorCode).message);
  expect(new Set(messages).size).toBe(messages.length);
  expect(messages.filter((message) => /[.:] .*\.$/.test(message) && !message.includes(": its body is a stream"))).toEqual([]);
});
