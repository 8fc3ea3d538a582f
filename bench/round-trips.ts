import { type Interval, type ProtectedServer, type ProtectedServerOptions, roundTrips } from "../test/fixture/index.ts";
import type { BenchClient } from "./client.ts";
import { startServer } from "./servers.ts";

export interface RoundTrips {
  client: string;
  "cold start": number;
  "cold start, metadata at the last place": number;
  "token expired, metadata known": number;
  "token valid": number;
  /** Of what these are counted: the client's own record, or the servers' logs, which can only be too high. */
  counted: "exactly" | "at most";
}

const lastPlace: ProtectedServerOptions = {
  authorizationServer: { path: "/t1", metadata: "openid-appended" },
  mcpServer: { resourceMetadata: "root", challenge: { resourceMetadata: false } },
};

/** Requests that wait for one another until the server's first authorised answer, from a new transport each time. */
export async function countRoundTrips(client: BenchClient): Promise<RoundTrips> {
  const last = await firstConnection(client, lastPlace);
  await using server = await startServer();
  await using user = await client.start(server);
  const count = async () => {
    const [own, theirs] = [user.log?.length ?? 0, server.requests.length];
    const connection = await user.connect();
    const trips = tripsToFirstAnswer(server, user.log?.slice(own), theirs);
    await connection.close();
    return trips;
  };
  const cold = await count();
  server.mcpServer.revokeAll();
  user.expireToken();
  const expired = await count();
  const valid = await count();
  return {
    client: client.name,
    "cold start": cold,
    "cold start, metadata at the last place": last,
    "token expired, metadata known": expired,
    "token valid": valid,
    counted: user.log ? "exactly" : "at most",
  };
}

async function firstConnection(client: BenchClient, options: ProtectedServerOptions): Promise<number> {
  await using server = await startServer(options);
  await using user = await client.start(server);
  const connection = await user.connect();
  const trips = tripsToFirstAnswer(server, user.log, 0);
  await connection.close();
  return trips;
}

function tripsToFirstAnswer(server: ProtectedServer, log: Awaited<ReturnType<BenchClient["start"]>>["log"], skip: number): number {
  const requests: (Interval & { status?: number | undefined; isMcp: boolean })[] = log
    ? log.map((request) => ({ ...request, isMcp: request.url.href === server.url }))
    : server.requests.slice(skip).map((request) => ({ ...request, isMcp: server.url.endsWith(request.path) }));
  const answers = requests.filter(({ isMcp, status, end }) => isMcp && status !== undefined && status < 300 && end !== undefined);
  const first = Math.min(...answers.map(({ end }) => end as number));
  return roundTrips(requests.filter(({ start }) => start < first));
}
