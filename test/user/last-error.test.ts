/** `lastError` is the error that a transport could not tell, whoever lost it. */
import { describe, expect, test } from "vitest";
import { authProvider } from "../../src/transports/sdk/v2.ts";
import { failure, manager, manualClock, post, startServer, userAtHand, WatchedStore } from "../storm/support.ts";

const refused = { response: new Response(null, { status: 401 }) } as never;

describe("through `authProvider`", () => {
  test("a login that takes too long: `login_pending`, each time it is asked for", async () => {
    const server = await startServer();
    const clock = manualClock();
    const loginHandler = userAtHand();
    loginHandler.until = new Promise(() => {});
    const { auth } = manager(server, { clock, loginHandler, loginPendingTimeout: 7000 });
    const provider = authProvider(auth, { clock });
    for (let request = 0; request < 2; request++) {
      const token = provider.token();
      await expect.poll(() => [loginHandler.opened, clock.timers.includes(7000)]).toEqual([1, true]);
      clock.advance(7000);
      expect(await token).toBeUndefined();
      expect(auth.lastError).toMatchObject({ code: "login_pending" });
      expect(await failure(Promise.resolve(provider.onUnauthorized?.(refused)))).toBe(auth.lastError);
    }
  });

  test("a user who said no: `authorization_denied`, also while nobody is asked again", async () => {
    const server = await startServer();
    const clock = manualClock();
    const loginHandler = userAtHand();
    const { auth } = manager(server, { clock, loginHandler });
    const provider = authProvider(auth, { clock });
    server.authorizationServer.nextDecision = "deny";
    for (let request = 0; request < 2; request++) {
      expect(await provider.token()).toBeUndefined();
      expect(auth.lastError).toMatchObject({ code: "authorization_denied" });
      expect(await failure(Promise.resolve(provider.onUnauthorized?.(refused)))).toBe(auth.lastError);
    }
    expect(loginHandler.opened).toBe(1);
  });
});

test("a login that fails when nobody waits for it any more", async () => {
  const server = await startServer();
  const clock = manualClock();
  const loginHandler = userAtHand();
  const decides = Promise.withResolvers<void>();
  loginHandler.until = decides.promise;
  const { auth, types } = manager(server, { clock, loginHandler, loginPendingTimeout: 7000 });
  const pending = failure(post(auth));
  await expect.poll(() => [loginHandler.opened, clock.timers.includes(7000)]).toEqual([1, true]);
  clock.advance(7000);
  expect([(await pending).code, auth.lastError?.code]).toEqual(["login_pending", "login_pending"]);
  server.authorizationServer.nextDecision = "deny";
  decides.resolve();
  await expect.poll(types).toContain("login.failed");
  await expect.poll(() => auth.lastError?.code).toBe("authorization_denied");
});

test("what keeps `getAccessToken()` from a token is the last error", async () => {
  const server = await startServer();
  const store = new WatchedStore();
  store.get = () => Promise.reject(new Error("I/O error"));
  const { auth } = manager(server, { store });
  const error = await failure(auth.getAccessToken());
  expect([error.code, auth.lastError]).toEqual(["store_failed", error]);
});
