/**
 * A user's program on a Node that is too old: what happens first, a line for each way in. `MCP_AUTH_SERVER_URL` names the server.
 * Nothing is sent: a `fetch` that is called throws.
 */
import { TokenManager } from "mcp-client-auth";
import { BearerCredential } from "mcp-client-auth/credentials";
import { MachineTokenManager } from "mcp-client-auth/machine";
import { createMcpAuth, fromEnvironment, importFromMcpRemote, keychainStore, sqliteStore } from "mcp-client-auth/node";
import { WebSocketTransport } from "mcp-client-auth/websocket";

const serverUrl = process.env.MCP_AUTH_SERVER_URL;
const fetch = async () => {
  throw new Error("something was sent");
};
const auth = () => createMcpAuth(serverUrl, { interactive: true, fetch });
const client = { clientId: "program", clientSecret: "secret" };

const ways = {
  ". TokenManager": () => new TokenManager({ serverUrl }),
  "./machine MachineTokenManager": () => new MachineTokenManager({ serverUrl, ...client }),
  "./credentials BearerCredential": () => new BearerCredential({ serverUrl, token: "token" }),
  "./websocket WebSocketTransport": () => new WebSocketTransport("wss://mcp.example/mcp"),
  "./node authorize": () => auth().authorize(),
  "./node getAccessToken": () => auth().getAccessToken(),
  "./node fetch": () => auth().fetch(serverUrl),
  "./node status": () => auth().status(),
  "./node setTokens": () => auth().setTokens({ accessToken: "token" }),
  "./node accounts": () => auth().accounts(),
  "./node fromEnvironment": async () => (await fromEnvironment()).getAccessToken(),
  "./node importFromMcpRemote": () => importFromMcpRemote(serverUrl, { store: sqliteStore() }),
  "./node sqliteStore": () => sqliteStore().get("record"),
  "./node keychainStore": () => keychainStore().get("record"),
};
for (const [name, enter] of Object.entries(ways)) {
  try {
    await enter();
    console.log(`${name}: works`);
  } catch (error) {
    console.log(`${name}: ${error}`);
  }
}
process.exit();
