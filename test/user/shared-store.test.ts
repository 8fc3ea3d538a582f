/** Managers that share a store, as processes do: what one has stored, the others find. */
import { describe, expect, test } from "vitest";
import { MemoryStore } from "../../src/index.ts";
import { failure, manager, minutes, shiftedClock, startServer, userAtHand } from "../storm/support.ts";

describe("a login that another manager makes is found by `getAccessToken()`", () => {
  test("where there was none before", async () => {
    const server = await startServer();
    const store = new MemoryStore();
    const [user, program] = [manager(server, { store, loginHandler: userAtHand() }), manager(server, { store })];
    expect((await failure(program.auth.getAccessToken())).code).toBe("login_required");
    await user.auth.authorize();
    expect(await program.auth.getAccessToken()).toBe(await user.auth.getAccessToken());
  });

  test("where the one before has expired and cannot be refreshed", async () => {
    const server = await startServer();
    const store = new MemoryStore();
    const clock = shiftedClock();
    const [one, other] = [manager(server, { store, clock }), manager(server, { store, clock })];
    await one.auth.setTokens({ accessToken: "first", expiresIn: 60 });
    expect(await other.auth.getAccessToken()).toBe("first");
    clock.shift(minutes(2));
    await one.auth.setTokens({ accessToken: "second", expiresIn: 60 });
    expect(await other.auth.getAccessToken()).toBe("second");
  });
});

test("one account's tokens for another resource do not hide another account's login", async () => {
  const server = await startServer();
  const store = new MemoryStore();
  const alice = manager(server, { store, account: "alice", loginHandler: userAtHand() });
  await alice.auth.authorize();
  const bob = manager(server, { store, account: "bob" });
  await bob.auth.setTokens({ accessToken: "given", resource: new URL(server.url).origin });
  const later = manager(server, { store, account: "alice" });
  expect(await later.auth.getAccessToken()).toBe(await alice.auth.getAccessToken());
});
