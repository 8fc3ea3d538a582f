import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ProtectedServer } from "../test/fixture/index.ts";
import type { Connection } from "./client.ts";
import { type MachineKind, machineClient, robot } from "./machine-clients.ts";
import { startProcess } from "./processes.ts";
import { lifetimeSeconds, startServer } from "./servers.ts";

/** Token requests of a program without a user. */
export interface MachineRequests {
  client: string;
  /** Clients that share the program's credentials: in one process, or a process each. */
  callers: string;
  /** `cold`: there is no token yet; `expired`, `refused`: as in the storm. */
  token: "cold" | "expired" | "refused";
  "token requests": number;
  /** Callers who did not get an answer. */
  failed: number;
}

/** The clients that are compared. */
export const machines: readonly [name: string, kind: MachineKind][] = [
  ["mcp-client-auth", "ours"],
  ["SDK v1, ClientCredentialsProvider", "v1"],
  ["SDK v2, ClientCredentialsProvider", "v2"],
];

/** A caller connects when it is cold, and calls a tool. */
interface Caller {
  connect(): Promise<void>;
  call(): Promise<unknown>;
}

/** So many clients in one process, all with one credential: cold at once, then with a token that has expired, then with one that is refused. */
export async function machineStorm(name: string, kind: MachineKind, count: number): Promise<MachineRequests[]> {
  await using server = await serverWithRobot();
  let aheadMs = 0;
  const connect = machineClient(kind, { url: server.url, issuer: server.authorizationServer.issuer, aheadMs: () => aheadMs });
  const connections: Connection[] = [];
  const callers = Array.from({ length: count }, (): Caller => {
    let connection: Connection | undefined;
    return {
      async connect() {
        connection = await connect();
        connections.push(connection);
      },
      call: async () => connection?.call(),
    };
  });
  const expire = async () => {
    aheadMs += lifetimeSeconds * 1000;
  };
  try {
    return await situations(server, { client: name, callers: `${count} in one process` }, callers, expire);
  } finally {
    await Promise.allSettled(connections.map((connection) => connection.close()));
  }
}

/** The same with a process each; ours share the default store. */
export async function machineProcesses(name: string, kind: MachineKind, count = 8): Promise<MachineRequests[]> {
  await using server = await serverWithRobot();
  const folder = mkdtempSync(join(tmpdir(), "bench-machine-"));
  const processes = Array.from({ length: count }, () => startProcess(`machine-${kind}`, folder));
  try {
    await Promise.all(processes.map(({ ready }) => ready));
    const { url, authorizationServer } = server;
    const callers = processes.map(
      (process): Caller => ({
        connect: () => process.ask({ do: "connect", url, issuer: authorizationServer.issuer, aheadMs: 0 }),
        call: () => process.ask({ do: "call" }),
      }),
    );
    const expire = async () => {
      await Promise.all(processes.map((process) => process.ask({ do: "age", aheadMs: lifetimeSeconds * 1000 })));
    };
    return await situations(server, { client: name, callers: `${count} processes` }, callers, expire);
  } finally {
    await Promise.all(processes.map((process) => process.end()));
    rmSync(folder, { recursive: true, force: true });
  }
}

async function serverWithRobot(): Promise<ProtectedServer> {
  const server = await startServer();
  const { clientId, clientSecret } = robot;
  await server.authorizationServer.addClient({ client_id: clientId, client_secret: clientSecret, grant_types: ["client_credentials"] });
  return server;
}

async function situations(
  { authorizationServer: as, mcpServer: mcp }: ProtectedServer,
  who: Pick<MachineRequests, "client" | "callers">,
  callers: readonly Caller[],
  expire: () => Promise<void>,
): Promise<MachineRequests[]> {
  const rows: MachineRequests[] = [];
  for (const token of ["cold", "expired", "refused"] as const) {
    if (token !== "cold") mcp.revokeAll();
    if (token === "expired") await expire();
    const before = as.tokenRequests().length;
    const outcomes = await Promise.allSettled(
      callers.map(async (caller) => {
        if (token === "cold") await caller.connect();
        await caller.call();
      }),
    );
    const failed = outcomes.filter(({ status }) => status === "rejected").length;
    rows.push({ ...who, token, "token requests": as.tokenRequests().length - before, failed });
  }
  return rows;
}
