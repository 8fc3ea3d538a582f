import type { BenchClient, Connection } from "./client.ts";
import { startServer } from "./servers.ts";

/** Why the server refuses: the client can know that its token has expired, or the token looks valid to it. */
export type Situation = "expired" | "refused";

export interface Storm {
  client: string;
  token: Situation;
  calls: number;
  transports: number;
  /** Refreshes that reached the authorization server. */
  "token requests": number;
  "failed calls": number;
  /** Browser windows that opened, with nobody in front of them. */
  windows: number;
  /** Whether the refresh token still works afterwards. */
  "login alive": boolean;
}

/** Many calls at once meet a token that the server does not take any more; reuse of a refresh token ends the login. */
export async function storm(client: BenchClient, token: Situation, calls: number, transports: number): Promise<Storm> {
  await using server = await startServer();
  const { authorizationServer, mcpServer } = server;
  await using user = await client.start(server);
  const connections: Connection[] = [await user.connect()];
  try {
    const more = await Promise.all(Array.from({ length: transports - 1 }, () => user.connect()));
    connections.push(...more);
    // Clients hold calls back until a connection has been confirmed: a storm can only come after that.
    await Promise.all(connections.map((connection) => connection.call()));

    mcpServer.revokeAll();
    if (token === "expired") user.expireToken();
    user.present = false;
    const before = { requests: authorizationServer.tokenRequests().length, windows: user.windows };

    const outcomes = await Promise.allSettled(Array.from({ length: calls }, (_, i) => (connections[i % transports] as Connection).call()));
    return {
      client: client.name,
      token,
      calls,
      transports,
      "token requests": authorizationServer.tokenRequests().length - before.requests,
      "failed calls": outcomes.filter(({ status }) => status === "rejected").length,
      windows: user.windows - before.windows,
      "login alive": authorizationServer.liveLogins > 0,
    };
  } finally {
    await Promise.all(connections.map((connection) => connection.close()));
  }
}
