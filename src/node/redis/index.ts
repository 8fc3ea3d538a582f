/** `mcp-client-auth/redis`: logins in Redis, for many machines that share them. */
import { checkOptions } from "../../options.ts";
import { type Connection, connectionOf } from "./client.ts";
import { type RedisStoreOptions, redisRules } from "./options.ts";
import { RecordsInRedis, type RedisStore } from "./store.ts";

export type { StoreEvent } from "../../events.ts";
export type { HeldLock, LockOptions, Store, StoredRecord, StoreStatus } from "../../stores/store.ts";
export type { IoredisClient, IoredisCluster, NodeRedisClient, NodeRedisCluster, RedisClient } from "./client.ts";
export { generateStoreKey } from "./key-ring.ts";
export type { RedisStoreOptions } from "./options.ts";
export type { KeyRotation, RedisStore } from "./store.ts";

/**
 * A store for machines that share logins: records in Redis, encrypted by the keys of the app; locks with a lease, whose holder
 * cannot write when another has followed it.
 *
 * `docs/redis.md` says what is guaranteed, and what a pause longer than the lease means.
 *
 * @throws McpAuthError `invalid_option`. Its operations: `store_failed` when Redis is away, `store_denied`, `store_unusable` also
 *   for a record whose key is not in `keys`; `lock_timeout`, `lock_lost`; `invalid_record` for a record that is damaged.
 * @example
 * ```ts
 * const client = createClient({ url: process.env.REDIS_URL });
 * client.on("error", console.error);
 * await client.connect();
 * const store = redisStore({ client, keys: [process.env.MCP_AUTH_STORE_KEY ?? ""] });
 * ```
 */
export function redisStore(options: RedisStoreOptions): RedisStore {
  checkOptions(options, redisRules());
  // The rule of `client` has asked the same.
  return new RecordsInRedis(connectionOf(options.client) as Connection, options);
}
