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
  /** Servers at which each user has a login. Default 1. */
  servers?: number;
  /** Whether each login is a plain provider object of the SDK instead. */
  sdk?: boolean;
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

/** @param launcher a command that runs it, for a program in other circumstances */
function run(file: string, ...launcher: string[]): ChildProcess {
  const path = fileURLToPath(new URL(file, import.meta.url));
  const [command = "", ...args] = [...launcher, process.execPath, "--no-warnings", path];
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

const limited = (descriptors?: number) => (descriptors === undefined ? [] : ["sh", "-c", `ulimit -n ${descriptors}; exec "$@"`, "sh"]);

/** A small disk is full in the middle of a storm. What a program that starts afterwards finds comes last. */
export async function fullDiskStorm(logins: number) {
  const folder = mkdtempSync(join(tmpdir(), "users-storm-"));
  const server = run("strict-server.ts");
  // A name space for mounts needs no privileges.
  const mount = 'mount -t tmpfs -o size=8m tmpfs "$0" && exec "$@"';
  const program = run("program.ts", "unshare", "--map-root-user", "--mount", "sh", "-c", mount, folder);
  try {
    const [{ url }] = (await once(server, "message")) as [{ url: string }];
    const settings = { issuers: [url], logins, store: { kind: "sqlite", folder }, prefix: "user-" } as const;
    await call(program, "seed", settings);
    await ask(server, { latencyMs: 5 });
    const storm = await call(program, "fullDisk", settings);
    const { tokenRequests, lost } = await ask<StrictServerReport>(server, "report");
    const { tokens, failures } = await call(program, "storm", settings);
    const later = (await ask<StrictServerReport>(server, "report")).tokenRequests - tokenRequests;
    return { ...storm, tokenRequests, lost, afterwards: { tokens, failures, tokenRequests: later } };
  } finally {
    for (const child of [server, program]) child.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  }
}

export async function usersStorm(options: UsersStormOptions): Promise<UsersStorm> {
  const { logins, processes = 1, busy = false, server: settings = {} } = options;
  const folder = mkdtempSync(join(tmpdir(), "users-storm-"));
  const servers = Array.from({ length: options.servers ?? 1 }, () => run("strict-server.ts"));
  const children = Array.from({ length: processes }, () => run("program.ts", ...limited(options.descriptors)));
  const hogs: ChildProcess[] = [];
  const behave = (as: StrictServerSettings) => Promise.all(servers.map((server) => ask(server, as)));
  try {
    const issuers = await Promise.all(servers.map(async (server) => ((await once(server, "message")) as [{ url: string }])[0].url));
    const [first] = children as [ChildProcess];
    const stores = {
      memory: { kind: "memory" },
      sqlite: { kind: "sqlite", folder },
      redis: { kind: "redis", url: options.redis ?? "" },
    } as const;
    const program: ProgramSettings = { issuers, logins, store: stores[options.store], prefix: `${crypto.randomUUID()}-` };
    if (!options.sdk) await call(first, "seed", program);
    if (busy) for (let n = 0; n < 2; n++) hogs.push(spawn(process.execPath, ["--eval", "for (;;);"]));
    const { most: _, ...unlimited } = settings;
    await behave(unlimited);
    const bareMs = await call(first, "bare", { ...program, prefix: "bare-" }, 16);
    await behave(settings);
    const reports = await Promise.all(children.map((child) => call(child, options.sdk ? "sdk" : "storm", program)));
    const seen = await Promise.all(servers.map((server) => ask<StrictServerReport>(server, "report")));
    const sum = (name: keyof StrictServerReport) => seen.reduce((total, report) => total + report[name], 0);
    const counts = { tokenRequests: sum("tokenRequests"), lost: sum("lost"), refused: sum("refused") };
    return { ...counts, mostAtOnce: Math.max(...seen.map(({ mostAtOnce }) => mostAtOnce)), processes: reports, bareMs };
  } finally {
    for (const child of [...servers, ...children, ...hogs]) child.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  }
}
