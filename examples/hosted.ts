/**
 * A web application whose users connect a protected MCP server and use its tools. Two machines share a store; requests go to
 * them in turns, so that a login begins on one and is finished on the other.
 *
 *     node examples/hosted.ts          # plays two users, and ends
 *     node examples/hosted.ts --serve  # stays, for your browser
 */
import { strict as assert } from "node:assert";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sqliteStore } from "mcp-client-auth/node";
import { startProtectedServer } from "../test/fixture/index.ts";
import { machine, type Settings } from "./hosted/machine.ts";
import { browser } from "./support/browser.ts";

const isServing = process.argv.includes("--serve");
const protectedServer = await startProtectedServer({ authorizationServer: { interaction: isServing ? "pages" : "auto" } });
const folder = await mkdtemp(join(tmpdir(), "mcp-client-auth-hosted-"));

// A load balancer, as simple as can be.
const machines: ReturnType<typeof machine>[] = [];
let requests = 0;
const balancer = createServer((request, response) => void machines[requests++ % machines.length]?.(request, response));
balancer.listen(0, "127.0.0.1");
await once(balancer, "listening");
const baseUrl = `http://127.0.0.1:${(balancer.address() as AddressInfo).port}`;

// Machines of their own would share a store that they reach by the network.
const settings: Settings = {
  baseUrl,
  serverUrl: protectedServer.url,
  store: sqliteStore({ folder, keychain: false }),
  sessionKey: randomBytes(32),
};
machines.push(machine("A", settings), machine("B", settings));
console.log(`The application: ${baseUrl}`);

async function close(): Promise<void> {
  balancer.closeAllConnections();
  balancer.close();
  await protectedServer.close();
  await rm(folder, { recursive: true, force: true });
}

if (isServing) {
  for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => void close());
} else {
  for (const user of ["ann", "bob"]) {
    const { authorizationServer } = protectedServer;
    authorizationServer.account = `${user}@mcp.example`;
    const { press } = browser(baseUrl);
    const see = (page: string, what: string) => assert.match(page, new RegExp(what));
    see(await press("/sign-in", { user }), "Not connected");
    see(await press("/mcp/connect?returnTo=/"), `Connected, as <b>${user}@mcp.example</b>`);
    see(await press("/add", { a: "20", b: "22" }), '<b id="result">42</b>');
    console.log(`${user} has connected the server, and has called a tool.`);
    if (user === "bob") {
      see(await press("/mcp/disconnect?returnTo=/"), "Not connected");
      console.log("bob has disconnected it again.");
    }
  }
  assert.equal(protectedServer.authorizationServer.registrations.length, 1, "one registration for all users and machines");
  assert.equal(protectedServer.authorizationServer.liveLogins, 1);
  await close();
}
