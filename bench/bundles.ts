import manifest from "../package.json" with { type: "json" };
import { bundle } from "../scripts/bundle.ts";

export interface BundleSize {
  import: string;
  "minified, kB": number;
  "gzipped, kB": number;
  "loaded later, gzipped, kB": number;
}

const entries = Object.keys(manifest.exports).filter((entry) => entry !== "./package.json");
const ours = entries.map((entry) => manifest.name + entry.slice(1));

/** What the neutral core uses of oauth4webapi. */
const needed = ["calculatePKCECodeChallenge", "generateRandomCodeVerifier", "generateRandomState", "ClientSecretPost", "None"];

/** What an app bundles for authorization: each entry of this package beside what it would import otherwise. */
export async function bundleSizes(): Promise<BundleSize[]> {
  const programs: [name: string, code: string][] = [
    ...ours.map((name): [string, string] => [name, `export * from "${name}";`]),
    ["oauth4webapi, what is needed", `export { ${needed.join(", ")} } from "oauth4webapi";`],
    ["SDK v1: auth", `export { auth } from "@modelcontextprotocol/sdk/client/auth.js";`],
    ["SDK v2: auth", `export { auth } from "@modelcontextprotocol/client";`],
  ];
  const rows: BundleSize[] = [];
  for (const [name, code] of programs) {
    const external = name.startsWith("SDK") ? [] : Object.keys(manifest.peerDependencies);
    const size = await bundle(code, /\/(node|machine)$|^SDK/.test(name) ? "node" : "neutral", external);
    rows.push({
      import: name,
      "minified, kB": kilobytes(size.minified),
      "gzipped, kB": kilobytes(size.gzipped),
      "loaded later, gzipped, kB": kilobytes(size.later),
    });
  }
  return rows;
}

const kilobytes = (bytes: number) => Math.round(bytes / 100) / 10;
