/**
 * `npm run chaos -- --runs 300 --seed 1`: kills a process of several in each run, and checks what is left.
 *
 * - `--run 17`: only that run of this seed, again
 * - `--only refresh,login,write,lock`: these kinds
 * - `--wrong-store process-locks`: with a store that breaks a promise; violations are what is expected then
 */
import { parseArgs } from "node:util";
import { type ChaosOptions, chaos, type Kind, kinds } from "./chaos.ts";
import { type WrongStore, wrongStores } from "./wrong-stores.ts";

const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "300" },
    seed: { type: "string", default: String(Math.floor(Math.random() * 2 ** 31)) },
    run: { type: "string" },
    only: { type: "string" },
    "wrong-store": { type: "string" },
  },
});
const seed = Number(values.seed);
const wanted = (values.only?.split(",") ?? kinds) as Kind[];
const wrongStore = values["wrong-store"] as WrongStore | undefined;
if (!Number.isInteger(seed) || !Number.isInteger(Number(values.run ?? values.runs)))
  throw new Error("--seed, --runs and --run are numbers");
if (!wanted.every((kind) => kinds.includes(kind))) throw new Error(`kinds: ${kinds.join(", ")}`);
if (wrongStore && !(wrongStore in wrongStores)) throw new Error(`wrong stores: ${Object.keys(wrongStores).join(", ")}`);

const runs = values.run === undefined ? Array.from({ length: Number(values.runs) }, (_, i) => i + 1) : [Number(values.run)];
const options: ChaosOptions = { seed, runs, kinds: wanted, wrongStore };
console.log(`seed ${seed}, ${runs.length} runs`);

interface Row {
  runs: number;
  "login lost: used up, not yet stored": number;
  violations: number;
}
const table: Record<string, Row> = {};
let failed = 0;
for await (const { run, kind, moment, server, processes, lost, violations } of chaos(options)) {
  const name = kind === "refresh" ? `${kind}, ${server}: ${moment}` : `${kind}: ${moment}`;
  table[name] ??= { runs: 0, "login lost: used up, not yet stored": 0, violations: 0 };
  const row = table[name];
  row.runs++;
  if (lost) row["login lost: used up, not yet stored"]++;
  if (violations.length === 0) continue;
  row.violations++;
  failed++;
  console.log(`run ${run} (${name}, ${processes} processes): ${violations.join("; ")}`);
  console.log(`  again: npm run chaos -- --seed ${seed} --run ${run}${values.only ? ` --only ${values.only}` : ""}`);
}
console.table(Object.fromEntries(Object.entries(table).sort(([a], [b]) => a.localeCompare(b))));
const lost = Object.values(table).reduce((sum, row) => sum + row["login lost: used up, not yet stored"], 0);
console.log(`${runs.length} runs, ${lost} logins lost between the server's processing and the first durable write, ${failed} violations`);
process.exitCode = failed > 0 ? 1 : 0;
