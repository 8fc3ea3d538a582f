/**
 * The tokens of hundreds of users expire, and all are wanted at once: one token request a login, none lost, none failed. The
 * server ends a login whose refresh token is used twice. `bench/users` has the programs, and thousands of users.
 */
import { describe, expect, test } from "vitest";
import { fullDiskStorm, type UsersStorm, type UsersStormOptions, usersStorm } from "../../bench/users/storm.ts";
import { startRedis } from "../node/redis/support.ts";

const logins = 120;

function expectRight({ processes, lost, tokenRequests, mostAtOnce }: UsersStorm, options: Partial<UsersStormOptions> = {}): void {
  expect(processes.map(({ tokens, failures }) => ({ tokens, failures }))).toEqual(processes.map(() => ({ tokens: logins, failures: {} })));
  expect({ lost, tokenRequests }).toEqual({ lost: 0, tokenRequests: logins });
  expect(mostAtOnce).toBeLessThanOrEqual(16 * (options.processes ?? 1));
}

describe("one token request a login, at most 16 at once, none lost, none failed", () => {
  test.each<[rule: string, options: Omit<UsersStormOptions, "logins">]>([
    ["in the default store, three processes", { store: "sqlite", processes: 3 }],
    [
      "no more than 64 files may be open, and both cores are busy",
      { store: "sqlite", descriptors: 64, busy: true, server: { latencyMs: 5 } },
    ],
    ["the server lets in four at once, and says 503 to the others", { store: "memory", server: { most: 4, latencyMs: 5 } }],
  ])("%s", { timeout: 240_000 }, async (_rule, options) => {
    const found = await usersStorm({ logins, ...options });
    expectRight(found, options);
    const { descriptors: limit = 120 } = options;
    for (const { descriptors } of found.processes) expect(descriptors).toBeLessThanOrEqual(limit);
  });

  test("in Redis, three processes", { timeout: 240_000 }, async () => {
    const redis = await startRedis();
    expectRight(await usersStorm({ logins, store: "redis", processes: 3, redis: `redis://127.0.0.1:${redis.port}` }), { processes: 3 });
  });
});

test("a disk that is full in the middle: who has its token keeps it, the others get an error that passes, and nothing is lost", async () => {
  const many = 600;
  const { failures, ...found } = await fullDiskStorm(many);
  expect(found).toEqual({ tokens: many, tokenRequests: many, lost: 0, afterwards: { tokens: many, failures: {}, tokenRequests: 0 } });
  expect(Object.keys(failures)).toEqual(["store_failed"]);
}, 240_000);
