/** After a 401: the token is refreshed, and beside that it is looked whether the server has moved to another authorization server. */
import { HttpResponse } from "msw";
import { describe, expect, test, vi } from "vitest";
import { call, first, json, manager, protectedWorld, stored, stubUser } from "../answers/support.ts";
import { world } from "../discovery/support.ts";

const net = world();
const resourceMetadata = "https://mcp.example/.well-known/oauth-protected-resource/mcp";
const second = { ...first, access_token: "access-2", refresh_token: "refresh-2" };
const never = () => new Promise<never>(() => {});

/** A login whose access token the server refuses from now on. */
async function refusedLogin() {
  const servers = protectedWorld(net);
  const loginHandler = stubUser();
  const parts = manager({ loginHandler });
  await parts.auth.authorize();
  await call(parts.auth);
  servers.accept("access-2");
  servers.answerTokens(json(second));
  const limits = () => [...parts.clock.limits.values()].map((at) => at - parts.clock.now());
  return { ...parts, ...servers, windows: () => loginHandler.asked.length - 1, limits };
}

describe("metadata of the resource, while the refresh is done at once", () => {
  test.each([
    // what,       answer
    ["answer 503", () => new HttpResponse(null, { status: 503 })],
    ["are gone", () => new HttpResponse(null, { status: 404 })],
    [
      "name the same authorization server",
      () => HttpResponse.json({ resource: "https://mcp.example/mcp", authorization_servers: ["https://as.example"] }),
    ],
  ])("%s: the call goes on with the new token", async (_what, answer) => {
    const { auth, windows } = await refusedLogin();
    net.serve({ [resourceMetadata]: answer });
    expect((await call(auth)).status).toBe(200);
    expect(windows()).toBe(0);
  });

  test("hang: the call waits for 500 ms and no longer", async () => {
    const { auth, clock, limits, windows, tokenRequests } = await refusedLogin();
    net.serve({ [resourceMetadata]: never });
    const begun = clock.now();
    let isAnswered = false;
    const answered = call(auth).finally(() => {
      isAnswered = true;
    });
    await vi.waitFor(() => expect(limits()).toContain(500));
    expect(tokenRequests.at(-1)).toMatchObject({ grant_type: "refresh_token" });
    expect(isAnswered).toBe(false);
    clock.reachLimit();
    expect((await answered).status).toBe(200);
    expect(clock.now() - begun).toBe(500);
    expect(windows()).toBe(0);
  });

  test("hang, and the new token is refused as well: the next refusal looks again, without that limit", async () => {
    const { auth, clock, limits, accept, windows } = await refusedLogin();
    accept();
    const asked = vi.fn(never);
    net.serve({ [resourceMetadata]: asked });
    const answered = call(auth).catch((error: unknown) => error);
    await vi.waitFor(() => expect(limits()).toContain(500));
    clock.reachLimit();
    await vi.waitFor(() => expect(limits()).not.toContain(500));
    expect(asked).toHaveBeenCalled();
    expect(windows()).toBe(0);
    await auth.dispose();
    await answered;
  });
});

test("a server that has moved: the old authorization server's word does not count", async () => {
  const { auth, answerTokens, windows, accept } = await refusedLogin();
  answerTokens(json({ error: "invalid_grant" }, 400));
  const moved = "https://new.example";
  net.serve({
    [resourceMetadata]: { resource: "https://mcp.example/mcp", authorization_servers: [moved] },
    [`${moved}/.well-known/oauth-authorization-server`]: {
      issuer: moved,
      authorization_endpoint: `${moved}/authorize`,
      token_endpoint: `${moved}/token`,
      registration_endpoint: `${moved}/register`,
      code_challenge_methods_supported: ["S256"],
      token_endpoint_auth_methods_supported: ["none"],
    },
    [`${moved}/register`]: () => HttpResponse.json({ client_id: "client-2" }, { status: 201 }),
    [`${moved}/token`]: () => HttpResponse.json({ ...first, access_token: "access-3" }),
  });
  accept("access-3");
  expect((await call(auth)).status).toBe(200);
  expect(windows()).toBe(1);
});

test("a late refusal of an old token, while the newer one has ended untried, and metadata hang: a refresh, without more waiting", async () => {
  const { auth, clock, limits, windows, answerTokens } = await refusedLogin();
  const refuse = () =>
    auth.onChallenge({ status: 401, challenges: [] }, { authorization: "Bearer access-1" }, { method: "POST", url: auth.serverUrl });
  answerTokens(json({ ...second, expires_in: 10 }), json({ ...first, access_token: "access-3", refresh_token: "refresh-3" }));
  expect(await refuse()).toBe("retry");
  net.serve({ [resourceMetadata]: never });
  clock.time += 11_000;
  const retried = refuse();
  await vi.waitFor(() => expect(limits()).toContain(500));
  clock.reachLimit();
  expect(await retried).toBe("retry");
  expect([await auth.getAccessToken(), windows()]).toEqual(["access-3", 0]);
});

test("a late refusal of an old token, while the newer one has expired: a refresh, not a window", async () => {
  const { auth, clock, store, windows, accept, answerTokens } = await refusedLogin();
  // Refreshed once: the cached token is the second one.
  expect((await call(auth)).status).toBe(200);
  clock.time += 2_000_000;
  accept("access-3");
  answerTokens(json({ ...first, access_token: "access-3", refresh_token: "refresh-3" }));
  const challenge = { status: 401, challenges: [] };
  const request = { method: "POST", url: auth.serverUrl };
  expect(await auth.onChallenge(challenge, { authorization: "Bearer access-1" }, request)).toBe("retry");
  expect(await stored(store)).toEqual({ access: "access-3", refresh: "refresh-3" });
  expect(windows()).toBe(0);
});
