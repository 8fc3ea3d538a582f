/** The life of a login at a difficult server: first login, call after expiry, 50 calls at once, a second process, logout. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, onTestFinished } from "vitest";
import { type Clock, systemClock, type TokenManagerOptions } from "../../src/index.ts";
import { sqliteStore } from "../../src/node/index.ts";
import { type ProtectedServer, startProtectedServer, type TraitName } from "../fixture/index.ts";
import { manager, minutes, tally, toolRequest, userAtHand } from "../storm/support.ts";

/** Factor of the times that slow servers take, and of the clock of who waits for them. */
const slowness = 1 / 10;

/** How a token comes to its end: the clients know that it has expired, or only the server knows that it was revoked. */
export type End = "expired" | "revoked";

/** One server for all tests of a file. */
export function sharedServer(): { get: (traits: readonly TraitName[]) => ProtectedServer } {
  let server: ProtectedServer | undefined;
  beforeAll(async () => {
    server = await startProtectedServer({ slowness });
  });
  afterAll(() => server?.close());
  return {
    get(traits) {
      if (!server) throw new Error("not started");
      server.reset();
      server.authorizationServer.endLogins();
      server.authorizationServer.forgetClients();
      server.setTraits(traits);
      return server;
    },
  };
}

/** A clock that can be put forward. Pauses are short; time limits are the machine's, or as fast as a slow server is. */
export function quickClock(traits: readonly TraitName[]): Clock & { shift(ms: number): void } {
  let shifted = 0;
  const isSlow = traits.some((trait) => trait.startsWith("slow-"));
  // Replication takes the time that it takes.
  const pause = traits.includes("fresh-token-refused") ? 1 : 1 / 50;
  return {
    now: () => systemClock.now() + shifted,
    sleep: (ms, options) => systemClock.sleep(ms * (isSlow ? slowness : options?.background ? 1 : pause), options),
    shift: (ms) => {
      shifted += ms;
    },
  };
}

/** A store on disk, as processes share it. */
export function sharedStore() {
  const folder = mkdtempSync(join(tmpdir(), "mcp-client-auth-difficult-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return () => sqliteStore({ app: "difficult", folder });
}

/** A user's programs at one server. */
export function stage(server: ProtectedServer, traits: readonly TraitName[], options: Partial<TokenManagerOptions> = {}) {
  const { authorizationServer: as, mcpServer: mcp } = server;
  const [clock, store, user] = [quickClock(traits), sharedStore(), userAtHand()];
  const program = (more: Partial<TokenManagerOptions> = {}) => manager(server, { store: store(), clock, ...options, ...more }).auth;
  return {
    as,
    mcp,
    clock,
    user,
    store,
    /** A program at which the user sits; another one, at which nobody can be asked. */
    attended: (more?: Partial<TokenManagerOptions>) => program({ loginHandler: user, ...more }),
    unattended: (more?: Partial<TokenManagerOptions>) => program(more),
    refreshes: () => as.tokenRequests("refresh_token").length,
    end(how: End) {
      // Below the half of five minutes nobody refreshes ahead.
      clock.shift(how === "expired" ? minutes(6) : minutes(2));
      mcp.revokeAll();
    },
  };
}

/** What the tool answers: the sum, or the status of what is no answer. */
export async function add(auth: { fetch: typeof fetch; serverUrl: URL | string }): Promise<string> {
  const response = await auth.fetch(auth.serverUrl, toolRequest("add", { a: 1, b: 2 }));
  const text = await response.text();
  return /\\"sum\\":3|"text":"3"/.test(text) ? "3" : `${response.status}`;
}

/** Everything works, with one window and one refresh an expiry. */
export async function expectWhole(server: ProtectedServer, traits: readonly TraitName[], how: End, options: Partial<TokenManagerOptions>) {
  const { as, user, end, refreshes, attended, unattended } = stage(server, traits, options);
  const auth = attended();
  await auth.authorize();
  const life = [["first login", await add(auth), user.opened, refreshes()]];
  end(how);
  life.push(["call after expiry", await add(auth), user.opened, refreshes()]);
  end(how);
  const calls = await tally(Array.from({ length: 50 }, () => add(auth)));
  life.push(["50 calls at once", JSON.stringify(calls), user.opened, refreshes()]);
  const other = unattended();
  life.push(["second process", await add(other), user.opened, refreshes()]);
  end(how);
  life.push(["second process after expiry", await add(other), user.opened, refreshes()]);
  const { wasLoggedIn, refreshTokenRevoked } = await auth.logout();
  life.push(["logout", `${wasLoggedIn} ${refreshTokenRevoked}`, as.liveLogins, refreshes()]);
  const [after] = Object.keys(await tally([add(unattended())]));
  life.push(["after logout", `${after}`, user.opened, refreshes()]);
  expect(life).toEqual([
    ["first login", "3", 1, 0],
    ["call after expiry", "3", 1, 1],
    ["50 calls at once", '{"3":50}', 1, 2],
    ["second process", "3", 1, 2],
    ["second process after expiry", "3", 1, 3],
    ["logout", "true true", 0, 3],
    ["after logout", "login_required", 1, 3],
  ]);
}
