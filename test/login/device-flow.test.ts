/** A login by device code: the user is at another device, whose browser the tests play through the server's own pages. */
import { describe, expect, test } from "vitest";
import { type Clock, type DeviceCodePrompt, MemoryStore, systemClock, type TokenManagerOptions } from "../../src/index.ts";
import {
  type AuthorizationServerOptions,
  answer,
  closeBefore,
  enterDeviceCode,
  gate,
  type ProtectedServer,
  pathEnds,
  registerByHand,
  tokenRequest,
  when,
} from "../fixture/index.ts";
import { callTool, connect, endLogin, failure, manager, minutes, post, startServer, tally, userAtHand } from "../storm/support.ts";

const grant = "urn:ietf:params:oauth:grant-type:device_code";

/** The machine's clock, but waits for the server's interval pass in no time; `pollsAfter` holds them until then. */
function impatientClock(pollsAfter: Promise<unknown>): Clock & { slept: number[] } {
  const slept: number[] = [];
  return {
    slept,
    now: systemClock.now,
    async sleep(ms, options = {}) {
      if (options.background) return systemClock.sleep(ms, options);
      slept.push(ms);
      const { signal } = options;
      const aborted = new Promise<never>((_resolve, reject) =>
        signal?.addEventListener("abort", () => reject(signal.reason), { once: true }),
      );
      await Promise.race([pollsAfter, aborted]);
      signal?.throwIfAborted();
    },
  };
}

/** A user with another device, who does what `act` says when told of a code; polling begins when that is done. */
function otherDevice(act: (prompt: DeviceCodePrompt) => Promise<unknown> = enterCode) {
  const prompts: DeviceCodePrompt[] = [];
  const acted = Promise.withResolvers<void>();
  return {
    prompts,
    clock: impatientClock(acted.promise),
    async onDeviceCode(prompt: DeviceCodePrompt) {
      prompts.push(prompt);
      await act(prompt);
      acted.resolve();
    },
  };
}

const enterCode = ({ verificationUri, userCode }: DeviceCodePrompt) => enterDeviceCode(verificationUri, userCode);

async function deviceServer({
  act,
  authorizationServer,
  ...options
}: Partial<TokenManagerOptions> & {
  act?: (prompt: DeviceCodePrompt) => Promise<unknown>;
  authorizationServer?: AuthorizationServerOptions;
} = {}) {
  const server = await startServer({ authorizationServer: { deviceFlow: true, ...authorizationServer } });
  const device = otherDevice(act);
  const store = new MemoryStore();
  const { onDeviceCode, clock } = device;
  return {
    server,
    as: server.authorizationServer,
    mcp: server.mcpServer,
    device,
    store,
    ...manager(server, { store, onDeviceCode, clock, ...options }),
  };
}

const registered = ({ authorizationServer: as }: ProtectedServer) =>
  as.registrations.map(({ json }) => json as { grant_types: string[]; redirect_uris: string[] });

describe("a login", () => {
  test("from the first call to its answer, with nothing but `onDeviceCode`; refreshed afterwards as any other", async () => {
    const { as, auth, device, server, types, mcp } = await deviceServer();
    expect(await post(auth)).toBe(200);
    expect(device.prompts).toEqual([
      {
        userCode: expect.stringMatching(/^[A-Z]{4}-[A-Z]{4}$/),
        verificationUri: `${as.issuer}/device`,
        verificationUriComplete: expect.stringContaining(`${as.issuer}/device?user_code=`),
        expiresAt: expect.any(Number),
      },
    ]);
    expect(types().filter((type) => type.startsWith("login"))).toEqual(["login.started", "login.device-code", "login.finished"]);
    expect(as.requests.some(({ path }) => path === "/authorize")).toBe(false);
    const [asked] = as.requests.filter(({ path }) => path === "/device/auth");
    expect([asked?.form.get("resource"), asked?.form.get("scope")]).toEqual([mcp.resource, "mcp:read offline_access"]);
    expect(as.tokenRequests(grant).map(({ form }) => form.get("resource"))).toEqual([mcp.resource]);
    expect(registered(server)).toEqual([
      expect.objectContaining({
        grant_types: ["authorization_code", "refresh_token", grant],
        redirect_uris: ["http://127.0.0.1/callback", "http://localhost/callback"],
      }),
    ]);

    mcp.revokeAll();
    expect(await post(auth)).toBe(200);
    expect(as.tokenRequests("refresh_token")).toHaveLength(1);
    expect(device.prompts).toHaveLength(1);
    expect(as.liveLogins).toBe(1);
  });

  test("the code in the address does for typing it", async () => {
    const { auth } = await deviceServer({
      act: ({ verificationUriComplete = "" }) => enterDeviceCode(verificationUriComplete, undefined),
    });
    expect(await auth.authorize()).toBe("authorized");
  });

  test("through login and consent pages", async () => {
    const pages: string[] = [];
    const { auth } = await deviceServer({
      authorizationServer: { interaction: "pages" },
      act: async (prompt) => pages.push(await enterCode(prompt)),
    });
    expect(await auth.authorize()).toBe("authorized");
    expect(pages).toEqual([expect.stringContaining("The device is connected")]);
  });

  test("a wrong code helps nobody, the right one afterwards does", async () => {
    const pages: string[] = [];
    const { auth } = await deviceServer({
      act: async (prompt) => {
        pages.push(await enterDeviceCode(prompt.verificationUri, "AAAA-AAAA"));
        await enterCode(prompt);
      },
    });
    expect(await auth.authorize()).toBe("authorized");
    expect(pages).toEqual([expect.stringContaining("not a code")]);
  });

  test("an SDK client", async () => {
    const { auth, server } = await deviceServer();
    expect(await callTool(await connect(server.url, auth.fetch), "add", { a: 1, b: 2 })).toBe(3);
  });

  test("100 calls over two managers on one store: one code, one registration, one login", async () => {
    const { as, auth, device, server, store } = await deviceServer();
    const other = manager(server, { store, onDeviceCode: device.onDeviceCode, clock: device.clock });
    const calls = [auth, other.auth].flatMap((each) => Array.from({ length: 50 }, () => post(each)));
    expect(await tally(calls)).toEqual({ 200: 100 });
    expect([device.prompts.length, as.registrations.length, as.liveLogins]).toEqual([1, 1, 1]);
  });

  test("`resourceParameter: false`: in neither request", async () => {
    const { auth, as } = await deviceServer({ resourceParameter: false });
    expect(await auth.authorize()).toBe("authorized");
    const sent = as.requests.filter(({ path }) => path === "/device/auth" || path === "/token");
    expect(sent.map(({ form }) => form.has("resource"))).toEqual([false, false]);
  });

  test("what the server says while it waits is obeyed", async () => {
    const { as, auth, device } = await deviceServer();
    const poll = tokenRequest(grant);
    as.intercept(when(poll, answer(400, { error: "authorization_pending" }), 2));
    as.intercept(when(poll, answer(400, { error: "slow_down" }), 1));
    expect(await auth.authorize()).toBe("authorized");
    expect(device.clock.slept).toEqual([5000, 5000, 5000, 10_000]);
    expect(as.tokenRequests(grant)).toHaveLength(4);
  });

  test("an address with a query is shown as it is; events leave the query out, which may hold the code", async () => {
    const { auth, as, events, device } = await deviceServer({ act: async () => {} });
    const verification_uri = `${as.issuer}/device?code=WDJB-MJHT`;
    as.intercept(when(pathEnds("/device/auth"), answer(200, { device_code: "the-device-code", user_code: "WDJB-MJHT", verification_uri })));
    expect((await failure(auth.authorize())).code).toBe("invalid_grant");
    expect(device.prompts).toEqual([expect.objectContaining({ verificationUri: verification_uri })]);
    expect(events).toContainEqual(expect.objectContaining({ type: "login.device-code", verificationUri: `${as.issuer}/device` }));
    expect(JSON.stringify(events)).not.toContain("MJHT");
  });

  test("no code, of either kind, is in events and errors", async () => {
    const { auth, as, events, device } = await deviceServer();
    await auth.authorize();
    const told = JSON.stringify(events);
    const [poll] = as.tokenRequests(grant);
    for (const secret of [poll?.form.get("device_code") ?? "", device.prompts[0]?.userCode ?? ""]) {
      expect(secret.length).toBeGreaterThan(8);
      expect(told).not.toContain(secret);
    }
  });
});

describe("it ends otherwise", () => {
  test("the user says no: the error, no second code, and the same error for calls right after", async () => {
    const { auth, device, types } = await deviceServer({
      act: ({ verificationUri, userCode }) => enterDeviceCode(verificationUri, userCode, { deny: true }),
    });
    expect((await failure(post(auth))).code).toBe("authorization_denied");
    expect((await failure(post(auth))).code).toBe("authorization_denied");
    expect(device.prompts).toHaveLength(1);
    expect(types()).toContain("login.failed");
  });

  test("the code expires at the server", async () => {
    const { auth, as } = await deviceServer({ act: async () => {} });
    as.intercept(when(tokenRequest(grant), answer(400, { error: "expired_token" })));
    expect((await failure(auth.authorize())).code).toBe("login_timeout");
  });

  test("the code expires here: the server is not asked any more", async () => {
    const { auth, as } = await deviceServer({ act: async () => {}, authorizationServer: { deviceCodeTtlSeconds: 3 } });
    expect((await failure(auth.authorize())).code).toBe("login_timeout");
    expect(as.tokenRequests(grant)).toHaveLength(0);
  });

  test("`loginTimeout` is shorter than the code's life: it counts, and the user is told", async () => {
    const { auth, device } = await deviceServer({ act: () => new Promise(() => {}), loginTimeout: 50 });
    const before = Date.now();
    expect((await failure(auth.authorize())).code).toBe("login_timeout");
    expect(device.prompts[0]?.expiresAt).toBeLessThan(before + minutes(1));
  });

  test("what `onDeviceCode` throws: nobody has seen the code", async () => {
    const { auth, as } = await deviceServer({ act: () => Promise.reject(new Error("no screen")) });
    await expect(auth.authorize()).rejects.toThrow("no screen");
    expect(as.tokenRequests(grant)).toHaveLength(0);
  });

  test.each([
    ["logout", "login_required", (auth: { logout(): Promise<unknown> }) => auth.logout()],
    ["dispose", "disposed", (auth: { dispose(): Promise<void> }) => auth.dispose()],
  ])("%s meanwhile ends it for all that wait", async (_what, code, end) => {
    const told = Promise.withResolvers<void>();
    const { auth, store, as } = await deviceServer({
      act: () => {
        told.resolve();
        return new Promise(() => {});
      },
    });
    const calls = tally([auth.authorize(), post(auth)]);
    await told.promise;
    await end(auth as never);
    expect(await calls).toEqual({ [code]: 2 });
    expect(as.tokenRequests()).toHaveLength(0);
    expect(await store.keys("tokens/")).toEqual([]);
  });

  test.each([
    ["logout", (auth: { logout(): Promise<unknown> }) => auth.logout(), 0],
    ["dispose", (auth: { dispose(): Promise<void> }) => auth.dispose(), 1],
  ])("%s while the answer with the tokens is on its way: no login is left behind that nobody has", async (_what, end, logins) => {
    const { auth, as, store } = await deviceServer();
    const held = gate(tokenRequest(grant), "after");
    as.intercept(held.hook);
    const login = auth.authorize().catch(() => {});
    await held.reached(1);
    const ended = end(auth as never);
    held.open();
    await Promise.all([ended, login]);
    expect([as.liveLogins, (await store.keys("tokens/")).length]).toEqual([logins, logins]);
  });

  test("`loginTimeout` while the answer with the tokens is on its way: it counts no more", async () => {
    const { auth, as } = await deviceServer({ loginTimeout: 500 });
    const held = gate(tokenRequest(grant), "after");
    as.intercept(held.hook);
    const login = auth.authorize();
    await held.reached(1);
    await new Promise((resolve) => setTimeout(resolve, 600));
    held.open();
    expect(await login).toBe("authorized");
  });

  test("`interactive: false`: nobody is told anything", async () => {
    const { auth, device } = await deviceServer({ interactive: false });
    expect((await failure(post(auth))).code).toBe("login_required");
    expect(device.prompts).toEqual([]);
  });
});

describe("which way", () => {
  test.each<[rule: string, options: AuthorizationServerOptions]>([
    ["the server has no such endpoint", { deviceFlow: false }],
    ["its metadata lists other grants only", { metadataPatch: { grant_types_supported: ["authorization_code", "refresh_token"] } }],
  ])("%s: the `loginHandler`; without one, an error that says so", async (_rule, authorizationServer) => {
    const loginHandler = userAtHand();
    const { auth, device, server } = await deviceServer({ authorizationServer, loginHandler });
    expect(await post(auth)).toBe(200);
    expect([loginHandler.opened, device.prompts.length]).toEqual([1, 0]);
    const { auth: without } = manager(server, { onDeviceCode: device.onDeviceCode });
    const error = await failure(post(without));
    expect([error.code, error.message]).toEqual(["login_required", expect.stringContaining("no device code there")]);
  });

  test("metadata without a list of grants refuses nothing", async () => {
    const { auth, device } = await deviceServer({ authorizationServer: { metadataPatch: { grant_types_supported: undefined } } });
    expect(await post(auth)).toBe(200);
    expect(device.prompts).toHaveLength(1);
  });

  test("a server without PKCE: no browser is sent there, a device code needs none", async () => {
    const metadataPatch = { code_challenge_methods_supported: undefined };
    const { auth, server } = await deviceServer({ authorizationServer: { metadataPatch } });
    expect((await failure(post(manager(server, { loginHandler: userAtHand() }).auth))).code).toBe("pkce_unsupported");
    expect(await post(auth)).toBe(200);
  });

  const atEndpoint = (...reply: Parameters<typeof answer>) => when(pathEnds("/device/auth"), answer(...reply));
  const usableAnswer = { device_code: "the-device-code", user_code: "WDJB-MJHT", expires_in: 600 };

  test.each([
    [
      "does not register this client for it",
      when(({ path, body }) => path.endsWith("/register") && body.includes(grant), answer(400, { error: "invalid_client_metadata" })),
    ],
    ["does not let this client do it", atEndpoint(400, { error: "unauthorized_client" })],
    ["knows no such client there (Google, for clients of desktop programs)", atEndpoint(401, { error: "invalid_client" })],
    ["does not have the endpoint", atEndpoint(404, "<h1>Not found</h1>")],
    ["answers with its start page", atEndpoint(200, "<h1>Welcome</h1>")],
    ["fails there", atEndpoint(503)],
    ["has not made it yet", atEndpoint(501)],
    ["has too many of them", atEndpoint(429, { error: "slow_down" }, { "retry-after": "600" })],
    ["sends the user where no browser should go", atEndpoint(200, { ...usableAnswer, verification_uri: "http://192.0.2.1/device" })],
    ["is not reached there", when(pathEnds("/device/auth"), closeBefore)],
  ])("a server that offers it but %s: the `loginHandler`; without one, the error", async (_why, fault) => {
    const loginHandler = userAtHand();
    const { auth, as, device, server, types } = await deviceServer({ loginHandler });
    as.intercept(fault);
    expect(await post(auth)).toBe(200);
    expect([loginHandler.opened, device.prompts.length]).toEqual([1, 0]);
    const told = types().filter((type) => type.startsWith("login."));
    expect(told).toEqual(["login.started", "login.opened", "login.finished"]);
    const { auth: without } = manager(server, { onDeviceCode: device.onDeviceCode });
    expect((await failure(without.authorize())).code).not.toBe("login_required");
    expect(device.prompts).toEqual([]);
  });

  test("the same where the last login was by code", async () => {
    const loginHandler = userAtHand();
    const { auth, as, device } = await deviceServer({ loginHandler });
    expect(await auth.authorize()).toBe("authorized");
    await auth.logout();
    as.intercept(atEndpoint(503));
    expect(await auth.authorize()).toBe("authorized");
    expect([loginHandler.opened, device.prompts.length]).toEqual([1, 1]);
  });

  test("a server without PKCE that refuses this client a code: no browser is sent there", async () => {
    const loginHandler = userAtHand();
    const metadataPatch = { code_challenge_methods_supported: undefined };
    const { auth, as } = await deviceServer({ loginHandler, authorizationServer: { metadataPatch } });
    as.intercept(atEndpoint(400, { error: "unauthorized_client" }));
    expect((await failure(auth.authorize())).code).toBe("pkce_unsupported");
    expect([loginHandler.started, as.requests.filter(({ path }) => path === "/authorize").length]).toEqual([0, 0]);
  });

  test("a client that the server has forgotten is no reason for another way: it is registered anew, and a code is shown", async () => {
    const loginHandler = userAtHand();
    const { auth, as, device, server, store } = await deviceServer({ loginHandler });
    expect(await auth.authorize()).toBe("authorized");
    await endLogin(auth, store);
    as.forgetClients();
    expect(await auth.authorize()).toBe("authorized");
    expect([loginHandler.opened, device.prompts.length, registered(server).length]).toEqual([0, 2, 2]);
  });

  test.each(["/register", "/device/auth"])("ended while the server is asked at %s: nobody is sent to a browser", async (path) => {
    const loginHandler = userAtHand();
    const { auth, as, device } = await deviceServer({ loginHandler });
    const asked = gate(pathEnds(path));
    as.intercept(asked.hook);
    const login = failure(auth.authorize());
    await asked.reached(1);
    await auth.logout();
    expect((await login).code).toBe("login_required");
    expect([loginHandler.started, device.prompts.length]).toEqual([0, 0]);
  });
});

describe("who the client is", () => {
  test("logins by browser and by code take turns: registered twice at most, then never again", async () => {
    const { auth, server, store, device, types } = await deviceServer();
    const loginHandler = userAtHand();
    const browser = manager(server, { store, loginHandler });
    expect(await browser.auth.authorize()).toBe("authorized");
    for (const each of [auth, browser.auth, auth, browser.auth]) {
      await endLogin(each, store);
      expect(await each.authorize()).toBe("authorized");
    }
    expect([device.prompts.length, loginHandler.opened]).toEqual([2, 3]);
    // The second one is for both: it has the redirect URIs of the first.
    const callback = "http://127.0.0.1:1/callback";
    expect(registered(server)).toEqual([
      expect.objectContaining({ grant_types: ["authorization_code", "refresh_token"], redirect_uris: [callback] }),
      expect.objectContaining({ grant_types: ["authorization_code", "refresh_token", grant], redirect_uris: [callback] }),
    ]);
    expect(types()).toContain("registration.stale");
  });

  test("by code first: the registration that a browser needs can do codes as well", async () => {
    const { auth, server, store } = await deviceServer();
    expect(await auth.authorize()).toBe("authorized");
    const browser = manager(server, { store, loginHandler: userAtHand() });
    for (const each of [browser.auth, auth, browser.auth]) {
      await endLogin(each, store);
      expect(await each.authorize()).toBe("authorized");
    }
    expect(registered(server).map(({ grant_types }) => grant_types.includes(grant))).toEqual([true, true]);
  });

  test("the app's own redirect URIs are registered, for the day that a browser is used", async () => {
    const redirectUris = ["http://127.0.0.1:1/callback"];
    const { auth, server, store } = await deviceServer({ redirectUris });
    expect(await auth.authorize()).toBe("authorized");
    await endLogin(auth, store);
    expect(await manager(server, { store, loginHandler: userAtHand(), redirectUris }).auth.authorize()).toBe("authorized");
    expect(registered(server).map(({ redirect_uris }) => redirect_uris)).toEqual([redirectUris]);
  });

  test("a registration that the server has forgotten is made anew, once", async () => {
    const { auth, as, server, store } = await deviceServer();
    expect(await auth.authorize()).toBe("authorized");
    await endLogin(auth, store);
    as.forgetClients();
    expect(await auth.authorize()).toBe("authorized");
    expect(registered(server)).toHaveLength(2);
  });

  test("a client that was registered beforehand", async () => {
    const server = await startServer({ authorizationServer: { deviceFlow: true } });
    const clientId = await registerByHand(server.authorizationServer, { grant_types: ["authorization_code", "refresh_token", grant] });
    const device = otherDevice();
    const { auth } = manager(server, { clientId, onDeviceCode: device.onDeviceCode, clock: device.clock });
    expect(await post(auth)).toBe(200);
    expect(server.authorizationServer.registrations).toHaveLength(1);
  });

  test("a metadata document", async () => {
    const clientMetadataUrl = "https://app.example/client.json";
    const document = {
      client_id: clientMetadataUrl,
      client_name: "App",
      application_type: "native",
      token_endpoint_auth_method: "none",
      grant_types: ["authorization_code", "refresh_token", grant],
      redirect_uris: ["http://127.0.0.1/callback"],
    };
    const { auth, as } = await deviceServer({
      clientMetadataUrl,
      authorizationServer: { clientMetadataDocuments: { [clientMetadataUrl]: document } },
    });
    expect(await post(auth)).toBe(200);
    expect(as.registrations).toHaveLength(0);
  });
});

test("REQ-STEP-02: more scopes by code as well", async () => {
  const { auth, device, mcp } = await deviceServer();
  expect(await post(auth)).toBe(200);
  expect(await post(auth, "write_note", { text: "x" })).toBe(200);
  expect([device.prompts.length, mcp.tools.notes]).toEqual([2, ["x"]]);
});
