/**
 * Runs everything that has to hold, step after step, and ends with one line: `N passed, N failed, N skipped`.
 *
 * `node scripts/test.ts` runs all steps, `node scripts/test.ts lint tsc` the named ones. A step counts as one, unless
 * it says how many it stands for. With `CI=true` what is skipped is a failure too.
 */
import { spawn } from "node:child_process";
import { globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join, relative } from "node:path";

interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

/** What vitest's JSON reporter writes. */
interface VitestReport {
  numPassedTests?: number;
  numFailedTests?: number;
  numPendingTests?: number;
  numTodoTests?: number;
  testResults?: { name: string; message?: string; assertionResults: { fullName: string; status: string; failureMessages: string[] }[] }[];
}

interface Step {
  name: string;
  /** Program and arguments; `FILE` stands for a file that takes the counts. */
  command: string[];
  /** Reads the counts from what the command wrote to `FILE`. */
  counts?: (report: object) => Counts;
  /** Names what failed, from the same report. */
  failures?: (report: object) => string[];
}

const root = join(import.meta.dirname, "..");
const scratch = mkdtempSync(join(tmpdir(), "mcp-client-auth-"));
const ci = process.env.CI === "true" || process.env.CI === "1";
/** Minutes after which a step hangs: three times what each takes on a busy machine with two cores. */
const limits: Readonly<Record<string, number>> = { vitest: 45, package: 30, system: 20, conformance: 20 };
const usualLimit = 10;

const vitest = (name: string, ...options: string[]): Step => ({
  name,
  command: ["vitest", "run", ...options, "--reporter=default", "--reporter=json", "--outputFile.json=FILE"],
  counts: ({ numPassedTests = 0, numFailedTests = 0, numPendingTests = 0, numTodoTests = 0 }: VitestReport) => ({
    passed: numPassedTests,
    failed: numFailedTests,
    skipped: numPendingTests + numTodoTests,
  }),
  failures: ({ testResults = [] }: VitestReport) =>
    testResults.flatMap(({ name, message, assertionResults }) => {
      const failed = assertionResults.filter(({ status }) => status === "failed");
      const texts = failed.map(({ fullName, failureMessages }) => `${fullName}\n${failureMessages.join("\n")}`);
      // A file that cannot be loaded has no tests, only a message.
      if (texts.length === 0 && message) texts.push(message);
      return texts.map((text) => `${relative(root, name)}: ${text}`);
    }),
});

const steps: Step[] = [
  { name: "system", command: ["node", "scripts/system.ts"] },
  { name: "build", command: ["tsdown"] },
  { name: "lint", command: ["biome", "check", "--error-on-warnings"] },
  { name: "tsc", command: ["tsc", "-p", "."] },
  { name: "neutral", command: ["tsc", "-p", "scripts/tsconfig.neutral.json"] },
  { name: "imports", command: ["node", "scripts/imports.ts"] },
  { name: "api", command: ["node", "scripts/api.ts", "--check"] },
  { name: "docs", command: ["typedoc"] },
  { name: "size", command: ["node", "scripts/size.ts"] },
  vitest("vitest", "--exclude=test/package/**"),
  vitest("types", "--typecheck.only"),
  vitest("package", "test/package"),
  {
    name: "conformance",
    command: ["node", "test/conformance/run.ts", "--json", "FILE"],
    counts: ({ passed = 0, failed = 0, skipped = 0 }: Partial<Counts>) => ({ passed, failed, skipped }),
  },
  ...examples(),
];

/** One step for each program in `examples/`; none is a failure, not nothing to do. */
function examples(): Step[] {
  const files = globSync("examples/*.ts", { cwd: root }).sort();
  return (files.length > 0 ? files : ["examples/*.ts"]).map((file) => ({ name: file, command: ["node", file] }));
}

/** What failed, by name: whoever sees only the end of the output needs it there. */
const failures: string[] = [];

/** Ends the step that runs now with everything that it started. */
let end = () => {};
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    end();
    process.exit(130);
  });
}

async function run(step: Step): Promise<Counts> {
  const file = join(scratch, `${step.name.replaceAll("/", "-")}.json`);
  const [program = "", ...options] = step.command.map((part) => part.replace("FILE", file));
  const code = await new Promise<number | null>((resolve) => {
    const path = `${join(root, "node_modules/.bin")}${delimiter}${process.env.PATH}`;
    // A group of its own, so that nothing that a step started outlives it.
    const child = spawn(program, options, {
      cwd: root,
      stdio: ["ignore", "inherit", "inherit"],
      env: { ...process.env, PATH: path },
      detached: true,
    });
    end = () => {
      if (child.pid) process.kill(-child.pid, "SIGKILL");
    };
    const limit = limits[step.name] ?? usualLimit;
    const timer = setTimeout(() => {
      console.error(`${step.name} takes longer than ${limit} minutes: ended.`);
      end();
    }, limit * 60_000);
    child.on("error", (error) => console.error(error.message));
    child.on("close", (code) => {
      clearTimeout(timer);
      end = () => {};
      resolve(code);
    });
  });
  // 2 from `system`: something is missing that cannot be installed here.
  if (step.name === "system" && code === 2 && !ci) return { passed: 0, failed: 0, skipped: 1 };
  let counts: Counts = { passed: code === 0 ? 1 : 0, failed: 0, skipped: 0 };
  if (step.counts) {
    try {
      const report: object = JSON.parse(readFileSync(file, "utf8"));
      counts = step.counts(report);
      failures.push(...(step.failures?.(report) ?? []));
    } catch {
      counts = { passed: 0, failed: 0, skipped: 0 };
    }
  }
  // A step that failed without a failed test (a file that cannot be loaded, an error outside of tests) or that ran nothing has failed.
  if (counts.failed === 0 && (code !== 0 || counts.passed + counts.skipped === 0)) counts.failed = 1;
  return counts;
}

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !steps.some((step) => step.name === name));
if (unknown.length > 0) throw new Error(`No such step: ${unknown.join(", ")}. Steps: ${steps.map((step) => step.name).join(", ")}`);

const table: Record<string, Counts & { seconds: number }> = {};
const total: Counts = { passed: 0, failed: 0, skipped: 0 };
for (const step of steps) {
  if (wanted.length > 0 && !wanted.includes(step.name)) continue;
  console.log(`\n── ${step.name}: ${step.command.join(" ")}`);
  const started = performance.now();
  const counts = await run(step);
  table[step.name] = { ...counts, seconds: Math.round((performance.now() - started) / 1000) };
  total.passed += counts.passed;
  total.failed += counts.failed;
  total.skipped += counts.skipped;
}
rmSync(scratch, { recursive: true, force: true });
console.log();
console.table(table);
for (const failure of failures) console.log(`\nFAILED ${failure.split("\n").slice(0, 30).join("\n")}`);
process.exitCode = total.failed > 0 || (ci && total.skipped > 0) ? 1 : 0;
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
