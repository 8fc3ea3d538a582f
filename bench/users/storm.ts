import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Methods, ProgramSettings, StormReport } from "./program.ts";
import type { StrictServerReport, StrictServerSettings } from "./strict-server.ts";

/** A storm of users: all their tokens have expired, and all are wanted at once. */
export interface UsersStormOptions {
  logins: number;
  store: ProgramSettings["store"]["kind"];
  /** Processes that share the store, each for all users. Default 1. */
  processes?: number;
  /** Whether something else keeps both cores busy. */
  busy?: boolean;
  /** How the authorization server behaves. */
  server?: StrictServerSettings;
  /** How many files each process may have open. */
  descriptors?: number;
  /** Where Redis is. */
  redis?: string | undefined;
}

export interface UsersStorm extends StrictServerReport {
  processes: StormReport[];
  /** The same number of token requests at 16 in flight without us, in ms. */
  bareMs: number;
}

/** @param descriptors how many files it may have open */
function run(file: string, descriptors?: number): ChildProcess {
  const path = fileURLToPath(new URL(file, import.meta.url));
  const program = [process.execPath, "--no-warnings", path];
  const [command = "", ...args] =
    descriptors === undefined ? program : ["sh", "-c", `ulimit -n ${descriptors}; exec "$@"`, "sh", ...program];
  return spawn(command, args, { stdio: ["ignore", "inherit", "inherit", "ipc"], env: { ...process.env, NODE_OPTIONS: "" } });
}

async function ask<T>(child: ChildProcess, message: object | string): Promise<T> {
  const answering = once(child, "message");
  child.send(message as object);
  const [answer] = await answering;
  return answer as T;
}

async function call<M extends keyof Methods>(child: ChildProcess, method: M, ...args: Parameters<Methods[M]>) {
  const { value, error } = await ask<{ value: Awaited<ReturnType<Methods[M]>>; error?: string }>(child, { method, args });
  if (error) throw new Error(error);
  return value;
}

export async function usersStorm(options: UsersStormOptions): Promise<UsersStorm> {
  const { logins, processes = 1, busy = false, server: settings = {} } = options;
  const folder = mkdtempSync(join(tmpdir(), "users-storm-"));
  const server = run("strict-server.ts");
  const children = Array.from({ length: processes }, () => run("program.ts", options.descriptors));
  const hogs: ChildProcess[] = [];
  try {
    const [{ url: issuer }] = (await once(server, "message")) as [{ url: string }];
    const [first] = children as [ChildProcess];
    const store = {
      memory: { kind: "memory" },
      sqlite: { kind: "sqlite", folder },
      redis: { kind: "redis", url: options.redis ?? "" },
    } as const;
    const program: ProgramSettings = { issuer, logins, store: store[options.store], prefix: "user-" };
    await call(first, "seed", program);
    if (busy) for (let n = 0; n < 2; n++) hogs.push(spawn(process.execPath, ["--eval", "for (;;);"]));
    const { most: _, ...unlimited } = settings;
    await ask(server, unlimited);
    const bareMs = await call(first, "bare", { ...program, prefix: "bare-" }, 16);
    await ask(server, settings);
    const reports = await Promise.all(children.map((child) => call(child, "storm", program)));
    return { ...(await ask<StrictServerReport>(server, "report")), processes: reports, bareMs };
  } finally {
    for (const child of [server, ...children, ...hogs]) child.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  }
}

if (import.meta.main) {
  const [logins = "1000", store = "sqlite", processes = "1", latencyMs = "0", busy = ""] = process.argv.slice(2);
  const {
    processes: reports,
    bareMs,
    ...counts
  } = await usersStorm({
    logins: Number(logins),
    store: store as UsersStormOptions["store"],
    processes: Number(processes),
    busy: busy === "busy",
    server: { latencyMs: Number(latencyMs) },
    redis: process.env.REDIS_URL,
  });
  console.log(counts, { bareMs });
  for (const report of reports) console.log({ ...report, ratio: report.ms / bareMs });
}
