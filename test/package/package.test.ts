/** The packed tarball, as a user gets it: its contents, its types, and a program that uses nothing else. */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";

const run = promisify(execFile);
const root = join(import.meta.dirname, "../..");
const bin = join(root, "node_modules/.bin");
let folder: string;
let tarball: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mcp-client-auth-package-"));
  await run("npm", ["pack", "--pack-destination", folder], { cwd: root });
  const [name = ""] = await readdir(folder);
  tarball = join(folder, name);
}, 120_000);

afterAll(() => rm(folder, { recursive: true, force: true }));

test("the tarball holds the built files and what describes them, nothing else", async () => {
  const { stdout } = await run("tar", ["-tzf", tarball]);
  const files = stdout
    .trim()
    .split("\n")
    .map((file) => file.replace("package/", ""));
  expect(files.filter((file) => !file.startsWith("dist/")).sort()).toEqual(["CHANGELOG.md", "LICENSE", "README.md", "package.json"]);
  expect(files.filter((file) => !/\.(js|d\.ts)(\.map)?$/.test(file) && file.startsWith("dist/"))).toEqual([]);
});

test("publint finds nothing", async () => {
  const { stdout } = await run(join(bin, "publint"), ["run", tarball, "--strict"]);
  expect(stdout).toContain("All good");
});

test("every entry point's types resolve as its code does (are the types wrong)", async () => {
  const { stdout } = await run(join(bin, "attw"), [tarball, "--profile", "esm-only"]);
  // It fails on a problem; what is left to check is that it looked.
  for (const entry of ["mcp-client-auth", "mcp-client-auth/node", "mcp-client-auth/sdk-v1", "mcp-client-auth/sdk-v2"]) {
    expect(stdout).toContain(`"${entry}"`);
  }
});

test("an app that has installed only the tarball imports every entry point, on the oldest Node that is promised and on newer ones", async () => {
  const app = join(folder, "app");
  await mkdir(app);
  await writeFile(join(app, "package.json"), JSON.stringify({ name: "app", private: true, type: "module" }));
  await run("npm", ["install", "--prefer-offline", "--no-audit", "--no-fund", tarball], { cwd: app });
  // The optional peers, in the versions of the lock file. As links, so that npm need not fetch them again.
  await mkdir(join(app, "node_modules/@modelcontextprotocol"));
  for (const name of ["sdk", "client"]) {
    await symlink(
      join(root, "node_modules/@modelcontextprotocol", name),
      join(app, "node_modules/@modelcontextprotocol", name),
      "junction",
    );
  }
  await run("cp", [join(import.meta.dirname, "consumer.mjs"), app]);

  for (const version of ["22.13.0", "24", "26"]) {
    const { stdout, stderr } = await run(await nodeBinary(version), ["consumer.mjs"], { cwd: app });
    expect(stdout, `on Node ${version}`).toMatch(new RegExp(`^v${version}.*: all entry points`));
    expect(stderr, `on Node ${version}`).toBe("");
  }
}, 300_000);

/** Node in another version, from npm's package `node`; kept until the next `npm ci`. */
async function nodeBinary(version: string): Promise<string> {
  const prefix = join(root, `node_modules/.cache/node-${version}`);
  const binary = join(prefix, "node_modules/.bin/node");
  const works = async () => (await run(binary, ["--version"]).catch(() => ({ stdout: "" }))).stdout.startsWith(`v${version}`);
  if (!(await works())) {
    await mkdir(prefix, { recursive: true });
    await writeFile(join(prefix, "package.json"), JSON.stringify({ private: true, allowScripts: { node: true } }));
    await run("npm", ["install", "--prefer-offline", "--no-audit", "--no-fund", `node@${version}`], { cwd: prefix });
    expect(await works(), `${binary} is Node ${version}`).toBe(true);
  }
  return binary;
}
