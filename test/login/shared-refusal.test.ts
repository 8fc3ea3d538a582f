/** Whoever waited while others were refused shares the refusal; whoever comes afterwards does not. */
import { describe, expect, test } from "vitest";
import { McpAuthError } from "../../src/errors.ts";
import { createSession } from "../../src/login/session.ts";
import { sharingRefusal } from "../../src/login/shared-refusal.ts";
import { MemoryStore } from "../../src/stores/memory.ts";
import { issuer, serverUrl, TestClock } from "../answers/support.ts";

const fail = (error: unknown) => () => Promise.reject(error);
const ran = async () => "ran";
const outcome = (promise: Promise<unknown>) =>
  promise.catch((error: unknown) => (error instanceof McpAuthError ? error.code : "another error"));

/** Two managers in two processes on one store. */
function two() {
  const clock = new TestClock();
  const store = new MemoryStore();
  const session = () => createSession({ serverUrl, store, clock });
  return { clock, store, one: session(), other: session(), waitingSince: clock.now() };
}

const denied = () => new McpAuthError("authorization_denied", { issuer, serverError: "access_denied" });

describe("what is shared", () => {
  test.each<[what: string, error: unknown, expected: string]>([
    ["a user's no", denied(), "authorization_denied"],
    ["what the authorization server decided", new McpAuthError("invalid_client", { issuer }), "invalid_client"],
    ["not a fault that passes", new McpAuthError("server_error", { issuer, status: 503 }), "ran"],
    ["not that there is no user", new McpAuthError("login_required", { issuer }), "ran"],
    ["not that one wanted more than the server gives", new McpAuthError("insufficient_scope", { issuer }), "ran"],
    ["not what is wrong with an app's options", new McpAuthError("invalid_option"), "ran"],
    ["not an error of the app's own", new TypeError("x is not a function"), "ran"],
  ])("%s", async (_what, error, expected) => {
    const { clock, one, other, waitingSince } = two();
    clock.time++;
    await expect(sharingRefusal(one, "login", { waitingSince }, fail(error))).rejects.toBe(error);
    expect(await outcome(sharingRefusal(other, "login", { waitingSince }, ran))).toBe(expected);
  });
});

describe("whom it is for", () => {
  test.each<[who: string, laterMs: number, name: string, expected: string]>([
    ["those who wait since before", -1, "login", "authorization_denied"],
    ["not those who ask afterwards", 1, "login", "ran"],
    ["not those who ask in the same moment", 0, "login", "ran"],
    ["not those who ask for something else", -1, "another", "ran"],
  ])("%s", async (_who, laterMs, name, expected) => {
    const { clock, one, other } = two();
    clock.time += 1000;
    await outcome(sharingRefusal(one, "login", { waitingSince: 0 }, fail(denied())));
    // The manager that met it, and another.
    for (const session of [one, other]) {
      expect(await outcome(sharingRefusal(session, name, { waitingSince: clock.now() + laterMs }, ran))).toBe(expected);
    }
  });

  test("one from the future is of a clock that is wrong", async () => {
    const { clock, one, other, waitingSince } = two();
    clock.time += 1000;
    await outcome(sharingRefusal(one, "login", { waitingSince }, fail(denied())));
    clock.time -= 500;
    for (const session of [one, other]) expect(await outcome(sharingRefusal(session, "login", { waitingSince }, ran))).toBe("ran");
  });

  test("a manager on a store that keeps nothing remembers its own", async () => {
    const { clock, one, store, waitingSince } = two();
    store.set = () => Promise.reject(new Error("disk full"));
    clock.time++;
    expect(await outcome(sharingRefusal(one, "login", { waitingSince }, fail(denied())))).toBe("authorization_denied");
    expect(await outcome(sharingRefusal(one, "login", { waitingSince }, ran))).toBe("authorization_denied");
  });
});

test("it is stored before the lock is free: the next in line reads it at once", async () => {
  const { clock, one, store, waitingSince } = two();
  const written = Promise.withResolvers<void>();
  store.set = () => written.promise;
  clock.time++;
  let isOver = false;
  const refused = outcome(sharingRefusal(one, "login", { waitingSince }, fail(denied()))).finally(() => (isOver = true));
  await new Promise((resolve) => setImmediate(resolve));
  expect(isOver).toBe(false);
  written.resolve();
  expect(await refused).toBe("authorization_denied");
});
