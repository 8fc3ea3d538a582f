/** Options of `redisStore`: what cannot be is refused when it is passed; which clients it takes. */
import { Redis } from "ioredis";
import { createSentinel } from "redis";
import { describe, expect, test } from "vitest";
import { generateStoreKey, type RedisStoreOptions, redisStore } from "../../../src/node/redis/index.ts";
import { describeOptions, refusal, secret } from "../../option-table.ts";

const client = { sendCommand: async () => null };
const keys = [generateStoreKey()];

describeOptions<RedisStoreOptions>({
  name: "redisStore",
  call: (options) => redisStore(options),
  needed: { client, keys },
  bad: {
    client: [null, secret, {}, () => {}, { sendCommand: "x" }, { nodes() {} }, { call() {}, options: { keyPrefix: secret } }],
    keys: [[], secret, [secret], [...keys, ""], [`${keys[0]}A`], [new Uint8Array(32)], [keys]],
    prefix: ["", 1, {}],
    lease: [0, 999, -1, Number.NaN, 2 ** 31, "60000"],
    commandTimeout: [0, -1, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 31, "1000"],
    onEvent: [{}, secret],
  },
});

describe("clients", () => {
  test.each<[what: string, make: () => unknown]>([
    ["a sentinel of `redis`", () => createSentinel({ name: "m", sentinelRootNodes: [{ host: "127.0.0.1", port: 1 }] })],
    ["`ioredis` with `keyPrefix`", () => new Redis({ lazyConnect: true, keyPrefix: "app:" })],
  ])("%s is refused", (_what, make) => {
    const unusable = make() as RedisStoreOptions["client"];
    expect(() => redisStore({ client: unusable, keys })).toThrow(expect.objectContaining(refusal("`client` must be")));
  });
});

describe("keys", () => {
  test.each<[what: string, key: string]>([
    ["base64url", "-_".padEnd(43, "A")],
    ["base64url with padding", `${"-_".padEnd(43, "A")}=`],
    ["base64, as OpenSSL writes it", `${"+/".padEnd(43, "A")}=`],
  ])("%s is a key", (_what, key) => {
    expect(() => redisStore({ client, keys: [key] })).not.toThrow();
  });

  test("`generateStoreKey` makes another each time", () => {
    const made = Array.from({ length: 10 }, generateStoreKey);
    expect(new Set(made).size).toBe(10);
    for (const key of made) expect(key).toMatch(/^[\w-]{43}$/);
  });
});
