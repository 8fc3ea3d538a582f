/**
 * A command line tool that shares its logins with a desktop program (`desktop.ts`): both say `app: "acme"`.
 *
 *     node examples/cli.ts https://mcp.example.com/mcp tools
 *     node examples/cli.ts https://mcp.example.com/mcp login work
 *
 * Commands: `login`, `tools` and `switch`, each with or without an account; `status`, `accounts`, `logout`. Without
 * arguments it plays a user who types them one after the other: each is a process of its own.
 */
import { strict as assert } from "node:assert";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import type { TokenManager } from "mcp-client-auth";
import { createMcpAuth } from "mcp-client-auth/node";
import { playedOptions, startMachine } from "./support/machine.ts";

const commands: Record<string, (auth: TokenManager) => Promise<string>> = {
  login: async (auth) => ((await auth.authorize()) === "authorized" ? "Logged in." : "The server asks for no login."),
  tools,
  status,
  accounts,
  switch: async (auth) => {
    await auth.makeDefault();
    return status(auth);
  },
  logout: async (auth) => {
    // Every account at this server, for every program of `acme`.
    const ended = await auth.logoutEverywhere();
    const told = ended.map(
      (login) => `${login.account}: ${login.error?.message ?? (login.refreshTokenRevoked ? "revoked" : "forgotten here")}`,
    );
    return told.join("\n");
  },
};

async function tools(auth: TokenManager): Promise<string> {
  // Finds the login, refreshes it, or opens the browser.
  await auth.authorize();
  const client = new Client({ name: "acme", version: "1.0.0" });
  await client.connect(new StreamableHTTPClientTransport(auth.serverUrl, { fetch: auth.fetch }));
  const { tools } = await client.listTools();
  await client.close();
  return `Tools: ${tools.map(({ name }) => name).join(", ")}`;
}

async function status(auth: TokenManager): Promise<string> {
  const { account, issuer, scopes, canRefresh, store } = await auth.status();
  const login = issuer ? `logged in at ${issuer} for ${scopes?.join(" ")}${canRefresh ? "" : ", until it expires"}` : "not logged in";
  return `${account}: ${login}; the key of the store: ${store?.key}`;
}

async function accounts(auth: TokenManager): Promise<string> {
  return (await auth.accounts()).map(({ account, isDefault }) => `${isDefault ? "*" : " "} ${account}`).join("\n");
}

/** Runs one command, as a user types it. */
async function run(url: string, name: string, account: string | undefined): Promise<void> {
  const command = commands[name];
  if (!command) throw new Error(`There is no command ${name}, only ${Object.keys(commands).join(", ")}.`);
  await using auth = createMcpAuth(url, { app: "acme", clientName: "Acme", account, ...playedOptions() });
  console.log(await command(auth));
}

/** A user's morning. */
async function play(): Promise<void> {
  await using machine = await startMachine();
  const { authorizationServer } = machine.server;
  await machine.type("login");
  await machine.type("tools");
  assert.equal(machine.windows, 1);

  authorizationServer.account = "bob";
  await machine.type("login", "work");
  await machine.type("accounts");
  await machine.type("switch", "work");
  await machine.type("tools");
  assert.equal(machine.windows, 2, "a browser window for each account");
  assert.equal(authorizationServer.registrations.length, 1, "one registration for both");

  await machine.type("logout");
  assert.equal(authorizationServer.liveLogins, 0);
  await machine.type("status");
}

const [url, name = "tools", account] = process.argv.slice(2);
await (url === undefined ? play() : run(url, name, account));
