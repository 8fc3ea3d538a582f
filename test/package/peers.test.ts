/** The packed tarball with the oldest and the newest version of each SDK that package.json allows, installed from the registry. */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFile, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import manifest from "../../package.json" with { type: "json" };
import { person, startProtectedServer } from "../fixture/index.ts";

const run = promisify(execFile);
const root = join(import.meta.dirname, "../..");
const { "@modelcontextprotocol/sdk": sdk, "@modelcontextprotocol/client": client } = manifest.peerDependencies;
const { jose, oauth4webapi } = manifest.dependencies;
/** The version that a range begins with. */
const lowest = (range: string) => range.replace(/^\^/, "");
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mcp-client-auth-peers-"));
  // `npm test` has built it; a build here would take it from under the other tests.
  await run("npm", ["pack", "--ignore-scripts", "--pack-destination", folder], { cwd: root });
}, 120_000);

afterAll(() => rm(folder, { recursive: true, force: true }));

describe.each([
  ["lowest", [lowest(sdk), lowest(client), lowest(jose), lowest(oauth4webapi)]],
  ["highest", [sdk, client, jose, oauth4webapi]],
] as const)("the %s versions: SDK v1, SDK v2, jose, oauth4webapi: %j", (_name, versions) => {
  let app: string;

  beforeAll(async () => {
    app = await mkdtemp(join(folder, "app-"));
    await writeFile(join(app, "package.json"), JSON.stringify({ name: "app", private: true, type: "module" }));
    const [tarball = ""] = (await readdir(folder)).filter((file) => file.endsWith(".tgz"));
    const packages = ["@modelcontextprotocol/sdk", "@modelcontextprotocol/client", "jose", "oauth4webapi"];
    const wanted = packages.map((name, i) => `${name}@${versions[i]}`);
    const types = `@types/node@${manifest.devDependencies["@types/node"]}`;
    await run("npm", ["install", "--prefer-offline", "--no-audit", "--no-fund", join(folder, tarball), ...wanted, types], { cwd: app });
    await copyFile(join(import.meta.dirname, "peers-consumer.mjs"), join(app, "consumer.mjs"));
  }, 300_000);

  test("login, calls and refreshes, by `fetch` and by `authProvider`", { timeout: 180_000 }, async () => {
    await using server = await startProtectedServer();
    const child = spawn(process.execPath, ["consumer.mjs"], {
      cwd: app,
      env: { ...process.env, MCP_SERVER_URL: server.url, MCP_AUTH_DATA_DIR: join(app, "data"), MCP_AUTH_KEYCHAIN: "off" },
      timeout: 120_000,
    });
    let stderr = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    const lines: string[] = [];
    let logins = 0;
    const ended = once(child, "close");
    for await (const line of createInterface(child.stdout)) {
      if (line === "refuse") {
        server.mcpServer.revokeAll();
        child.stdin.write("done\n");
      } else if (line.startsWith("open ")) {
        logins++;
        await person(line.slice("open ".length));
      } else lines.push(line);
    }
    const [code] = await ended;
    const calls = ["v1 fetch", "v1 authProvider", "v2 fetch", "v2 authProvider"].map((way) => `${way}: 2 + 3 = 5`);
    expect({ lines, logins, code, stderr }).toEqual({ lines: calls, logins: 1, code: 0, stderr: "" });
  });

  test("compiles strictly", { timeout: 120_000 }, async () => {
    await writeFile(
      join(app, "program.ts"),
      `import { Client as ClientV1 } from "@modelcontextprotocol/sdk/client/index.js";
       import { StreamableHTTPClientTransport as TransportV1 } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
       import { StreamableHTTPClientTransport as TransportV2 } from "@modelcontextprotocol/client";
       import { createMcpAuth } from "mcp-client-auth/node";
       import { authProvider as providerV1 } from "mcp-client-auth/sdk-v1";
       import { authProvider as providerV2 } from "mcp-client-auth/sdk-v2";
       const auth = createMcpAuth("https://mcp.example/mcp");
       new TransportV1(auth.serverUrl, { fetch: auth.fetch, authProvider: providerV1(auth) });
       new TransportV2(auth.serverUrl, { fetch: auth.fetch, authProvider: providerV2(auth) });
       export { ClientV1 };`,
    );
    const options = ["--strict", "--noEmit", "--skipLibCheck", "--target", "ES2022", "--module", "NodeNext", "--types", "node"];
    const { stdout } = await run(join(root, "node_modules/.bin/tsc"), [...options, "program.ts"], { cwd: app }).catch(
      (error: { stdout: string }) => error,
    );
    expect(stdout).toBe("");
  });
});
