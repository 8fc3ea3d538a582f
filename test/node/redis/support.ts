/** Real Redis servers for tests: each with a port and a folder of its own, ended with the test file. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Cluster, Redis } from "ioredis";
import { createClient, createCluster } from "redis";
import { afterAll } from "vitest";
import {
  generateStoreKey,
  type NodeRedisClient,
  type RedisClient,
  type RedisStore,
  type RedisStoreOptions,
  redisStore,
} from "../../../src/node/redis/index.ts";

/** What ends with the test file, last one first. */
const ends: (() => unknown)[] = [];
afterAll(async () => {
  for (const end of ends.reverse()) await end();
});

/** The keys of all stores of a test file. */
export const keys = [generateStoreKey()];

export interface RedisServer {
  readonly port: number;
  /** SIGKILL; resolves when it is dead. */
  kill(): Promise<void>;
  /** On the same port and folder; resolves when it answers. */
  start(): Promise<void>;
  signal(signal: NodeJS.Signals): void;
  /** Sends a command as anybody might. */
  command(...args: string[]): Promise<unknown>;
}

/** Ports for a server, and in a cluster for its bus. */
async function freePort(): Promise<number> {
  for (;;) {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    server.close();
    await once(server, "close");
    if (port < 55_000) return port;
  }
}

/** Starts a server. It writes each change to its disk before it answers, unless `args` say otherwise. */
export async function startRedis(...args: string[]): Promise<RedisServer> {
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), "mcp-client-auth-redis-"));
  const settings = ["--port", String(port), "--bind", "127.0.0.1", "--dir", folder, "--save", "", "--loglevel", "warning"];
  const durable = ["--appendonly", "yes", "--appendfsync", "always"];
  let child: ChildProcess | undefined;
  const server: RedisServer = {
    port,
    async start() {
      child = spawn("redis-server", [...settings, ...durable, ...args], { stdio: ["ignore", "ignore", "inherit"] });
      await once(child, "spawn");
      await server.command("PING");
    },
    async kill() {
      if (!child || child.exitCode !== null || child.signalCode !== null) return;
      const ended = once(child, "exit");
      child.kill("SIGKILL");
      await ended;
    },
    signal: (signal) => void child?.kill(signal),
    async command(name = "", ...rest) {
      const client = new Redis({ port, retryStrategy: () => 20, maxRetriesPerRequest: null });
      client.on("error", () => {});
      try {
        return await client.call(name, ...rest);
      } finally {
        client.disconnect();
      }
    },
  };
  ends.push(async () => {
    await server.kill();
    rmSync(folder, { recursive: true, force: true });
  });
  await server.start();
  return server;
}

/** Three masters that share the slots. */
export async function startRedisCluster(): Promise<RedisServer[]> {
  const servers = await Promise.all([1, 2, 3].map(() => startRedis("--cluster-enabled", "yes")));
  const share = Math.ceil(16_384 / servers.length);
  for (const [index, server] of servers.entries()) {
    const [first, last] = [index * share, Math.min((index + 1) * share, 16_384) - 1];
    await server.command("CLUSTER", "ADDSLOTSRANGE", String(first), String(last));
    await server.command("CLUSTER", "SET-CONFIG-EPOCH", String(index + 1));
    if (index > 0) await server.command("CLUSTER", "MEET", "127.0.0.1", String(servers[0]?.port));
  }
  const isReady = async (server: RedisServer) => {
    const info = String(await server.command("CLUSTER", "INFO"));
    return info.includes("cluster_state:ok") && info.includes("cluster_known_nodes:3");
  };
  while (!(await Promise.all(servers.map(isReady))).every(Boolean)) await new Promise((resolve) => setTimeout(resolve, 20));
  return servers;
}

/** How a client is made for a server, or for a cluster; closed with the test file. */
export const clients = {
  "node-redis": async ([server]: readonly RedisServer[]): Promise<RedisClient> => {
    const client = createClient({ socket: { port: server?.port ?? 0, reconnectStrategy: 20 } });
    client.on("error", () => {});
    ends.push(() => client.destroy());
    await client.connect();
    return client;
  },
  "node-redis, cluster": async (servers: readonly RedisServer[]): Promise<RedisClient> => {
    const client = createCluster({ rootNodes: servers.map(({ port }) => ({ socket: { port } })) });
    client.on("error", () => {});
    ends.push(() => client.destroy());
    await client.connect();
    return client;
  },
  ioredis: async ([server]: readonly RedisServer[]): Promise<RedisClient> => {
    const client = new Redis({ port: server?.port ?? 0, retryStrategy: () => 20 });
    client.on("error", () => {});
    ends.push(() => client.disconnect());
    return client;
  },
  "ioredis, cluster": async (servers: readonly RedisServer[]): Promise<RedisClient> => {
    const client = new Cluster(servers.map(({ port }) => ({ host: "127.0.0.1", port })));
    client.on("error", () => {});
    ends.push(() => client.disconnect());
    return client;
  },
} as const;

export type ClientKind = keyof typeof clients;

/** A store as one machine has it: with a client of its own. */
export async function openStore(
  servers: RedisServer | readonly RedisServer[],
  options: Partial<RedisStoreOptions> = {},
  kind: ClientKind = "node-redis",
): Promise<RedisStore> {
  return redisStore({ client: await clients[kind]([servers].flat()), keys, ...options });
}

/** Where a record or a lock is in Redis, with the prefix that stores have when they are given none. */
export const nameOf = (key: string, part: "record" | "lock") => `mcp-auth:{${key}}${part}`;

/** Something that happens to a command: runs it with `send`, or not. */
export type Hook = (command: readonly string[], send: () => Promise<unknown>) => Promise<unknown>;

/** A store whose client is watched: `hook.current` decides what becomes of each command. */
export async function watchedStore(server: RedisServer, options: Partial<RedisStoreOptions> = {}) {
  const inner = (await clients["node-redis"]([server])) as NodeRedisClient;
  const hook: { current: Hook } = { current: (_command, send) => send() };
  const client: NodeRedisClient = {
    sendCommand(command) {
      // Without its signal: what is on its way cannot be held back.
      return hook.current(command, () => inner.sendCommand(command));
    },
  };
  return { store: redisStore({ client, keys, ...options }), hook };
}

/** As a client fails whose connection breaks. */
export const broken = () => new Error("Socket closed unexpectedly");
