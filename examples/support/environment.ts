import { MemoryStore } from "mcp-client-auth";
import type { EnvironmentOptions } from "mcp-client-auth/node";
import { startProtectedServer } from "../../test/fixture/index.ts";

/** What surrounds an example that reads the environment. */
export interface Surroundings {
  /** Passed to `fromEnvironment`: nothing where the environment names a server. */
  options: EnvironmentOptions;
  close(): Promise<void>;
}

/** The environment as it is; where it names no server, a protected server in this process, and a program that is known there. */
export async function environment(): Promise<Surroundings> {
  if (process.env.MCP_AUTH_SERVER_URL) return { options: {}, close: async () => {} };

  const { authorizationServer, url, close } = await startProtectedServer();
  const [clientId, clientSecret] = ["nightly-report", crypto.randomUUID()];
  await authorizationServer.addClient({ client_id: clientId, client_secret: clientSecret, grant_types: ["client_credentials"] });
  console.log("MCP_AUTH_SERVER_URL is not set: a protected server is started in this process, where this program is known.");
  Object.assign(process.env, { MCP_AUTH_SERVER_URL: url, MCP_AUTH_CLIENT_ID: clientId, MCP_AUTH_CLIENT_SECRET: clientSecret });
  // Nothing of this is kept: the server is gone with the program.
  return { options: { store: new MemoryStore() }, close };
}
