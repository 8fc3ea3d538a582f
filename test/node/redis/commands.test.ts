/** What Redis and its clients answer, or do not: which errors an app gets, and what is sent again. */
import { describe, expect, test } from "vitest";
import { generateStoreKey, type RedisStore, redisStore } from "../../../src/node/redis/index.ts";
import { failure } from "../../storm/support.ts";

/** A store whose client answers so, one after the other; the last answer again and again. */
function answering(...answers: (Error | unknown[] | "nothing")[]) {
  const sent: string[] = [];
  const signals: AbortSignal[] = [];
  const client = {
    async sendCommand(args: string[], options?: { abortSignal?: AbortSignal }) {
      const answer = answers[Math.min(sent.length, answers.length - 1)];
      sent.push(args[0] ?? "");
      if (options?.abortSignal) signals.push(options.abortSignal);
      if (answer === "nothing") return new Promise(() => {});
      if (answer instanceof Error) throw answer;
      return answer;
    },
  };
  return { store: redisStore({ client, keys: [generateStoreKey()], commandTimeout: 100 }), sent, signals };
}

const reply = (message: string) => new Error(message);
const none: unknown[] = [null, null];
const get = (store: RedisStore) => store.get("k");
const set = (store: RedisStore) => store.set("k", { v: 1 });

describe("the code of the error", () => {
  test.each<[answer: string, code: string, transient: boolean, hint: RegExp]>([
    ["NOAUTH Authentication required.", "store_denied", false, /user of Redis/],
    ["WRONGPASS invalid username-password pair", "store_denied", false, /user of Redis/],
    ["NOPERM this user has no permissions to run the 'eval' command", "store_denied", false, /EVAL, HMGET/],
    ["MOVED 3999 127.0.0.1:6381", "store_unusable", false, /client for clusters/],
    ["CROSSSLOT Keys in request don't hash to the same slot", "store_unusable", false, /client for clusters/],
    ["WRONGTYPE Operation against a key holding the wrong kind of value", "store_unusable", false, /another `prefix`/],
    ["OOM command not allowed when used memory > 'maxmemory'.", "store_failed", true, /Redis/],
    ["MISCONF Redis is configured to save RDB snapshots", "store_failed", true, /Redis/],
    ["LOADING Redis is loading the dataset in memory", "store_failed", true, /Redis/],
    ["Socket closed unexpectedly", "store_failed", true, /can be reached/],
    ["Connection is closed.", "store_failed", true, /can be reached/],
    ["The client is closed", "store_failed", true, /is connected/],
  ])("%s: %s", async (message, code, transient, hint) => {
    const cause = reply(message);
    const error = await failure(get(answering(cause).store));
    expect([error.code, error.transient, error.cause]).toEqual([code, transient, cause]);
    expect(error.hint).toMatch(hint);
  });

  test("no answer: after `commandTimeout`, and the client is asked to forget the command", async () => {
    const { store, sent, signals } = answering("nothing");
    const error = await failure(get(store));
    expect([error.code, error.transient, error.message]).toEqual(["store_failed", true, expect.stringContaining("within 100 ms")]);
    expect([sent.length, signals.map(({ aborted }) => aborted)]).toEqual([1, [true]]);
  });
});

describe("sent again, within the time limit", () => {
  test.each<[what: string, first: Error, work: (store: RedisStore) => Promise<unknown>, sent: number]>([
    ["a read whose connection broke", reply("Socket closed unexpectedly"), get, 2],
    ["a read, while Redis starts", reply("LOADING Redis is loading the dataset in memory"), get, 2],
    ["a write, while Redis starts", reply("LOADING Redis is loading the dataset in memory"), set, 2],
    ["a write to a replica that becomes master", reply("READONLY You can't write against a read only replica."), set, 2],
    ["a write while the cluster fails over", reply("CLUSTERDOWN The cluster is down"), set, 2],
    ["not a write whose connection broke", reply("Socket closed unexpectedly"), set, 1],
    ["not what Redis refuses", reply("OOM command not allowed when used memory > 'maxmemory'."), get, 1],
  ])("%s", async (_what, first, work, times) => {
    const { store, sent } = answering(first, none);
    await work(store).catch(() => {});
    expect(sent).toHaveLength(times);
  });

  test("with pauses, and no longer than the time limit", async () => {
    const { store, sent } = answering(reply("Connection is closed."));
    await failure(get(store));
    expect(sent.length).toBeGreaterThan(1);
    expect(sent.length).toBeLessThan(6);
  });
});
