/** Bundles what a program gets from each entry point, dependencies included and peers not, and holds the limits. */
import manifest from "../package.json" with { type: "json" };
import { bundle } from "./bundle.ts";

/**
 * What a program imports, where it runs, and the limit in bytes, minified and gzipped: some 15 % above what it is, so that it
 * notices what comes along by mistake and nobody has to write for it.
 */
const programs: [name: string, code: string, platform: "neutral" | "node", limit: number][] = [
  [". (everything)", `export * from "./dist/index.js";`, "neutral", 40_500],
  [". (generateCodeVerifier)", `export { generateCodeVerifier } from "./dist/index.js";`, "neutral", 290],
  ["./node", `export * from "./dist/node/index.js";`, "node", 44_200],
  ["./node (printDeviceCode)", `export { printDeviceCode } from "./dist/node/index.js";`, "node", 4_700],
  ["./machine", `export * from "./dist/machine/index.js";`, "node", 21_000],
  ["./hosted", `export * from "./dist/hosted/index.js";`, "neutral", 32_000],
  ["./credentials", `export * from "./dist/credentials/index.js";`, "neutral", 13_300],
  ["./websocket", `export * from "./dist/transports/websocket/websocket.js";`, "neutral", 10_400],
  ["./redis", `export * from "./dist/node/redis/index.js";`, "neutral", 19_800],
  ["./sdk-v1", `export * from "./dist/transports/sdk/v1.js";`, "neutral", 5_250],
  ["./sdk-v2", `export * from "./dist/transports/sdk/v2.js";`, "neutral", 5_300],
];

let tooLarge = false;
const rows = [];
for (const [name, code, platform, limit] of programs) {
  const isWhole = code.startsWith("export *");
  const { minified, gzipped, later } = await bundle(code, platform, Object.keys(manifest.peerDependencies), isWhole);
  const fits = gzipped <= limit;
  tooLarge ||= !fits;
  rows.push({ import: name, minified, gzipped, "gzipped, loaded later": later, limit, "": fits ? "" : "too large" });
}
console.table(rows);
process.exitCode = tooLarge ? 1 : 0;
