/**
 * This package beside the official SDKs and mcp-remote, in one run: `npm run bench`, and after `--`:
 *
 * - `--only storm,processes,machine,roundtrips,warm,locking,logins,writes,imports,bundles,steady,memory,users`: these sections
 * - `--json`: the numbers on stdout and nothing else there; `--json FILE`: tables on stdout, the numbers in the file
 */
import { writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { bundleSizes } from "./bundles.ts";
import { importTimes } from "./imports.ts";
import { lockingCosts } from "./locking.ts";
import { manyLogins, manyWrites } from "./logins.ts";
import { type MachineRequests, machineProcesses, machineStorm, machines } from "./machine.ts";
import type { MachineKind } from "./machine-clients.ts";
import { mcpRemote } from "./mcp-remote.ts";
import { memory } from "./memory.ts";
import { ours } from "./ours.ts";
import { type Processes, processClients, sharedLogin } from "./processes.ts";
import { countRoundTrips, type RoundTrips } from "./round-trips.ts";
import { sdkClients } from "./sdk.ts";
import { steadyState } from "./steady-state.ts";
import { type Storm, storm } from "./storm.ts";
import { usersStorms } from "./users/index.ts";

import { warmStart } from "./warm.ts";

const clients = [ours, ...sdkClients, mcpRemote];

const sections: Record<string, { title: string; run: () => Promise<object[]> }> = {
  storm: { title: "Calls at once, with a token that has expired, or that the server refuses", run: storms },
  processes: { title: "Eight processes that share one login, when its token has expired or is refused", run: allProcesses },
  machine: { title: "A program without a user: 1000 clients at once, and eight processes", run: allMachines },
  roundtrips: { title: "Round trips to the first authorised answer", run: allRoundTrips },
  warm: {
    title: "From createMcpAuth to the first token, which is stored, above an empty program, in fresh processes",
    run: () => warmStart(),
  },
  locking: { title: "What a refresh costs here, beside its request", run: lockingCosts },
  logins: { title: "With many logins in the default store, and as many users in one process", run: () => manyLogins() },
  writes: { title: "Records of many users, written to the default store at once", run: async () => [await manyWrites()] },
  imports: { title: "Import time above an empty program, in fresh processes", run: () => importTimes() },
  bundles: { title: "Bundle size", run: bundleSizes },
  steady: { title: "A call with a valid token, without network", run: () => steadyState() },
  users: { title: "The tokens of thousands of users expire, and all are wanted at once", run: () => usersStorms() },
  memory: { title: "Memory a manager, one for each of 10,000 accounts", run: () => memory() },
};

async function storms(): Promise<Storm[]> {
  const rows: Storm[] = [];
  for (const token of ["expired", "refused"] as const)
    for (const calls of [10, 100, 1000])
      for (const transports of [1, 10])
        for (const client of clients)
          await twice(`${client.name}, ${token}, ${calls} calls`, async () => rows.push(await storm(client, token, calls, transports)));
  return rows;
}

async function allProcesses(): Promise<Processes[]> {
  const rows: Processes[] = [];
  for (const [token, spreadMs] of [
    ["expired", 0],
    ["expired", 1000],
    ["refused", 0],
  ] as const)
    for (const client of processClients)
      await twice(`${client.name}, ${token}, ${spreadMs} ms`, async () => rows.push(await sharedLogin(client, token, spreadMs, 5)));
  return rows;
}

async function allMachines(): Promise<MachineRequests[]> {
  const rows: MachineRequests[] = [];
  for (const measure of [(name: string, kind: MachineKind) => machineStorm(name, kind, 1000), machineProcesses])
    for (const [name, kind] of machines) await twice(name, async () => rows.push(...(await measure(name, kind))));
  return rows;
}

async function allRoundTrips(): Promise<RoundTrips[]> {
  const rows: RoundTrips[] = [];
  for (const client of clients) await twice(client.name, async () => rows.push(await countRoundTrips(client)));
  return rows;
}

/** A peer's process that does not start has nothing to do with what is counted: a second chance, then its row is missing. */
async function twice(name: string, measure: () => Promise<unknown>): Promise<void> {
  for (let tries = 1; tries <= 2; tries++) {
    try {
      await measure();
      return;
    } catch (error) {
      console.error(`${name}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  process.exitCode = 1;
}

// `--json` alone or with a file: parseArgs knows only one of the two.
const args = process.argv.slice(2).map((arg, i, all) => (arg === "--json" && (all[i + 1] ?? "--").startsWith("--") ? "--json=-" : arg));
const { values } = parseArgs({ args, options: { only: { type: "string" }, json: { type: "string" } } });
const wanted = values.only?.split(",") ?? Object.keys(sections);
const unknown = wanted.filter((name) => !sections[name]);
if (unknown.length > 0) throw new Error(`No such section: ${unknown.join(", ")}. Sections: ${Object.keys(sections).join(", ")}`);

// The SDKs advise here on each call what the example's provider lacks.
const { warn } = console;
console.warn = (...words: unknown[]) => void (String(words[0]).startsWith("[mcp-sdk]") || warn(...words));

const report: Record<string, unknown> = { node: process.version, platform: process.platform, cpus: availableParallelism() };
for (const [name, { title, run }] of Object.entries(sections)) {
  if (!wanted.includes(name)) continue;
  const rows = await run();
  report[name] = rows;
  if (values.json === "-") continue;
  console.log(`\n${title}`);
  console.table(rows);
}
const json = `${JSON.stringify(report, undefined, 2)}\n`;
if (values.json === "-") process.stdout.write(json);
else if (values.json !== undefined) writeFileSync(values.json, json);
