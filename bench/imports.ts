import manifest from "../package.json" with { type: "json" };
import { type StartTime, startTimes } from "./starts.ts";

/** Above an empty program. */
export interface ImportTime extends StartTime {
  import: string;
}

/** How much later a program begins that imports something. */
export async function importTimes(turns = 31): Promise<ImportTime[]> {
  const entries = Object.keys(manifest.exports).filter((entry) => entry !== "./package.json");
  const imports = {
    ...Object.fromEntries(entries.map((entry) => [manifest.name + entry.slice(1), manifest.name + entry.slice(1)])),
    oauth4webapi: "oauth4webapi",
    "SDK v1: auth": "@modelcontextprotocol/sdk/client/auth.js",
    "SDK v2: auth": "@modelcontextprotocol/client",
  };
  const programs = Object.values(imports).map((name, i): [string, string] => [`import-${i}`, `import ${JSON.stringify(name)};`]);
  const { above } = await startTimes(Object.fromEntries(programs), turns);
  return Object.keys(imports).map((name, i) => ({ import: name, ...(above[`import-${i}`] as StartTime) }));
}
