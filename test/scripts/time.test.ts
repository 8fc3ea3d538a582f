/** Time comes from the injected clock: what looks at the machine's own is listed here, with its reason. */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { expect, test } from "vitest";

const root = join(import.meta.dirname, "../../src");

/** File and what it may use. */
const allowed: Readonly<Record<string, { uses: readonly string[]; because: string }>> = {
  "clock.ts": { uses: ["Date.now", "setTimeout"], because: "the system's clock itself" },
  "node/process-end.ts": { uses: ["setTimeout", "performance.now"], because: "the process ends by the machine's time" },
  "node/login/browser.ts": { uses: ["setTimeout"], because: "waits for a program of this machine to end" },
  "node/login/loopback/listener.ts": { uses: ["setTimeout"], because: "waits for sockets of this machine to close" },
  "node/redis/lease.ts": { uses: ["performance.now", "Date.now"], because: "a lease counts the time of a machine that sleeps, too" },
  "node/stores/lock-folder.ts": {
    uses: ["process.uptime", "setTimeout", "setImmediate"],
    because: "does its work in portions, between the rounds of the event loop; its file lingers",
  },
  "node/stores/group-commit.ts": { uses: ["process.uptime"], because: "measures what the disk takes" },
  "node/stores/lock-owner.ts": { uses: ["setImmediate"], because: "waits for a round of the event loop" },
  "node/stores/portions.ts": { uses: ["setImmediate"], because: "lets the event loop go on between portions" },
  "node/stores/records.ts": { uses: ["new Date()"], because: "names a file that is set aside" },
};

const members =
  /^(Date\.now|AbortSignal\.timeout|performance\.now|process\.(uptime|hrtime)|(globalThis|window|self)\.set(Timeout|Interval|Immediate))$/;
const functions = /^set(Timeout|Interval|Immediate)$/;

/** Every use of the machine's time in a module. */
function machineTime(text: string): string[] {
  const found: string[] = [];
  const look = (node: ts.Node): void => {
    if (ts.isPropertyAccessExpression(node) && members.test(node.getText())) found.push(node.getText());
    else if (ts.isNewExpression(node) && node.expression.getText() === "Date" && !node.arguments?.length) found.push("new Date()");
    // As a value, not called yet, too: `(clock ?? Date).now()`.
    else if (ts.isIdentifier(node) && node.text === "Date" && !isNameOfMember(node) && !isHarmless(node)) found.push("Date.now");
    else if (ts.isIdentifier(node) && functions.test(node.text) && !isNameOfMember(node)) found.push(node.text);
    else ts.forEachChild(node, look);
  };
  look(ts.createSourceFile("x.ts", text, ts.ScriptTarget.Latest, true));
  return found;
}

function isNameOfMember(node: ts.Identifier): boolean {
  return ts.isPropertyAccessExpression(node.parent) && node.parent.name === node;
}

/** `Date.parse`, `Date.UTC`, `new Date(ms)`, and the type. */
function isHarmless({ parent }: ts.Identifier): boolean {
  return ts.isPropertyAccessExpression(parent) || ts.isNewExpression(parent) || ts.isTypeReferenceNode(parent);
}

test.each([
  ["Date.now()", ["Date.now"]],
  ["const now = clock ?? Date; now.now()", ["Date.now"]],
  ["new Date()", ["new Date()"]],
  ["AbortSignal.timeout(5)", ["AbortSignal.timeout"]],
  ["setTimeout(f, 1); globalThis.setInterval(f, 1)", ["setTimeout", "globalThis.setInterval"]],
  ["performance.now()", ["performance.now"]],
  ["process.hrtime.bigint()", ["process.hrtime"]],
  ["clock.now(); clock.sleep(1); Date.parse(a); new Date(ms); timers.setTimeout; // Date.now()", []],
])("%s", (text, uses) => expect(machineTime(text)).toEqual(uses));

test("src asks the injected clock, except where the list says why not", () => {
  const files = globSync("**/*.ts", { cwd: root }).map((path) => path.replaceAll("\\", "/"));
  expect(files.length).toBeGreaterThan(100);
  const found = files.flatMap((file) => {
    const uses = new Set(machineTime(readFileSync(join(root, file), "utf8")));
    return [...uses].map((use) => `${file}: ${use}`);
  });
  const expected = Object.entries(allowed).flatMap(([file, { uses }]) => uses.map((use) => `${file}: ${use}`));
  expect(found.toSorted()).toEqual(expected.toSorted());
});
