/** A user's program: it has installed the tarball, and knows nothing of the repository. */
import { strict as assert } from "node:assert";
import { createRequire } from "node:module";

const manifest = createRequire(import.meta.url)("mcp-client-auth/package.json");
const entries = Object.keys(manifest.exports).filter((entry) => entry !== "./package.json");
for (const entry of entries) {
  const exported = await import(entry.replace(".", "mcp-client-auth"));
  assert.notEqual(Object.keys(exported).length, 0, entry);
}

console.log(`${process.version}: all entry points (${entries.join(", ")})`);
