/**
 * Runs every `auth/*` client scenario of the official conformance suite against the everything client.
 *
 * `node test/conformance/run.ts [--json FILE] [scenario …]`: prints a table and totals, writes `{ passed, failed, skipped }`
 * to FILE. A warning of the suite (a SHOULD that was not followed) fails a scenario as a failed check does.
 */
import { execFile } from "node:child_process";
import { globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { parseArgs, promisify } from "node:util";

/** Scenarios for what this package does not do yet, and the issue that brings it. Neither run nor counted. */
const later: Record<string, string> = {
  "auth/dpop": "DPoP",
  "auth/dpop-nonce": "DPoP",
};

/** One check of the suite. */
interface Check {
  id: string;
  status: "SUCCESS" | "FAILURE" | "WARNING" | "INFO" | "SKIPPED";
  description: string;
  errorMessage?: string;
}

interface Outcome {
  result: string;
  checks: number;
  problems: string[];
  /** What suite and client wrote, where something went wrong. */
  output?: string;
}

/** The suite starts a server and a client each time; more at once make each slower than its time limit allows. */
const atOnce = 3;
const root = join(import.meta.dirname, "../..");
const scratch = mkdtempSync(join(tmpdir(), "conformance-"));
const bin = join(root, "node_modules/.bin");
const env = { ...process.env, PATH: [bin, dirname(process.execPath), process.env.PATH].join(delimiter) };
const suite = (...options: string[]) =>
  promisify(execFile)(join(bin, "conformance"), options, { cwd: root, env, maxBuffer: 64 * 1024 * 1024, timeout: 120_000 });

async function listScenarios(): Promise<string[]> {
  const { stdout } = await suite("list", "--client");
  return [...stdout.matchAll(/^\s*- (auth\/\S+)/gm)].map(([, name = ""]) => name);
}

async function run(scenario: string): Promise<Outcome> {
  const folder = join(scratch, scenario.replaceAll("/", "-"));
  // The suite splits the command at spaces: the path is one without.
  const command = "node test/conformance/everything-client.ts";
  const { error, stdout, stderr } = await suite("client", "--command", command, "--scenario", scenario, "--output-dir", folder).then(
    ({ stdout, stderr }) => ({ error: undefined, stdout, stderr }),
    (error: Error & { stdout: string; stderr: string }) => ({ error, stdout: error.stdout, stderr: error.stderr }),
  );
  const [report] = globSync("**/checks.json", { cwd: folder });
  const checks = report === undefined ? [] : (JSON.parse(readFileSync(join(folder, report), "utf8")) as Check[]);
  const problems = checks
    .filter(({ status }) => status === "FAILURE" || status === "WARNING")
    .map(({ id, status, errorMessage, description }) => `${status} ${id}: ${errorMessage ?? description}`);
  const counted = checks.filter(({ status }) => status === "SUCCESS").length;
  // Nothing checked is nothing shown, whatever the exit code says.
  if (!error && counted > 0 && problems.length === 0) return { result: "passed", checks: counted, problems };
  return { result: "FAILED", checks: counted, problems: problems.length > 0 ? problems : ["see its output"], output: `${stdout}${stderr}` };
}

const { values, positionals } = parseArgs({ options: { json: { type: "string" } }, allowPositionals: true });
const scenarios = await listScenarios();
const unknown = [...Object.keys(later), ...positionals].filter((name) => !scenarios.includes(name));
if (scenarios.length === 0 || unknown.length > 0) throw new Error(`The suite does not list: ${unknown.join(", ") || "any auth scenario"}`);

const wanted = positionals.length > 0 ? positionals : scenarios.filter((name) => !(name in later));
const outcomes = new Map<string, Outcome>();
const queue = [...wanted];
const started = performance.now();
await Promise.all(
  Array.from({ length: atOnce }, async () => {
    for (let scenario = queue.shift(); scenario !== undefined; scenario = queue.shift()) outcomes.set(scenario, await run(scenario));
  }),
);
rmSync(scratch, { recursive: true, force: true });

for (const [scenario, { output }] of outcomes) if (output) console.log(`\n── ${scenario}\n${output}`);
const width = Math.max(...scenarios.map(({ length }) => length));
for (const scenario of scenarios) {
  const outcome = outcomes.get(scenario);
  if (!outcome && positionals.length > 0) continue;
  const result = outcome ? `${outcome.result}  ${String(outcome.checks).padStart(3)} checks` : `later: ${later[scenario]}`;
  console.log(`${scenario.padEnd(width)}  ${result}`);
  for (const problem of outcome?.problems ?? []) console.log(`${" ".repeat(width)}    ${problem}`);
}
const passed = [...outcomes.values()].filter(({ result }) => result === "passed").length;
const failed = outcomes.size - passed;
const seconds = Math.round((performance.now() - started) / 1000);
console.log(`\n${passed} of ${scenarios.length} scenarios passed, ${failed} failed, ${Object.keys(later).length} later (${seconds} s)`);
if (values.json) writeFileSync(values.json, JSON.stringify({ passed, failed, skipped: 0 }));
process.exitCode = failed > 0 ? 1 : 0;
