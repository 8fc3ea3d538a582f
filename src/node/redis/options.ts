import type { StoreEvent } from "../../events.ts";
import { callback, milliseconds, needed, type Rules, text } from "../../options.ts";
import { connectionOf, type RedisClient } from "./client.ts";
import { isStoreKey } from "./key-ring.ts";

/** Options of `redisStore`. */
export interface RedisStoreOptions {
  /**
   * The app's own client, connected: of `redis` (`createClient`, `createClientPool`, `createCluster`) or of `ioredis` (`Redis` without
   * `keyPrefix`, `Cluster`), or anything with the same functions. The store neither connects nor closes it.
   */
  client: RedisClient;
  /**
   * The keys that encrypt the values, newest first: it encrypts, any of them decrypts. Each has 32 bytes, as base64url or base64;
   * `generateStoreKey()` makes one.
   */
  keys: readonly string[];
  /**
   * What all keys in Redis begin with: programs share logins only under the same. One in braces (`{acme}:`) puts everything into
   * one slot of a cluster. Default `mcp-auth:`.
   */
  prefix?: string | undefined;
  /**
   * How long a lock outlives the last sign of its holder, in ms: so long others wait for a machine that died, and a process may be
   * paused while it refreshes. At least 1,000. Default 60,000.
   */
  lease?: number | undefined;
  /** How long to wait for each answer of Redis, in ms. Default 5,000. */
  commandTimeout?: number | undefined;
  /** Receives events: that Redis is set up to lose logins. */
  onEvent?: ((event: StoreEvent) => void) | undefined;
}

export const redisRules = (): Rules<RedisStoreOptions> => ({
  client: needed([
    "a client of `redis` or `ioredis`, without `keyPrefix`, and no sentinel of `redis`",
    (value) => connectionOf(value) !== undefined,
  ]),
  keys: needed([
    "an array of keys, newest first, each of 32 bytes as base64url",
    (value) => Array.isArray(value) && value.length > 0 && value.every(isStoreKey),
  ]),
  prefix: text,
  lease: ["a number of milliseconds from 1000 to 2147483647", (value) => milliseconds[1](value) && (value as number) >= 1000],
  commandTimeout: milliseconds,
  onEvent: callback,
});
