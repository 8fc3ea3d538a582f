import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { rounded } from "../numbers.ts";
import { type UsersStormOptions, usersStorm } from "./storm.ts";

/** The tokens of many users have expired, and all are wanted at once; the server ends a login whose refresh token is used twice. */
export interface UsersRow {
  what: string;
  logins: number;
  machine: "quiet" | "busy";
  "token requests": number;
  "logins lost": number;
  "calls failed": number;
  /** In all processes: the slowest. */
  "in all, ms": number;
  "times a bare loop at 16 in flight": number;
  "first token, ms": number;
  "event loop blocked, ms": number;
}

const redisPort = 7801;

/** How long the server takes for a token request, in ms: as one in the same region. */
const latencyMs = 20;

const storms: readonly [what: string, options: Omit<UsersStormOptions, "logins">][] = [
  ["MemoryStore", { store: "memory" }],
  ["default store", { store: "sqlite" }],
  ["Redis", { store: "redis" }],
];

/** @param counts logins */
export async function usersStorms(counts: readonly number[] = [3000, 10_000]): Promise<UsersRow[]> {
  await using redis = await startRedis();
  const rows: UsersRow[] = [];
  const add = async (what: string, options: UsersStormOptions) => rows.push(await measured(what, { ...options, redis: redis.url }));
  for (const logins of counts)
    for (const busy of [false, true])
      for (const [what, options] of storms) await add(what, { ...options, logins, busy, server: { latencyMs } });
  const [most = 1000] = counts.toReversed();
  await add("default store, eight processes", { store: "sqlite", logins: counts[0] ?? most, processes: 8, server: { latencyMs } });
  await add("Redis, eight processes", { store: "redis", logins: counts[0] ?? most, processes: 8, server: { latencyMs } });
  await add("default store, three servers", { store: "sqlite", logins: most, servers: 3, server: { latencyMs } });
  await add("an SDK OAuthClientProvider each, three servers", {
    store: "memory",
    logins: most,
    servers: 3,
    sdk: true,
    server: { latencyMs },
  });
  return rows;
}

async function measured(what: string, options: UsersStormOptions): Promise<UsersRow> {
  const { processes, bareMs, tokenRequests, lost } = await usersStorm(options);
  const slowest = (name: "ms" | "firstTokenMs" | "blockedMs") => Math.max(...processes.map((report) => report[name]));
  const failed = processes.flatMap(({ failures }) => Object.values(failures)).reduce((sum, count) => sum + count, 0);
  return {
    what,
    logins: options.logins * (options.servers ?? 1),
    machine: options.busy ? "busy" : "quiet",
    "token requests": tokenRequests,
    "logins lost": lost,
    "calls failed": failed,
    "in all, ms": Math.round(slowest("ms")),
    "times a bare loop at 16 in flight": rounded(slowest("ms") / bareMs),
    "first token, ms": Math.round(slowest("firstTokenMs")),
    "event loop blocked, ms": Math.round(slowest("blockedMs")),
  };
}

/** A Redis of our own, in memory alone. */
async function startRedis() {
  const folder = mkdtempSync(join(tmpdir(), "bench-redis-"));
  const server = spawn("redis-server", ["--port", String(redisPort), "--bind", "127.0.0.1", "--dir", folder, "--save", ""], {
    stdio: "ignore",
  });
  const exit = once(server, "exit");
  for (;;) {
    const socket = createConnection({ port: redisPort, host: "127.0.0.1" });
    const isUp = await Promise.race([once(socket, "connect").then(() => true), once(socket, "error").then(() => false)]);
    socket.destroy();
    if (isUp) break;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return {
    url: `redis://127.0.0.1:${redisPort}`,
    async [Symbol.asyncDispose]() {
      server.kill();
      await exit;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
