/** The promises of `Store`, in Redis: with each kind of client, on one server and on a cluster of three. */
import { beforeAll, describe } from "vitest";
import { storeContract } from "../../stores/contract-suite.ts";
import { type ClientKind, openStore, type RedisServer, startRedis, startRedisCluster } from "./support.ts";

describe.each<[ClientKind, start: () => Promise<RedisServer[]>]>([
  ["node-redis", async () => [await startRedis()]],
  ["ioredis", async () => [await startRedis()]],
  ["node-redis, cluster", startRedisCluster],
  ["ioredis, cluster", startRedisCluster],
])("%s", (kind, start) => {
  let servers: RedisServer[];
  beforeAll(async () => {
    servers = await start();
  });
  storeContract("Redis", async () => {
    const prefix = `${crypto.randomUUID()}:`;
    return { open: () => openStore(servers, { prefix }, kind) };
  });
});
