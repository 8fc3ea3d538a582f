/** A record that cannot be read leaves the others usable, and keeps nobody out for good. */
import { describe, expect, test } from "vitest";
import { failure, manager, post, shiftedClock, startServer, userAtHand } from "../storm/support.ts";
import { disk } from "../tokens/disk.ts";

/** A login on disk, made by a user. */
async function loggedIn(options: Parameters<typeof manager>[1] = {}) {
  const server = await startServer();
  const place = disk();
  const clock = shiftedClock();
  /** A program that starts now. */
  const program = (more: Parameters<typeof manager>[1] = {}) => {
    const handler = userAtHand();
    return { ...manager(server, { store: place.open(), clock, loginHandler: handler, ...options, ...more }), handler };
  };
  await program().auth.authorize();
  const { issuer } = server.authorizationServer;
  return { server, as: server.authorizationServer, clock, program, issuer, tokens: `tokens/default/${server.url}`, ...place };
}

describe("the login itself", () => {
  test("every use says so and what to do; nobody is asked to log in over it", async () => {
    const { program, damage, tokens } = await loggedIn();
    damage(tokens);
    const { auth, handler } = program();
    for (const use of [() => auth.getAccessToken(), () => post(auth), () => auth.authorize(), () => auth.status()]) {
      const error = await failure(use());
      expect([error.code, error.transient]).toEqual(["invalid_record", false]);
      expect(error.message).toContain(tokens);
      expect(error.hint).toContain("log out and in again");
    }
    expect(handler.started).toBe(0);
  });

  test("logging out deletes it, without having revoked anything, and logging in again works", async () => {
    const { program, damage, tokens, open } = await loggedIn();
    damage(tokens);
    const { auth, types } = program();
    const result = { account: "default", wasLoggedIn: true, refreshTokenRevoked: false, accessTokenRevoked: false };
    expect(await auth.logout()).toEqual(result);
    expect(types()).toEqual(["tokens.deleted", "logout.finished"]);
    expect(await open().keys("tokens/")).toEqual([]);
    expect(await auth.authorize()).toBe("authorized");
    expect(await post(auth)).toBe(200);
  });

  test("also when it became unreadable while the token is in memory", async () => {
    const { program, damage, tokens, open } = await loggedIn();
    const { auth } = program();
    await auth.getAccessToken();
    damage(tokens);
    expect(await auth.logout()).toMatchObject({ wasLoggedIn: true, refreshTokenRevoked: false });
    expect(await open().keys("tokens/")).toEqual([]);
  });

  test("one that a newer version wrote is left alone until somebody logs out", async () => {
    const { program, tokens, open } = await loggedIn();
    const newer = { v: 2, anything: "else" };
    await open().set(tokens, newer);
    const { auth } = program();
    expect((await failure(auth.authorize())).code).toBe("invalid_record");
    expect(await open().get(tokens)).toEqual(newer);
    expect(await auth.logout()).toMatchObject({ wasLoggedIn: true });
    expect(await auth.authorize()).toBe("authorized");
  });

  test("another account's is used as ever", async () => {
    const { program, damage, tokens } = await loggedIn();
    const work = program({ account: "work" }).auth;
    await work.authorize();
    damage(tokens);
    expect(await program({ account: "work" }).auth.getAccessToken()).toBe(await work.getAccessToken());
  });
});

describe("everything else can be had again", () => {
  test("where the login is found: a login finds it without asking a user", async () => {
    const { program, damage, server } = await loggedIn();
    damage(`index/default/${server.url}`);
    const { auth, handler } = program();
    expect([await auth.authorize(), handler.started]).toEqual(["authorized", 0]);
    expect(await program().auth.getAccessToken()).toBe(await auth.getAccessToken());
  });

  test("the server's metadata: a refresh asks for them anew", async () => {
    const { program, damage, server, as, clock } = await loggedIn();
    damage(`servers/${server.url}`);
    clock.shift(24 * 60 * 60_000);
    as.requests.length = 0;
    expect(await post(program().auth)).toBe(200);
    expect(as.tokenRequests()).toHaveLength(1);
  });

  test("the registration: a refresh does not need it, and the next login registers anew", async () => {
    const { program, damage, as, issuer, clock, open } = await loggedIn();
    damage(`registrations/${issuer}`);
    clock.shift(24 * 60 * 60_000);
    expect(await post(program().auth)).toBe(200);
    await program().auth.logout();
    as.requests.length = 0;
    expect(await program().auth.authorize()).toBe("authorized");
    expect(as.requests.filter(({ path }) => path.endsWith("/register"))).toHaveLength(1);
    expect(await open().get(`registrations/${issuer}`)).toMatchObject({ v: 1 });
  });

  test("a remembered refusal: the user is asked again", async () => {
    const { program, damage, server, open } = await loggedIn();
    await program().auth.logout();
    await open().set(`refusals/default/${server.url}`, { v: 1 });
    damage(`refusals/default/${server.url}`);
    expect(await program().auth.authorize()).toBe("authorized");
  });

  test("the chosen default account: it is `default` again, until one is chosen", async () => {
    const { program, damage, server } = await loggedIn();
    await program({ account: "work" }).auth.makeDefault();
    damage(`accounts/${server.url}`);
    expect(await program().auth.status()).toMatchObject({ account: "default", isLoggedIn: true });
    await program({ account: "work" }).auth.makeDefault();
    expect(await program().auth.status()).toMatchObject({ account: "work" });
  });
});
