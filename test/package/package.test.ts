/** The packed tarball, as a user gets it: its contents, its types, and a program that uses nothing else. */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { person, startProtectedServer } from "../fixture/index.ts";
import { nodeBinary } from "./node-binary.ts";

const run = promisify(execFile);
const root = join(import.meta.dirname, "../..");
const bin = join(root, "node_modules/.bin");
const { exports, engines } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { exports: object; engines: { node: string } };
const lowestNode = engines.node.replace(">=", "");
const entries = Object.keys(exports)
  .filter((entry) => entry !== "./package.json")
  .map((entry) => entry.replace(".", "mcp-client-auth"));
let folder: string;
let tarball: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mcp-client-auth-package-"));
  // `npm test` has built it; a build here would take it from under the other tests.
  await run("npm", ["pack", "--ignore-scripts", "--pack-destination", folder], { cwd: root });
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
  // Nothing of others is built in: it would need its licence, and no audit or update would reach it.
  expect(files.filter((file) => !/\.(js|d\.ts)(\.map)?$/.test(file) && file.startsWith("dist/"))).toEqual([]);
  const { stdout: sources } = await run("sh", ["-c", `tar -xOzf "${tarball}" --wildcards '*.map' | grep -c node_modules || true`]);
  expect(sources.trim()).toBe("0");
});

test("publint finds nothing", async () => {
  const { stdout } = await run(join(bin, "publint"), ["run", tarball, "--strict"]);
  expect(stdout).toContain("All good");
});

test("every entry point's types resolve as its code does (are the types wrong)", async () => {
  const { stdout } = await run(join(bin, "attw"), [tarball, "--profile", "esm-only"]);
  // It fails on a problem; what is left to check is that it looked.
  for (const entry of [
    "mcp-client-auth",
    "mcp-client-auth/node",
    "mcp-client-auth/machine",
    "mcp-client-auth/sdk-v1",
    "mcp-client-auth/sdk-v2",
  ]) {
    expect(stdout).toContain(`"${entry}"`);
  }
});

describe("an app that has installed only the tarball and the SDKs", () => {
  let app: string;

  beforeAll(async () => {
    app = join(folder, "app");
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
    for (const program of ["consumer.mjs", "old-runtime-consumer.mjs"])
      await copyFile(join(import.meta.dirname, program), join(app, program));
  }, 120_000);

  // The oldest that package.json promises, and the lines that are maintained.
  test.each(["22.13.0", "24", "26"])(
    "imports every entry point, logs in and calls tools on Node %s; the next start needs no login; nothing is said on stderr",
    { timeout: 180_000 },
    async (version) => {
      const node = await nodeBinary(version);
      await using server = await startProtectedServer();
      const lines = [expect.stringMatching(new RegExp(`^v${version}.*: all entry points`)), "v1: 2 + 3 = 5", "v2: 2 + 3 = 5"];
      expect(await consume(node, server.url)).toEqual({ logins: 1, lines, stderr: "", code: 0 });
      expect(await consume(node, server.url)).toEqual({ logins: 0, lines, stderr: "", code: 0 });
    },
  );

  // 22.12 lacks nothing but `node:sqlite`: who keeps no login there needs none of it.
  test.each([
    { version: "20", lacks: /Promise\.withResolvers|node:sqlite/, works: [] },
    { version: "22.12.0", lacks: /node:sqlite/, works: [". ", "./machine ", "./credentials ", "./websocket "] },
  ])(
    "on Node $version a user sees first that it is too old, and the version that is needed",
    { timeout: 180_000 },
    async ({ version, lacks, works }) => {
      const env = { ...process.env, MCP_AUTH_SERVER_URL: "https://mcp.example/mcp", MCP_AUTH_DATA_DIR: join(app, `data-${version}`) };
      const { stdout, stderr } = await run(await nodeBinary(version), ["old-runtime-consumer.mjs"], { cwd: app, env });
      const lines = stdout.trimEnd().split("\n");
      expect(lines.length).toBe(14);
      const lackOf = new RegExp(
        `^.*: McpAuthError: This runtime cannot be used: Node ${version}\\S* has no \`(${lacks.source})\`.*\\. .*Node (must be )?${lowestNode} or newer\\.$`,
      );
      for (const line of lines) expect(line).toMatch(works.some((way) => line.startsWith(way)) ? /: works$/ : lackOf);
      expect(stderr).toBe("");
    },
  );

  test("./machine loads nothing of a user's login, of stores, keys and certificates, and no SDK", async () => {
    const hooks = `
      import { registerHooks } from "node:module";
      registerHooks({ load: (url, context, next) => (console.log(url), next(url, context)) });`;
    const args = ["--import", `data:text/javascript,${encodeURIComponent(hooks)}`, "--input-type=module", "--eval"];
    const { stdout } = await run(process.execPath, [...args, `import "mcp-client-auth/machine"`], { cwd: app });
    const loaded = stdout.split("\n").filter((url) => url.endsWith(".js"));
    const dist = join(app, "node_modules/mcp-client-auth/dist");
    const read = (files: readonly string[]) => Promise.all(files.map((file) => readFile(file, "utf8")));
    const [own, all] = await Promise.all([
      read(loaded.map((url) => fileURLToPath(url))),
      read((await readdir(dist, { recursive: true })).filter((file) => file.endsWith(".js")).map((file) => join(dist, file))),
    ]);
    expect(own.length).toBeGreaterThan(1);
    for (const url of loaded) expect(url).toContain("/mcp-client-auth/dist/");
    const foreign = [
      /\bTokenManager = class/,
      /createServer\(/,
      /import\("open"\)/,
      /node:sqlite/,
      /keyring/,
      /new SignJWT\(/,
      /new Agent\(/,
    ];
    for (const pattern of foreign) {
      // It is somewhere: a name that nobody uses any more would prove nothing.
      expect(
        all.some((file) => pattern.test(file)),
        String(pattern),
      ).toBe(true);
      expect(
        own.some((file) => pattern.test(file)),
        String(pattern),
      ).toBe(false);
    }
  });

  // Neither undici nor tough-cookie is installed. The SDKs' own declarations need DOM (v1) and Node (v2).
  test.each([
    { types: ["node"], lib: ["ES2022"], module: "NodeNext", moduleResolution: "NodeNext", without: ["sdk-v1"] },
    { types: ["node"], lib: ["ES2022", "DOM"], module: "ESNext", moduleResolution: "Bundler", without: [] },
    { types: [], lib: ["ES2022", "DOM"], module: "NodeNext", moduleResolution: "NodeNext", without: ["sdk-v2"] },
  ])(
    "compiles strictly, declarations included: types $types, lib $lib, $moduleResolution",
    { timeout: 120_000 },
    async ({ without, ...options }) => {
      const program = entries
        .filter((entry) => !without.some((name) => entry.endsWith(name)))
        .map((entry, index) => `import * as entry${index} from "${entry}"; void entry${index};`);
      if (options.types.length > 0)
        program.push(
          `import { createPrivateKey, type webcrypto } from "node:crypto";`,
          `export const keys = (key: webcrypto.CryptoKey): PrivateKey[] => [key, createPrivateKey("").export({ format: "jwk" })];`,
        );
      program.push(`import type { PrivateKey } from "mcp-client-auth/machine";`);
      program.push("// @ts-expect-error a number is no key", "export const wrong: PrivateKey = 7;");
      const own = await mkdtemp(join(app, "types-"));
      await writeFile(join(own, "program.ts"), program.join("\n"));
      const compilerOptions = {
        strict: true,
        exactOptionalPropertyTypes: true,
        skipLibCheck: false,
        noEmit: true,
        target: "ES2022",
        ...options,
      };
      const typeRoots = [join(root, "node_modules/@types")];
      await writeFile(
        join(own, "tsconfig.json"),
        JSON.stringify({ compilerOptions: { ...compilerOptions, typeRoots }, files: ["program.ts"] }),
      );
      const { stdout } = await run(join(bin, "tsc"), ["-p", own]).catch((error: { stdout: string }) => error);
      expect(stdout).toBe("");
    },
  );

  /** Runs the program, and is its user. */
  async function consume(node: string, url: string) {
    const child = spawn(node, ["consumer.mjs"], { cwd: app, env: { ...process.env, MCP_SERVER_URL: url }, timeout: 120_000 });
    const lines: string[] = [];
    let logins = 0;
    let stderr = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    const ended = once(child, "close");
    for await (const line of createInterface(child.stdout)) {
      if (!line.startsWith("open ")) lines.push(line);
      else {
        logins++;
        await person(line.slice("open ".length));
      }
    }
    const [code] = await ended;
    return { logins, lines, stderr, code };
  }
});
