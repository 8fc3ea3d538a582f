/**
 * `npm run mutate -- --runs 300 --seed 1 --json results/mutants.json`: changes a line here and there in a copy of the source,
 * and sees whether the nearest tests notice. Fails when one goes unnoticed that `survivors.json` gives no reason for.
 *
 * - `--files 'src/login/*.ts'`: only mutants of these
 * - `--tests 'test/login/*.test.ts'`: only these tests
 * - `--json FILE`: takes the results; what is in it already is not tried again, so that a run can be stopped and continued
 * - `--survivors`: tries those again that went unnoticed in that file
 * - `--budget 60`: how many seconds the tests for one mutant may take
 * - `--only 'login.ts login: '`: mutants whose description contains this
 *
 * Types are not checked: a mutant that the compiler would refuse has to be noticed by a test as well.
 */
import { existsSync, globSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, matchesGlob } from "node:path";
import { parseArgs } from "node:util";
import { campaign, type Result, shuffled } from "./campaign.ts";
import { recordReach } from "./reach.ts";
import { createScratch } from "./scratch.ts";

/** What has to be noticed. */
const sources = ["src/{tokens,login,user,machine,stores,node/stores}/**/*.ts"];
/** Tests that may notice: those that hold the whole in long runs or in many processes, other programs and packages are left out. */
const tests = ["test/{answers,login,machine,node,registration,storm,stores,tokens,transports,user}/**/*.test.ts"];
const leftOut = [
  "test/machine/{ci-examples,extensions,processes,simulation,web}.test.ts",
  "test/node/{mcp-remote,login/loopback}/**",
  "test/node/{mutual-tls,process-end,stdio}.test.ts",
  "test/node/stores/keychain/secret-service.test.ts",
  "test/storm/storm.test.ts",
  "test/transports/websocket/**",
];

const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "300" },
    seed: { type: "string", default: "1" },
    files: { type: "string" },
    tests: { type: "string" },
    json: { type: "string" },
    survivors: { type: "boolean", default: false },
    only: { type: "string" },
    budget: { type: "string", default: "15" },
  },
});
const [runs, seed, budget] = [Number(values.runs), Number(values.seed), Number(values.budget)];
if (!(runs > 0 && Number.isInteger(seed) && budget > 0)) throw new Error("`--runs`, `--seed` and `--budget` are numbers");

interface Listed {
  mutant: string;
  reason: string;
}
const listed = JSON.parse(readFileSync(join(import.meta.dirname, "survivors.json"), "utf8")) as Listed[];
const reasons = new Map(listed.map(({ mutant, reason }) => [mutant, reason]));
const results = new Map<string, Result>();
if (values.json && existsSync(values.json)) {
  for (const result of JSON.parse(readFileSync(values.json, "utf8")) as Result[]) results.set(result.key, result);
}

const scratch = createScratch(sources);
const { mutants } = scratch;
const wanted = shuffled(mutants.length, seed).filter((id) => {
  const { key, file } = mutants[id] ?? { key: "", file: "" };
  if (values.survivors) return results.get(key)?.noticed === "no";
  return (!values.files || matchesGlob(file, values.files)) && (!values.only || key.includes(values.only));
});
const sample = wanted.slice(0, values.survivors ? undefined : runs);
const left = sample.filter((id) => values.survivors || !results.has(mutants[id]?.key ?? ""));
console.log(`${mutants.length} mutants, ${sample.length} in the sample of seed ${seed}, ${left.length} to try in ${scratch.folder}`);

const files = globSync(values.tests ?? tests, { cwd: scratch.folder, exclude: leftOut }).sort();
const reach = await recordReach(scratch, files, ({ file, failed, tests }) => {
  console.log(
    `recorded: ${file}, ${tests.length} tests${failed.length > 0 ? `; left out, as they fail by themselves: ${failed.join("; ")}` : ""}`,
  );
});

let count = 0;
for await (const result of campaign(scratch, reach, left, budget * 1000)) {
  results.set(result.key, result);
  count++;
  if (result.noticed === "no")
    console.log(`${count}: unnoticed by ${result.tried} of ${result.reaching}: line ${result.line}, ${result.key}`);
  else if (count % 10 === 0) console.log(`${count} of ${left.length}`);
  if (!values.json) continue;
  mkdirSync(dirname(values.json), { recursive: true });
  writeFileSync(values.json, `${JSON.stringify([...results.values()], undefined, 1)}\n`);
}

interface Row {
  mutants: number;
  "noticed by a test": number;
  "by a time limit": number;
  "unnoticed, with reason": number;
  unnoticed: number;
  "noticed, %": number;
}
const table: Record<string, Row> = {};
const tried = sample.map((id) => results.get(mutants[id]?.key ?? "")).filter((result) => result !== undefined);
for (const { file, key, noticed } of tried) {
  for (const name of [dirname(file), "all"]) {
    table[name] ??= {
      mutants: 0,
      "noticed by a test": 0,
      "by a time limit": 0,
      "unnoticed, with reason": 0,
      unnoticed: 0,
      "noticed, %": 0,
    };
    const row = table[name];
    row.mutants++;
    if (noticed === "test") row["noticed by a test"]++;
    else if (noticed === "time") row["by a time limit"]++;
    else row[reasons.has(key) ? "unnoticed, with reason" : "unnoticed"]++;
    row["noticed, %"] = Math.round(((row["noticed by a test"] + row["by a time limit"]) / row.mutants) * 100);
  }
}
console.table(
  Object.fromEntries(Object.entries(table).sort(([a], [b]) => Number(a === "all") - Number(b === "all") || a.localeCompare(b))),
);

const keys = new Set(mutants.map(({ key }) => key));
for (const { mutant } of listed) if (!keys.has(mutant)) console.log(`listed as survivor, but there is no such mutant any more: ${mutant}`);
const unlisted = tried.filter(({ key, noticed }) => noticed === "no" && !reasons.has(key));
for (const { file, line, key } of unlisted) console.log(`unnoticed: ${file}:${line}: ${key}`);
process.exitCode = unlisted.length > 0 ? 1 : 0;
