/** A store whose failures are typed errors: what it says of its own is passed on, and only a login must be readable. */
import { describe, expect, test } from "vitest";
import { McpAuthError, type McpAuthErrorCode, MemoryStore, type Store } from "../../src/index.ts";
import { namingFailures } from "../../src/tokens/named-failures.ts";

const serverUrl = "https://mcp.example/mcp";
/** A store whose every method fails with this error. */
function failing(error: unknown): Store {
  const fail = async () => Promise.reject(error);
  return { get: fail, set: fail, delete: fail, take: fail, keys: fail, withLock: fail, status: fail };
}
const calls: [method: string, call: (store: Store) => Promise<unknown> | undefined][] = [
  ["get", (store) => store.get("tokens/default/x")],
  ["set", (store) => store.set("a", { v: 1 })],
  ["delete", (store) => store.delete("a")],
  ["take", (store) => store.take("a")],
  ["keys", (store) => store.keys("a")],
  ["withLock", (store) => store.withLock("a", async () => {})],
  ["status", (store) => store.status?.()],
];

test.each(calls)("%s: an app's own error is a `store_failed`, which names the server", async (_method, call) => {
  const cause = new Error("disk");
  await expect(call(namingFailures(failing(cause), serverUrl))).rejects.toMatchObject({ code: "store_failed", serverUrl, cause });
});

test.each(calls)("%s: a typed error stays what it is", async (_method, call) => {
  const error = new McpAuthError("store_denied");
  await expect(call(namingFailures(failing(error), serverUrl))).rejects.toBe(error);
});

describe("what cannot be read", () => {
  test.each<[key: string, code: McpAuthErrorCode, outcome: "none" | McpAuthErrorCode]>([
    ["tokens/default/https://mcp.example/mcp", "invalid_record", "invalid_record"],
    ["index/default/https://mcp.example/mcp", "invalid_record", "none"],
    ["clients/https://as.example", "invalid_record", "none"],
    ["metadata/https://as.example", "invalid_record", "none"],
    ["index/default/https://mcp.example/mcp", "store_failed", "store_failed"],
  ])("%s, %s: %s", async (key, code, outcome) => {
    const store = namingFailures(failing(new McpAuthError(code)), serverUrl);
    const found = store.get(key).then((value) => (value === undefined ? "none" : value));
    expect(await found.catch((error: McpAuthError) => error.code)).toBe(outcome);
  });
});

describe("under a lock", () => {
  test("what the action throws is not the store's failure", async () => {
    const own = new Error("the action's own");
    await expect(namingFailures(new MemoryStore(), serverUrl).withLock("a", () => Promise.reject(own))).rejects.toBe(own);
  });

  test("what the held store does not write is", async () => {
    const store = new MemoryStore();
    const denied: Store = {
      ...failing(undefined),
      withLock: (key, action) => store.withLock(key, (held) => action({ ...held, set: () => Promise.reject(new Error("disk")) })),
    };
    const writing = namingFailures(denied, serverUrl).withLock("a", (held) => held.set("a", { v: 1 }));
    await expect(writing).rejects.toMatchObject({ code: "store_failed", serverUrl });
  });

  test("its value is returned, and whether the store was emptied is passed on", async () => {
    const store = namingFailures(new MemoryStore(), serverUrl);
    expect(await store.withLock("a", async ({ restarted }) => ["value", restarted])).toEqual(["value", undefined]);
  });
});

test("a store without a status has none", () => {
  const { status: _, ...store } = failing(undefined);
  expect(namingFailures(store, serverUrl).status).toBeUndefined();
});
