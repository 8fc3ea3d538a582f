/** Finds the changes that tests should notice, and writes all of a file's into it, each behind a switch. */
import ts from "typescript";

/** One small change of a source file. */
export interface Mutant {
  /** Path below the project's folder. */
  file: string;
  line: number;
  /** What it is found again by when lines have moved: the function, what stood there, what stands there instead. */
  key: string;
  kind: Kind;
}

export type Kind = "condition" | "comparison" | "logic" | "number" | "string" | "boolean" | "arithmetic" | "statement" | "await" | "catch";

interface Change {
  kind: Kind;
  /** What takes the node's place; an empty one takes it away. */
  text: string;
}

/** How the instrumented code asks whether a mutant is the one in use. */
export const switchName = "__mutated";

const comparisons: Readonly<Record<string, string>> = { "<": "<=", "<=": "<", ">": ">=", ">=": ">", "===": "!==", "!==": "===" };
const opposites = new Map([
  ["min", "max"],
  ["max", "min"],
  ["every", "some"],
  ["some", "every"],
]);
const arithmetic: Readonly<Record<string, string>> = { "+": "-", "-": "+", "*": "/", "/": "*" };

/**
 * A file with all of its mutants in it, and what these are. Lines stay where they are.
 *
 * @param first number of the first mutant; the others follow
 * @param prelude code that defines the switch, appended
 */
export function instrument(file: string, text: string, first: number, prelude: string): { code: string; mutants: Mutant[] } {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.ES2024, true, ts.ScriptKind.TS);
  const mutants: Mutant[] = [];
  const keys = new Map<string, number>();

  const emit = (node: ts.Node): string => {
    let code = "";
    let at = node.getStart(source);
    ts.forEachChild(node, (child) => {
      const start = child.getStart(source);
      code += text.slice(at, start) + emit(child);
      at = child.end;
    });
    code += text.slice(at, node.end);
    for (const change of changesOf(node, source)) {
      const id = first + mutants.length;
      mutants.push(describe(node, change));
      if (change.text === "") code = `{ if (!${switchName}(${id})) ${code} }`;
      else code = `(${switchName}(${id}) ? (${change.text}) : ${code})`;
    }
    return code;
  };

  const describe = (node: ts.Node, { kind, text: changed }: Change): Mutant => {
    const what = `${short(node.getText(source))} → ${changed === "" ? "(nothing)" : short(changed)}`;
    const name = `${file} ${functionOf(node)}: ${what}`;
    const count = (keys.get(name) ?? 0) + 1;
    keys.set(name, count);
    const { line } = source.getLineAndCharacterOfPosition(node.getStart(source));
    return { file, line: line + 1, kind, key: count === 1 ? name : `${name} #${count}` };
  };

  // A copy of what a mutant replaces holds no other mutant: only one is in use at a time.
  const body = emit(source);
  return { code: `${text.slice(0, source.getStart(source))}${body}\n${prelude}\n`, mutants };
}

function changesOf(node: ts.Node, source: ts.SourceFile): Change[] {
  const text = node.getText(source);
  if (ts.isTypeNode(node) && !ts.isExpressionWithTypeArguments(node)) return [];
  if (ts.isBinaryExpression(node)) return binary(node, source);
  if (ts.isNumericLiteral(node) && isValue(node)) return [{ kind: "number", text: numberInstead(text) }];
  if (ts.isStringLiteral(node) && isValue(node) && isCode(node.text)) return [{ kind: "string", text: '"mutated"' }];
  if (node.kind === ts.SyntaxKind.TrueKeyword && isValue(node)) return [{ kind: "boolean", text: "false" }];
  if (node.kind === ts.SyntaxKind.FalseKeyword && isValue(node)) return [{ kind: "boolean", text: "true" }];
  if (ts.isAwaitExpression(node)) return [{ kind: "await", text: node.expression.getText(source) }];
  if (ts.isCallExpression(node)) return call(node, source);
  if (isRemovable(node)) return [{ kind: "statement", text: "" }];
  return isCondition(node) ? [{ kind: "condition", text: `!(${text})` }] : [];
}

function binary(node: ts.BinaryExpression, source: ts.SourceFile): Change[] {
  const [left, right] = [node.left.getText(source), node.right.getText(source)];
  const operator = node.operatorToken.getText(source);
  const changes: Change[] = [];
  if (comparisons[operator]) changes.push({ kind: "comparison", text: `${left} ${comparisons[operator]} ${right}` });
  if (operator === "&&" || operator === "||")
    changes.push({ kind: "logic", text: `(${left}) ${operator === "&&" ? "||" : "&&"} (${right})` });
  if (operator === "??") changes.push({ kind: "logic", text: left });
  if (arithmetic[operator] && !/["'`]/.test(left + right)) {
    changes.push({ kind: "arithmetic", text: `(${left}) ${arithmetic[operator]} (${right})` });
  }
  // The opposite of `===` is there already.
  if (isCondition(node) && !/^[!=]==$/.test(operator)) changes.push({ kind: "condition", text: `!(${node.getText(source)})` });
  return changes;
}

function call(node: ts.CallExpression, source: ts.SourceFile): Change[] {
  const { expression } = node;
  const changes: Change[] = [];
  if (ts.isPropertyAccessExpression(expression)) {
    const object = expression.expression.getText(source);
    if (expression.name.text === "catch") changes.push({ kind: "catch", text: object });
    const other = opposites.get(expression.name.text);
    if (other) {
      const text = `${object}${expression.questionDotToken ? "?." : "."}${other}(${node.arguments.map((a) => a.getText(source)).join(", ")})`;
      changes.push({ kind: "logic", text });
    }
  }
  if (isCondition(node)) changes.push({ kind: "condition", text: `!(${node.getText(source)})` });
  return changes;
}

/** Small ones are off by one, large ones by a factor that any user would feel. */
function numberInstead(text: string): string {
  const value = Number(text.replaceAll("_", ""));
  return String(value < 10 ? value + 1 : value * 2);
}

/** Codes, names, kinds; not sentences for people. */
function isCode(text: string): boolean {
  return /^[A-Za-z][\w.:/-]*$/.test(text);
}

/** Whether a literal is a value at run time that may stand in parentheses. */
function isValue(node: ts.Node): boolean {
  const { parent } = node;
  if (ts.isImportDeclaration(parent) || ts.isExportDeclaration(parent) || ts.isLiteralTypeNode(parent)) return false;
  if (ts.isCallExpression(parent) && parent.expression.kind === ts.SyntaxKind.ImportKeyword) return false;
  return !(ts.isPropertyAssignment(parent) || ts.isPropertyDeclaration(parent)) || parent.name !== node;
}

/** Whether it decides which way is taken. */
function isCondition(node: ts.Node): boolean {
  const { parent } = node;
  if (!parent) return false;
  if (ts.isIfStatement(parent) || ts.isWhileStatement(parent)) return parent.expression === node;
  return ts.isConditionalExpression(parent) && parent.condition === node;
}

/** Statements that can go without leaving a hole: what is done for its effect, and early exits. */
function isRemovable(node: ts.Node): boolean {
  if (ts.isExpressionStatement(node)) {
    return !ts.isStringLiteral(node.expression) && !(ts.isCallExpression(node.expression) && isSuper(node.expression));
  }
  if (!(ts.isReturnStatement(node) || ts.isThrowStatement(node) || ts.isContinueStatement(node) || ts.isBreakStatement(node))) return false;
  const { parent } = node;
  return ts.isIfStatement(parent) || (ts.isBlock(parent) && (ts.isIfStatement(parent.parent) || ts.isCatchClause(parent.parent)));
}

function isSuper(node: ts.CallExpression): boolean {
  return node.expression.kind === ts.SyntaxKind.SuperKeyword;
}

/** `LoginPrompt.start`; `(file)` for what belongs to none. */
function functionOf(node: ts.Node): string {
  const names: string[] = [];
  for (let at: ts.Node | undefined = node.parent; at; at = at.parent) {
    if (ts.isClassDeclaration(at) || ts.isFunctionDeclaration(at) || ts.isMethodDeclaration(at) || ts.isAccessor(at)) {
      if (at.name) names.unshift(at.name.getText());
    } else if (ts.isConstructorDeclaration(at)) names.unshift("constructor");
    else if (ts.isVariableDeclaration(at) && at.initializer && ts.isFunctionLike(at.initializer)) names.unshift(at.name.getText());
  }
  return names.join(".") || "(file)";
}

function short(text: string): string {
  return text.replaceAll(/\s+/g, " ");
}
