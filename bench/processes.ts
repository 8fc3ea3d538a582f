import { fork } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Random } from "../test/processes/random.ts";
import { type BenchClient, type Connection, callTimeoutMs } from "./client.ts";
import { mcpRemote } from "./mcp-remote.ts";
import type { ClientKind, ProcessAnswer, ProcessRequest } from "./process.ts";
import { lifetimeSeconds, startServer } from "./servers.ts";
import type { Situation } from "./storm.ts";

export interface Processes {
  client: string;
  /** Whether the client can know that its token has expired, or it looks valid and is refused. */
  token: Situation;
  /** Within how many ms the processes begin. */
  "started within, ms": number;
  runs: number;
  /** Refreshes that reached the authorization server, in all runs. */
  "token requests": number;
  /** Of 8 processes a run. */
  "processes whose calls failed": number;
  /** Browser windows that opened, with nobody in front of them. */
  windows: number;
  /** Runs after which the refresh token was dead. */
  "logins lost": number;
}

const processes = 8;

/** A process a connection; all share what the client keeps in files. */
export const processClients: readonly BenchClient[] = [
  processClient("mcp-client-auth", "ours"),
  processClient("SDK v1, provider in files", "v1"),
  processClient("SDK v2, provider in files", "v2"),
  mcpRemote,
];

/** Processes that begin to work, together or one after the other, when the server does not take the token any more that they share. */
export async function sharedLogin(client: BenchClient, token: Situation, spreadMs: number, runs: number): Promise<Processes> {
  const random = new Random(1);
  const row: Processes = {
    client: client.name,
    token,
    "started within, ms": spreadMs,
    runs,
    "token requests": 0,
    "processes whose calls failed": 0,
    windows: 0,
    "logins lost": 0,
  };
  for (let run = 0; run < runs; run++) {
    await using server = await startServer();
    const { authorizationServer: as, mcpServer: mcp } = server;
    await using user = await client.start(server);
    await (await user.connect()).close();
    mcp.revokeAll();
    if (token === "expired") user.expireToken();
    user.present = false;
    const [requests, windows] = [as.tokenRequests().length, user.windows];
    await user.prepare?.(processes);
    const works = await Promise.allSettled(
      Array.from({ length: processes }, async () => {
        const delayMs = random.below(spreadMs);
        await new Promise((resolve) => setTimeout(resolve, delayMs));
        return work(user.connect());
      }),
    );
    row["token requests"] += as.tokenRequests().length - requests;
    row.windows += user.windows - windows;
    row["processes whose calls failed"] += works.filter(({ status }) => status === "rejected").length;
    if (as.liveLogins === 0) row["logins lost"]++;
  }
  return row;
}

async function work(connecting: Promise<Connection>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error("no connection in time")), callTimeoutMs);
  });
  let connection: Connection | undefined;
  try {
    connection = await Promise.race([connecting, late]);
    await connection.call();
  } finally {
    clearTimeout(timer);
    // One that comes late is closed late.
    void (connection ? connection.close() : connecting.then((found) => found.close())).catch(() => {});
  }
}

function processClient(name: string, kind: ClientKind): BenchClient {
  return {
    name,
    async start(server) {
      const folder = mkdtempSync(join(tmpdir(), "bench-processes-"));
      const [windows, away] = [join(folder, "windows"), join(folder, "away")];
      const all: ReturnType<typeof startProcess>[] = [];
      const prepared: ReturnType<typeof startProcess>[] = [];
      const start = () => {
        const started = startProcess(kind, folder);
        all.push(started);
        return started;
      };
      let aheadMs = 0;
      return {
        log: undefined,
        get present() {
          return !existsSync(away);
        },
        set present(isPresent) {
          if (isPresent) rmSync(away, { force: true });
          else writeFileSync(away, "");
        },
        get windows() {
          return existsSync(windows) ? readFileSync(windows, "utf8").split("\n").length - 1 : 0;
        },
        expireToken() {
          aheadMs += lifetimeSeconds * 1000;
        },
        async prepare(count) {
          while (prepared.length < count) prepared.push(start());
          await Promise.all(prepared.map(({ ready }) => ready));
        },
        async connect() {
          const program = prepared.pop() ?? start();
          await program.ask({ do: "connect", url: server.url, aheadMs });
          return { call: () => program.ask({ do: "call" }), close: program.end };
        },
        async [Symbol.asyncDispose]() {
          await Promise.all(all.map(({ end }) => end()));
          rmSync(folder, { recursive: true, force: true });
        },
      };
    },
  };
}

/** A process of `process.ts`. */
export function startProcess(kind: ClientKind, folder: string) {
  const path = fileURLToPath(new URL("process.ts", import.meta.url));
  const child = fork(path, [kind, folder], {
    execArgv: ["--no-warnings"],
    env: { ...process.env, MCP_AUTH_DATA_DIR: folder, MCP_AUTH_KEYCHAIN: "off" },
    stdio: ["ignore", "ignore", "ignore", "ipc"],
  });
  const ended = once(child, "exit");
  const answers = () => once(child, "message") as Promise<[ProcessAnswer]>;
  const ready = answers();
  return {
    ready,
    async ask(request: ProcessRequest): Promise<void> {
      await ready;
      const answered = answers();
      child.send(request);
      const [{ error }] = await answered;
      if (error !== undefined) throw new Error(error);
    },
    async end(): Promise<void> {
      child.kill("SIGKILL");
      await ended;
    },
  };
}
