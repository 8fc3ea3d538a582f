/**
 * A desktop program that stays open, such as an Electron app, and shares its login with a command line tool (`cli.ts`):
 * both say `app: "acme"`. Whichever runs first logs in, whichever needs it first refreshes.
 *
 *     node examples/desktop.ts https://mcp.example.com/mcp
 */
import { strict as assert } from "node:assert";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { createMcpAuth } from "mcp-client-auth/node";
import { startMachine } from "./support/machine.ts";

const [, , address] = process.argv;
await using machine = address === undefined ? await startMachine() : undefined;
const url = address ?? String(machine?.server.url);

// Electron apps ship a keytar of their own, built for Electron. Where none can be loaded, what is installed is looked for.
const keytar = await import("keytar").then(
  (module) => module.default,
  () => undefined,
);

await using auth = createMcpAuth(url, {
  app: "acme",
  clientName: "Acme",
  keychain: keytar,
  // It is open all day: even the first call after lunch finds a fresh token.
  keepFresh: true,
  onEvent(event) {
    // An app should tell where the key lives: a file protects less than a keychain.
    if (event.type === "store.opened") console.log(`Logins are kept in ${event.path}, encrypted; the key lives in a ${event.key}.`);
    if (event.type === "refresh.shared") console.log("Another program has refreshed the login.");
  },
  ...machine?.options,
});

await auth.authorize();
const client = new Client({ name: "acme", version: "1.0.0" });
await client.connect(new StreamableHTTPClientTransport(auth.serverUrl, { fetch: auth.fetch }));
const listTools = async () => (await client.listTools()).tools.map(({ name }) => name).join(", ");
console.log(`Tools: ${await listTools()}`);

if (machine) {
  const { authorizationServer, mcpServer } = machine.server;
  // The user opens a terminal meanwhile.
  await machine.type("tools");
  await machine.type("status");

  // Whoever notices first that the token is not good any more refreshes it, for both.
  mcpServer.revokeAll();
  await machine.type("tools");
  await listTools();
  assert.equal(authorizationServer.tokenRequests("refresh_token").length, 1, "one refresh for both");

  assert.equal(machine.windows, 1, "one browser window");
  assert.equal(authorizationServer.registrations.length, 1, "one registration");
  assert.equal(authorizationServer.liveLogins, 1);
} else {
  console.log(`Now type: node examples/cli.ts ${url} tools`);
}
await client.close();
