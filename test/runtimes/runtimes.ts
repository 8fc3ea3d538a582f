/** Where programs run: how each runtime is found here, and how it is given a program. */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { Readable } from "node:stream";
import { promisify } from "node:util";
import { hasChromium, launch, openPage } from "../browser/chromium.ts";
import { nodeBinary } from "../package/node-binary.ts";
import { bundle } from "./bundle.ts";
import type { Report, Setting } from "./report.ts";

export interface Runtime {
  name: string;
  /** Whether it is installed. One that is missing fails in CI; elsewhere its tests are skipped, and say so. */
  isHere: boolean;
  /** What `navigator.userAgent` says there. */
  userAgent: RegExp;
  /** Runs `program.ts`. */
  run(setting: Setting): Promise<Report>;
}

/** One that is started from the command line. */
export interface CommandLine {
  name: string;
  isHere: boolean;
  userAgent: RegExp;
  /** The program and its options, before the file. */
  command(): Promise<readonly [program: string, ...options: string[]]>;
}

/** The binary that an npm package has for this machine in a package of its own; its install script is not needed. */
function binaryOf(name: string, ...places: readonly string[]): string | undefined {
  const require = createRequire(import.meta.url);
  const { optionalDependencies } = require(`${name}/package.json`) as { optionalDependencies: object };
  const own = createRequire(require.resolve(`${name}/package.json`));
  return Object.keys(optionalDependencies)
    .flatMap((dependency) => {
      try {
        const folder = dirname(own.resolve(`${dependency}/package.json`));
        return places.map((place) => join(folder, place));
      } catch {
        // Of another machine.
        return [];
      }
    })
    .find(existsSync);
}

const bun = binaryOf("bun", "bin/bun", "bin/bun.exe");
const deno = binaryOf("deno", "deno", "deno.exe");
const workerd = binaryOf("workerd", "bin/workerd", "bin/workerd.exe");

const nodes = ["22.13.0", "24", "26"].map(
  (version): CommandLine => ({
    name: `Node ${version}`,
    isHere: true,
    userAgent: new RegExp(`^Node\\.js/${version.split(".")[0]}$`),
    command: async () => [await nodeBinary(version)],
  }),
);

export const commandLines: readonly CommandLine[] = [
  ...nodes,
  { name: "Bun", isHere: bun !== undefined, userAgent: /^Bun\//, command: async () => [bun ?? missing("Bun"), "run"] },
  {
    name: "Deno",
    isHere: deno !== undefined,
    userAgent: /^Deno\//,
    command: async () => [deno ?? missing("Deno"), "run", "--quiet", "--no-config", "--no-lock", "--allow-all"],
  },
];

export const runtimes: readonly Runtime[] = [
  ...commandLines.map(
    (runtime): Runtime => ({
      ...runtime,
      async run(setting) {
        const code = `import { run } from "./program.ts"; console.log(JSON.stringify(await run(${JSON.stringify(setting)})));`;
        return JSON.parse(await runFile(runtime, await bundle(code, "neutral"))) as Report;
      },
    }),
  ),
  { name: "workerd (Cloudflare Workers)", isHere: workerd !== undefined, userAgent: /^Cloudflare-Workers$/, run: inWorkerd },
  { name: "Chromium", isHere: hasChromium, userAgent: /Chrome\//, run: inChromium },
];

function missing(name: string): never {
  throw new Error(`${name} is missing: npm has none for this machine.`);
}

/** Runs a file, and gives what it has printed. */
export async function runFile({ command }: CommandLine, code: string, env: Record<string, string> = {}): Promise<string> {
  await using folder = await scratch();
  const file = join(folder.path, "program.mjs");
  await writeFile(file, code);
  const [program, ...options] = await command();
  const surroundings = { ...process.env, NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1", ...env };
  const { stdout } = await promisify(execFile)(program, [...options, file], { env: surroundings, timeout: 100_000 });
  return stdout;
}

/** As Cloudflare runs Workers: the program is a module that answers a request with its report. */
async function inWorkerd(setting: Setting): Promise<Report> {
  const worker = `
    import { run } from "./program.ts";
    export default { fetch: async (request) => Response.json(await run(await request.json())) };`;
  // Only a local test may reach loopback.
  const config = `
    using Workerd = import "/workerd/workerd.capnp";
    const config :Workerd.Config = (
      services = [(name = "main", worker = .main), (name = "internet", network = (allow = ["public", "private", "local"]))],
      sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
    );
    const main :Workerd.Worker = (
      modules = [(name = "worker.mjs", esModule = embed "worker.mjs")],
      compatibilityDate = "2026-06-01",
      globalOutbound = "internet",
    );`;
  await using folder = await scratch();
  await writeFile(join(folder.path, "worker.mjs"), await bundle(worker, "neutral"));
  await writeFile(join(folder.path, "config.capnp"), config);
  const options = ["serve", join(folder.path, "config.capnp"), "--control-fd=3"];
  const child = spawn(workerd ?? missing("workerd"), options, { stdio: ["ignore", "inherit", "inherit", "pipe"] });
  try {
    const [listening] = await Promise.race([once(child.stdio[3] as Readable, "data"), once(child, "exit").then(() => missing("workerd"))]);
    const { port } = JSON.parse(String(listening).split("\n")[0] ?? "") as { port: number };
    const response = await fetch(`http://127.0.0.1:${port}/`, { method: "POST", body: JSON.stringify(setting) });
    return (await response.json()) as Report;
  } finally {
    const exited = child.exitCode === null && once(child, "exit");
    child.kill("SIGKILL");
    await exited;
  }
}

/** As a page of an app at an origin of its own: what the browser lets it read is what the servers allow. */
async function inChromium(setting: Setting): Promise<Report> {
  const page = `import { run } from "./program.ts"; globalThis.report = run(${JSON.stringify(setting)});`;
  const script = await bundle(page, "neutral");
  const app = createServer(({ url }, response) => {
    if (url === "/app.js") response.writeHead(200, { "content-type": "text/javascript" }).end(script);
    else response.writeHead(200, { "content-type": "text/html" }).end(`<!doctype html><script type="module" src="/app.js"></script>`);
  });
  await new Promise<void>((resolve) => app.listen(0, "127.0.0.1", resolve));
  const browser = await launch();
  try {
    const { page, problems } = await openPage(browser);
    await page.goto(`http://127.0.0.1:${(app.address() as AddressInfo).port}/`, { waitUntil: "load" });
    const report = await page.evaluate(() => (globalThis as unknown as { report?: Promise<Report> }).report);
    if (!report) throw new Error(`The page has no report: ${problems.join("\n")}`);
    return report;
  } finally {
    await browser.close();
    app.closeAllConnections();
    await new Promise((resolve) => app.close(resolve));
  }
}

async function scratch(): Promise<AsyncDisposable & { path: string }> {
  const path = await mkdtemp(join(tmpdir(), "mcp-client-auth-runtime-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}
