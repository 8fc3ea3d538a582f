import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const cache = join(import.meta.dirname, "../../node_modules/.cache");

/** Node in another version, from npm's package `node`; kept until the next `npm ci`. */
export async function nodeBinary(version: string): Promise<string> {
  const home = join(cache, `node-${version}`);
  if (!(await isNode(home, version))) {
    await mkdir(cache, { recursive: true });
    // Elsewhere first: another test file may want the same version now.
    const own = await mkdtemp(`${home}-`);
    await writeFile(join(own, "package.json"), JSON.stringify({ private: true, allowScripts: { node: true } }));
    await run("npm", ["install", "--prefer-offline", "--no-audit", "--no-fund", `node@${version}`], { cwd: own });
    if (!(await isNode(own, version))) throw new Error(`${binaryIn(own)} is not Node ${version}`);
    await rm(home, { recursive: true, force: true });
    await rename(own, home).catch(async (error: unknown) => {
      if (!(await isNode(home, version))) throw error;
      await rm(own, { recursive: true });
    });
  }
  return binaryIn(home);
}

const binaryIn = (home: string) => join(home, "node_modules/.bin/node");

async function isNode(home: string, version: string): Promise<boolean> {
  const { stdout } = await run(binaryIn(home), ["--version"]).catch(() => ({ stdout: "" }));
  return stdout.startsWith(`v${version}`);
}
