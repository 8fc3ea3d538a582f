/**
 * The packed tarball with the oldest and the newest version of each peer and dependency that package.json allows, installed from
 * the registry. All but `keytar`, which would have to be compiled, and `open`, which opens browsers.
 */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFile, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import manifest from "../../package.json" with { type: "json" };
import { createCertificateAuthority, person, sessionCookies, startMcpServer, startProtectedServer } from "../fixture/index.ts";
import { toolRequest } from "../fixture/tool-request.ts";
import { hasSecretService, secretService } from "../node/stores/keychain/support.ts";
import { nodeBinary } from "./node-binary.ts";

const run = promisify(execFile);
const root = join(import.meta.dirname, "../..");
const { keytar: _, ...peers } = manifest.peerDependencies;
const { open: __, ...dependencies } = manifest.dependencies;
const ranges = Object.entries({ ...peers, ...dependencies });
/** The version that a range begins with. */
const lowest = (range: string) => /^\^(\d+\.\d+\.\d+)/.exec(range)?.[1] ?? "";
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mcp-client-auth-peers-"));
  // `npm test` has built it; a build here would take it from under the other tests.
  await run("npm", ["pack", "--ignore-scripts", "--pack-destination", folder], { cwd: root });
}, 120_000);

afterAll(() => rm(folder, { recursive: true, force: true }));

describe.each([
  ["lowest", ranges.map(([name, range]) => `${name}@${lowest(range)}`)],
  ["highest", ranges.map(([name, range]) => `${name}@${range}`)],
] as const)("the %s versions: %j", (_name, wanted) => {
  let app: string;

  beforeAll(async () => {
    app = await mkdtemp(join(folder, "app-"));
    await writeFile(join(app, "package.json"), JSON.stringify({ name: "app", private: true, type: "module" }));
    const [tarball = ""] = (await readdir(folder)).filter((file) => file.endsWith(".tgz"));
    const types = `@types/node@${manifest.devDependencies["@types/node"]}`;
    await run("npm", ["install", "--prefer-offline", "--no-audit", "--no-fund", join(folder, tarball), ...wanted, types], { cwd: app });
    for (const program of ["peers-consumer.mjs", "optional-peers-consumer.mjs"])
      await copyFile(join(import.meta.dirname, program), join(app, program));
  }, 300_000);

  test("login, calls and refreshes, by `fetch` and by `authProvider`", { timeout: 180_000 }, async () => {
    await using server = await startProtectedServer();
    const child = spawn(process.execPath, ["peers-consumer.mjs"], {
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

  // An undici must fit Node's own `fetch`, which changes.
  test.each(["22.13.0", "26"])(
    "a client certificate, a session cookie and a keychain on Node %s",
    { timeout: 180_000 },
    async (version) => {
      const node = await nodeBinary(version);
      const ca = createCertificateAuthority();
      await using guarded = await startMcpServer({ tls: ca, clientCertificates: "required" });
      const user = { username: "ann", password: "hush" };
      await using session = await startMcpServer({ protection: sessionCookies(user) });
      const keyring = hasSecretService ? await secretService() : undefined;
      const servers = {
        guarded: guarded.url,
        certificate: { ...ca.client({ name: "robot" }), ca: ca.cert },
        session: session.url,
        login: { url: `${session.origin}/login`, body: { user: user.username, password: user.password } },
        call: toolRequest("whoami"),
      };
      const { DISPLAY, DBUS_SESSION_BUS_ADDRESS, ...own } = process.env;
      const env = { ...own, SERVERS: JSON.stringify(servers), MCP_AUTH_DATA_DIR: join(app, `data-${version}`), MCP_AUTH_KEYCHAIN: "on" };
      const bus = keyring && { DBUS_SESSION_BUS_ADDRESS: keyring.address };
      const { stdout, stderr } = await run(node, ["optional-peers-consumer.mjs"], { cwd: app, env: { ...env, ...bus } });
      await keyring?.stop();
      const kept = keyring ? ["@napi-rs/keyring: kept, keychain"] : [];
      const lines = ["undici: CN=robot, application/json", "tough-cookie: ann, application/json", ...kept];
      expect({ lines: stdout.trimEnd().split("\n"), stderr }).toEqual({ lines, stderr: "" });
    },
  );

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
