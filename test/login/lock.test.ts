/** Whoever gets the login lock may find what it wanted: which stored login is used, and what it says of the next one. */
import { describe, expect, onTestFinished, test } from "vitest";
import { type LoginPlan, logInOnce } from "../../src/login/lock.ts";
import { createSession } from "../../src/login/session.ts";
import { MemoryStore } from "../../src/stores/memory.ts";
import { asStored, indexKey, type TokenRecord, tokenKey } from "../../src/tokens/token-record.ts";
import { issuer, protectedWorld, serverUrl, stubUser, TestClock } from "../answers/support.ts";
import { world } from "../discovery/support.ts";

const net = world();
const another = "https://another.example";
const parent = "https://mcp.example";

const login = (clock: TestClock, parts: Partial<TokenRecord> = {}): TokenRecord => ({
  v: 1,
  issuer,
  resource: serverUrl,
  client: { kind: "dynamic", clientId: "client-1", tokenEndpointAuthMethod: "none", redirectUris: [], createdAt: 0 } as never,
  accessToken: "found",
  refreshToken: "refresh-found",
  requestedScopes: ["a"],
  scope: "a",
  loggedInAt: clock.now(),
  issuedAt: clock.now(),
  expiresAt: clock.now() + 1_000_000,
  ...parts,
});

/** What somebody who gets the lock ends with, when these logins are stored. */
async function wait(records: (clock: TestClock) => TokenRecord[], plan: (clock: TestClock) => Partial<LoginPlan> = () => ({})) {
  const { tokenRequests } = protectedWorld(net);
  const clock = new TestClock();
  const store = new MemoryStore();
  const user = stubUser();
  for (const record of records(clock)) {
    await store.set(tokenKey("default", record.resource), asStored(record));
    if (record.resource === serverUrl) await store.set(indexKey("default", serverUrl), { v: 1, resource: serverUrl });
  }
  const session = createSession({ serverUrl, store, clock, loginHandler: user });
  onTestFinished(() => session.keeper.dispose());
  const signal = new AbortController().signal;
  const record = await logInOnce(session, { signal, waitingSince: clock.now(), ...plan(clock) });
  const scope = user.asked[0]?.searchParams.get("scope")?.split(" ").sort();
  return { token: record.accessToken, scope, tokenRequests };
}

describe("a login that is there is used", () => {
  test.each<[rule: string, found: Partial<TokenRecord>, plan: (clock: TestClock) => Partial<LoginPlan>, isUsed: boolean]>([
    ["one that somebody made meanwhile", {}, () => ({}), true],
    ["not the one that will not do", {}, (clock) => ({ known: login(clock) }), false],
    ["not one of a server that the resource has moved away from", {}, () => ({ movedFrom: issuer }), false],
    ["one of another server than the one it has moved away from", {}, () => ({ movedFrom: another }), true],
    ["one that has expired: nobody has refused its refresh token", { expiresAt: 1 }, () => ({}), true],
    ["not one that has expired for good", { expiresAt: 1, refreshToken: undefined }, () => ({}), false],
    ["not one that has expired, and that could not be refreshed", { expiresAt: 1 }, (clock) => ({ known: login(clock) }), false],
    ["one that was granted the scopes that are wanted", { scope: "a b" }, () => ({ scopes: ["b"] }), true],
    ["one that was asked for them, whatever was granted", { requestedScopes: ["a", "b"] }, () => ({ scopes: ["b"] }), true],
    ["not one without them", {}, () => ({ scopes: ["a", "b"] }), false],
  ])("%s", async (_rule, found, plan, isUsed) => {
    const { token } = await wait((clock) => [login(clock, found)], plan);
    expect(token).toBe(isUsed ? "found" : "access-1");
  });

  const weak = { error: "insufficient_user_authentication", status: 401 } as LoginPlan["challenge"];
  test.each<[rule: string, foundAt: number | undefined, knownAt: number | undefined, isUsed: boolean]>([
    ["made after the one that was too weak", 2, 1, true],
    ["a refresh of the one that was too weak", 1, 1, false],
    ["tokens that were given: nobody knows when the user logged in", undefined, 1, false],
    ["made by a user, where the one before was given", 1, undefined, true],
    ["both given", undefined, undefined, false],
  ])("where the user's authentication was too weak: %s", async (_rule, foundAt, knownAt, isUsed) => {
    const { token } = await wait(
      (clock) => [login(clock, { loggedInAt: foundAt })],
      (clock) => ({ challenge: weak, known: login(clock, { accessToken: "weak", loggedInAt: knownAt }) }),
    );
    expect(token).toBe(isUsed ? "found" : "access-1");
  });
});

describe("the server leads to a resource of another name", () => {
  const leadsToParent = () =>
    net.serve({ "https://mcp.example/.well-known/oauth-protected-resource/mcp": { resource: parent, authorization_servers: [issuer] } });

  test.each([
    ["the same authorization server: it is used", issuer, "found"],
    ["another authorization server: it is not, a user is asked", another, "access-1"],
  ])("a login there by %s", async (_rule, by, expected) => {
    const waiting = wait((clock) => [login(clock, { resource: parent, issuer: by })]);
    leadsToParent();
    expect((await waiting).token).toBe(expected);
  });
});

describe("what the login before it had asked for", () => {
  test.each([
    ["is asked for again at the same authorization server", issuer, ["a", "before"]],
    ["says nothing to another one", another, ["a"]],
  ])("%s", async (_rule, by, expected) => {
    const { scope } = await wait(
      (clock) => [login(clock, { issuer: by, requestedScopes: ["before"], scope: "before", expiresAt: 1, refreshToken: undefined })],
      () => ({ challenge: { status: 401, scope: "a" } as LoginPlan["challenge"] }),
    );
    expect(scope).toEqual(expected);
  });
});
