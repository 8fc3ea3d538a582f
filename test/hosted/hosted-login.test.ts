/** Logins that begin on one machine of a web application and are finished on another. */
import { describe, expect, test } from "vitest";
import { type Store, type StoredRecord, TokenManager } from "../../src/index.ts";
import { answer, type ProtectedServer, tokenRequest, when } from "../fixture/index.ts";
import { application, outcome, redirectUri, startServer, visit } from "./support.ts";

/** Where pending logins are; notes about users who were sent away lie below. */
const pendingKeys = async (store: Store) => (await store.keys("pending/")).filter((key) => !key.startsWith("pending/sent/"));

/** A login whose user has just come back. */
async function cameBack(server: ProtectedServer, app: ReturnType<typeof application>, account = "ann") {
  const begun = await app.machine().beginAuthorization({ serverUrl: server.url, account });
  const callback = new URL(await visit(begun.url));
  const finish = (url: URL = callback, by: object = { binding: begun.binding }) => app.machine().finishAuthorization(url, by);
  const [key = ""] = await pendingKeys(app.store);
  return { server, app, begun, callback, finish, key, codes: () => server.authorizationServer.tokenRequests("authorization_code").length };
}
type CameBack = Awaited<ReturnType<typeof cameBack>>;

/** The callback with other parameters; `undefined` leaves one out. */
function changed(callback: URL, parameters: Record<string, string | undefined>): URL {
  const url = new URL(callback);
  for (const [name, value] of Object.entries(parameters)) {
    url.searchParams.delete(name);
    if (value !== undefined) url.searchParams.set(name, value);
  }
  return url;
}

describe("a login", () => {
  test("begins on one machine, is finished on another, and any manager of the account has it", async () => {
    const server = await startServer();
    const { machine, managerOf, types } = application();
    const early = managerOf(server.url, "ann");
    expect(await outcome(early.getAccessToken())).toBe("login_required");

    const begun = await machine().beginAuthorization({ serverUrl: server.url, account: "ann", returnTo: "/tools?tab=2#list" });
    const callback = await visit(begun.url);
    const finished = await machine().finishAuthorization(callback, { binding: begun.binding });

    expect(finished).toMatchObject({ serverUrl: server.url, account: "ann", returnTo: "https://app.example/tools?tab=2#list" });
    expect(finished.scopes).toEqual(["mcp:read"]);
    const response = await early.fetch(server.url, { method: "POST", body: "{}", headers: { "content-type": "application/json" } });
    expect(response.status).not.toBe(401);
    expect(await outcome(managerOf(server.url, "bob").getAccessToken())).toBe("login_required");
    expect(types().filter((type) => type.startsWith("login."))).toEqual(["login.started", "login.opened", "login.finished"]);
  });

  test("has everything that a login at this machine has: PKCE, `state`, `resource`, `iss`", async () => {
    const server = await startServer();
    const { url } = await application().machine().beginAuthorization({ serverUrl: server.url, account: "ann" });
    expect(Object.fromEntries(url.searchParams)).toEqual({
      response_type: "code",
      client_id: expect.any(String),
      redirect_uri: redirectUri,
      state: expect.stringMatching(/^[\w-]{43}$/),
      code_challenge: expect.stringMatching(/^[\w-]{43}$/),
      code_challenge_method: "S256",
      scope: "mcp:read offline_access",
      resource: server.url,
    });
  });
});

describe("a response that finishes no login", () => {
  /** What comes; and whether the user's own browser can finish the login afterwards. */
  const cases: [what: string, bad: (login: CameBack) => unknown, code: string, left: "open" | "over"][] = [
    ["of another browser", ({ callback, finish }) => finish(callback, { binding: "x".repeat(43) }), "state_mismatch", "open"],
    ["of a browser without the cookie", ({ callback, finish }) => finish(callback, {}), "state_mismatch", "open"],
    [
      "of a user who has signed in meanwhile, in the same browser",
      ({ callback, finish, begun: { binding } }) => finish(callback, { binding, account: "bob" }),
      "state_mismatch",
      "open",
    ],
    ["with an unknown `state`", ({ callback, finish }) => finish(changed(callback, { state: "unknown" })), "state_mismatch", "open"],
    ["without `state`", ({ callback, finish }) => finish(changed(callback, { state: undefined })), "state_mismatch", "open"],
    [
      "with a second `state`",
      ({ callback, finish }) => {
        const url = new URL(callback);
        url.searchParams.append("state", "other");
        return finish(url);
      },
      "state_mismatch",
      "open",
    ],
    ["without any parameter", ({ finish }) => finish(new URL(redirectUri)), "state_mismatch", "open"],
    [
      "twice",
      async ({ finish }) => {
        await finish();
        return finish();
      },
      "state_mismatch",
      "over",
    ],
    [
      "after its time",
      ({ finish, app }) => {
        app.clock.offset = 600_001;
        return finish();
      },
      "login_timeout",
      "over",
    ],
    [
      "after the store was wiped",
      async ({ finish, app: { store } }) => {
        for (const key of await store.keys("")) await store.delete(key);
        return finish();
      },
      "state_mismatch",
      "over",
    ],
    [
      "for a record of a newer version",
      async ({ finish, key, app: { store } }) => {
        await store.set(key, { ...((await store.get(key)) as StoredRecord), v: 2 });
        return finish();
      },
      "invalid_record",
      "over",
    ],
    [
      "for a record that is damaged",
      async ({ finish, key, app: { store } }) => {
        const { client: _, ...record } = (await store.get(key)) as StoredRecord;
        await store.set(key, record as StoredRecord);
        return finish();
      },
      "invalid_record",
      "over",
    ],
    ["with the user's no", ({ callback, finish }) => finish(denied(callback)), "authorization_denied", "over"],
    [
      "with an error of the authorization server",
      ({ callback, finish }) => finish(changed(callback, { code: undefined, error: "invalid_scope" })),
      "authorization_error",
      "over",
    ],
    ["of another issuer", ({ callback, finish }) => finish(changed(callback, { iss: "https://evil.example" })), "issuer_mismatch", "over"],
    [
      "without `iss`, where it is promised",
      ({ callback, finish }) => finish(changed(callback, { iss: undefined })),
      "issuer_mismatch",
      "over",
    ],
    [
      "with neither code nor error",
      ({ callback, finish }) => finish(changed(callback, { code: undefined })),
      "invalid_authorization_response",
      "over",
    ],
    [
      "with a code that the server refuses",
      ({ callback, finish }) => finish(changed(callback, { code: "forged" })),
      "invalid_grant",
      "over",
    ],
  ];
  const denied = (callback: URL) => changed(callback, { code: undefined, error: "access_denied" });

  test.each(cases)("%s", async (what, bad, code, left) => {
    const login = await cameBack(await startServer(), application());
    const sent = what === "twice" || what.includes("code that") ? 1 : 0;
    const error = await Promise.resolve(bad(login)).then(
      () => undefined,
      (reason: Error & { code: string; hint: string }) => reason,
    );
    expect(error).toMatchObject({ code, hint: expect.stringMatching(/./) });
    // Neither the code nor what proves the browser is repeated anywhere.
    for (const secret of [login.begun.binding, login.callback.searchParams.get("code"), login.callback.searchParams.get("state")])
      expect(`${error} ${JSON.stringify(error)} ${JSON.stringify(login.app.events)}`).not.toContain(secret);
    expect(login.codes()).toBe(sent);

    const again = await outcome(login.finish());
    if (left === "open") expect(again).toMatchObject({ account: "ann" });
    else expect(again).toMatch(code === "invalid_record" ? "invalid_record" : "state_mismatch");
    // Whatever it was, another login is possible.
    login.app.clock.offset = 0;
    const next = await cameBack(login.server, login.app, "cid");
    expect(await next.finish()).toMatchObject({ account: "cid" });
  });

  test("a login that has not succeeded leaves the one before as it was", async () => {
    const app = application();
    const login = await cameBack(await startServer(), app);
    await login.finish();
    const token = await app.managerOf(login.server.url, "ann").getAccessToken();
    const second = await cameBack(login.server, app);
    expect(await outcome(second.finish(denied(second.callback)))).toBe("authorization_denied");
    expect(await app.managerOf(login.server.url, "ann").getAccessToken()).toBe(token);
  });
});

describe("once", () => {
  test("of eight callbacks at eight machines at once, one finishes the login", async () => {
    const login = await cameBack(await startServer(), application());
    const ends = await Promise.all(Array.from({ length: 8 }, () => outcome(login.finish())));
    expect(ends.filter((end) => end === "state_mismatch")).toHaveLength(7);
    expect(ends.filter((end) => typeof end === "object")).toHaveLength(1);
    expect(login.codes()).toBe(1);
  });

  test("logins of one user at two servers, and twice at one, in two tabs, do not disturb each other", async () => {
    const app = application();
    const [one, two] = [await startServer(), await startServer()];
    const tabs = [await cameBack(one, app), await cameBack(two, app), await cameBack(one, app)];
    for (const tab of tabs) expect(await tab.finish()).toMatchObject({ serverUrl: tab.server.url });
  });
});

describe("what is stored meanwhile", () => {
  test("is in keys without a secret, and expires", async () => {
    const app = application();
    const { begun, callback, key } = await cameBack(await startServer(), app);
    const keys = (await app.store.keys("")).join(" ");
    for (const secret of [begun.binding, callback.searchParams.get("state"), callback.searchParams.get("code")])
      expect(keys).not.toContain(secret);
    const record = await app.store.get(key);
    expect(record).toMatchObject({ v: 1, expiresAt: begun.expiresAt, account: "ann" });
    expect(JSON.stringify(record)).not.toContain(begun.binding);
    expect(JSON.stringify(record)).not.toContain(callback.searchParams.get("state"));
  });

  test("is swept when nobody finishes it", async () => {
    const app = application({ loginTimeout: 60_000 });
    const server = await startServer();
    const machine = app.machine();
    for (const account of ["ann", "bob", "cid"]) await machine.beginAuthorization({ serverUrl: server.url, account });
    expect(await pendingKeys(app.store)).toHaveLength(3);
    app.clock.offset = 60_001;
    await machine.beginAuthorization({ serverUrl: server.url, account: "dan" });
    expect(await pendingKeys(app.store)).toHaveLength(1);
    app.clock.offset = 2 * 24 * 3_600_000;
    await machine.beginAuthorization({ serverUrl: server.url, account: "eve" });
    expect(await app.store.keys("pending/sent/")).toEqual([expect.stringMatching("^pending/sent/eve/")]);
  });
});

describe("`returnTo`", () => {
  const begin = async (returnTo: string) => {
    const server = await startServer();
    const app = application();
    const { url, binding } = await app.machine().beginAuthorization({ serverUrl: server.url, account: "ann", returnTo });
    return (await app.machine().finishAuthorization(await visit(url), { binding })).returnTo;
  };
  test.each([
    ["/", "https://app.example/"],
    ["/a/b?c=d#e", "https://app.example/a/b?c=d#e"],
    ["/ünï", "https://app.example/%C3%BCn%C3%AF"],
    ["/a/../b", "https://app.example/b"],
    ["/https://evil.example", "https://app.example/https://evil.example"],
    ["https://app.example/a", "https://app.example/a"],
  ])("%j leads to %s", async (returnTo, place) => {
    expect(await begin(returnTo)).toBe(place);
  });

  test.each([
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    " //evil.example",
    "/.//evil.example",
    "/a/..//evil.example",
    "https://evil.example/",
    "https://app.example.evil.example/",
    "https://app.example@evil.example/",
    "https://user@app.example/",
    "http://app.example/",
    "https:evil.example",
    "javascript:alert(1)",
    "data:text/html,x",
    "tools",
    "?a=b",
    "#a",
    "/a b",
    "/\u0000",
  ])("%j is refused before anything is asked for", async (returnTo) => {
    const begun = application().machine().beginAuthorization({ serverUrl: "https://mcp.invalid/mcp", account: "ann", returnTo });
    await expect(begun).rejects.toMatchObject({ code: "invalid_option", message: expect.stringContaining("`returnTo`") });
  });
});

describe("the authorization server's metadata", () => {
  test("are asked for once, and checked again before a code is sent", async () => {
    const app = application();
    const server = await startServer();
    await (await cameBack(server, app)).finish();
    server.reset();
    const second = await cameBack(server, app, "bob");
    const paths = () => server.requests.map(({ path }) => path);
    expect(paths().filter((path) => path.includes(".well-known"))).toEqual([]);
    await second.finish();
    const asked = paths();
    expect(asked.filter((path) => path.includes("oauth-protected-resource"))).toHaveLength(1);
    expect(asked.findLastIndex((path) => path.includes(".well-known"))).toBeLessThan(asked.indexOf("/token"));
  });

  test("where the server has moved meanwhile, the code is sent nowhere, and the next login goes to the new one", async () => {
    const app = application();
    const [server, other] = [await startServer(), await startServer()];
    await (await cameBack(server, app)).finish();
    const second = await cameBack(server, app, "bob");
    const codes = second.codes();
    server.mcpServer.moveTo(other.authorizationServer);
    expect(await outcome(second.finish())).toBe("state_mismatch");
    expect(second.codes()).toBe(codes);
    const third = await app.machine().beginAuthorization({ serverUrl: server.url, account: "bob" });
    expect(third.url.origin).toBe(other.authorizationServer.origin);
  });
});

describe("the application's registration", () => {
  test("is one, also when many users begin at the same moment at several machines", async () => {
    const server = await startServer();
    const app = application();
    const begin = (_: unknown, index: number) => app.machine().beginAuthorization({ serverUrl: server.url, account: `user-${index}` });
    const begun = await Promise.all(Array.from({ length: 20 }, begin));
    expect(server.authorizationServer.registrations).toHaveLength(1);
    expect(new Set(begun.map(({ url }) => url.searchParams.get("client_id"))).size).toBe(1);
    expect(server.authorizationServer.registrations[0]?.json).toMatchObject({ application_type: "web", redirect_uris: [redirectUri] });
  });

  const later = (app: ReturnType<typeof application>) => {
    app.clock.offset += 60_000;
  };
  test("one that a user was sent away with in vain is made anew, where nobody has been answered with it since", async () => {
    const server = await startServer();
    const app = application();
    const begin = (account: string) => app.machine().beginAuthorization({ serverUrl: server.url, account });
    await begin("ann");
    later(app);
    await begin("ann");
    expect(server.authorizationServer.registrations).toHaveLength(2);
    later(app);
    const login = await cameBack(server, app, "bob");
    await login.finish();
    later(app);
    // That ann's window stays closed is her own affair.
    await begin("ann");
    expect(server.authorizationServer.registrations).toHaveLength(2);
  });

  test("another user's open window is no reason to make it anew", async () => {
    const server = await startServer();
    const app = application();
    for (const account of ["ann", "bob", "cid"]) await app.machine().beginAuthorization({ serverUrl: server.url, account });
    expect(server.authorizationServer.registrations).toHaveLength(1);
  });

  test("one that the token endpoint has forgotten is made anew at the next login; the error says so", async () => {
    const server = await startServer();
    const app = application();
    await (await cameBack(server, app)).finish();
    app.clock.offset = 1000;
    const second = await cameBack(server, app, "bob");
    server.authorizationServer.intercept(when(tokenRequest("authorization_code"), answer(401, { error: "invalid_client" }), 1));
    await expect(second.finish()).rejects.toMatchObject({ code: "invalid_client", hint: "Start the login again." });
    const third = await cameBack(server, app, "bob");
    await third.finish();
    expect(server.authorizationServer.registrations).toHaveLength(2);
  });
});

test("a step-up asks for what was asked for before, and for more", async () => {
  const server = await startServer();
  const app = application();
  await (await cameBack(server, app)).finish();
  const begin = { serverUrl: server.url, account: "ann", scopes: ["mcp:write"] };
  const { url, binding } = await app.machine().beginAuthorization(begin);
  expect(url.searchParams.get("scope")?.split(" ").toSorted()).toEqual(["mcp:read", "mcp:write", "offline_access"]);
  const { scopes } = await app.machine().finishAuthorization(await visit(url), { binding });
  expect(scopes).toEqual(expect.arrayContaining(["mcp:read", "mcp:write"]));
});

test("a server that wants no login says so", async () => {
  const server = await startServer();
  server.mcpServer.intercept((_request, res) => {
    res.writeHead(_request.path === "/mcp" ? 200 : 404).end();
    return true;
  });
  expect(await outcome(application().machine().beginAuthorization({ serverUrl: server.url, account: "ann" }))).toBe("token_not_required");
});

test("a server with options of its own has them at both machines", async () => {
  const server = await startServer();
  await server.authorizationServer.addClient({
    client_id: "acme",
    client_secret: "s3cret-s3cret-s3cret",
    redirect_uris: [redirectUri],
    grant_types: ["authorization_code", "refresh_token"],
  });
  const serverOptions = (url: string) => (url === server.url ? { clientId: "acme", clientSecret: "s3cret-s3cret-s3cret" } : undefined);
  const app = application({ serverOptions });
  const login = await cameBack(server, app);
  expect(login.begun.url.searchParams.get("client_id")).toBe("acme");
  await login.finish();
  expect(server.authorizationServer.registrations).toHaveLength(0);
});

test("logout revokes the login and deletes it", async () => {
  const server = await startServer();
  const app = application();
  const login = await cameBack(server, app);
  await login.finish();
  expect(await app.machine().logout({ serverUrl: server.url, account: "ann" })).toMatchObject({
    wasLoggedIn: true,
    refreshTokenRevoked: true,
  });
  expect(server.authorizationServer.liveLogins).toBe(0);
  const auth = new TokenManager({ serverUrl: server.url, account: "ann", store: app.store });
  expect(await outcome(auth.getAccessToken())).toBe("login_required");
});

describe("a store that fails", () => {
  /** A store in which one operation fails, while the test says so. */
  function failing(store: Store, operation: "get" | "take" | "set", isFailing: (key: string) => boolean): Store {
    return new Proxy(store, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name);
        if (typeof value !== "function") return value;
        if (name !== operation) return value.bind(target);
        return async (key: string, ...rest: unknown[]) => {
          if (isFailing(key)) throw new Error("the disk is full");
          return value.call(target, key, ...rest);
        };
      },
    });
  }

  test.each(["get", "take"] as const)("at `%s`: the login can be finished when it works again", async (operation) => {
    let isFailing = false;
    const store = failing(application().store, operation, (key) => isFailing && key.startsWith("pending/"));
    const login = await cameBack(await startServer(), application({ store }));
    isFailing = true;
    expect(await outcome(login.finish())).toBe("store_failed");
    expect(login.codes()).toBe(0);
    isFailing = false;
    expect(await login.finish()).toMatchObject({ account: "ann" });
  });

  test("at `set`: no user is sent away with a login that nobody can finish", async () => {
    const store = failing(application().store, "set", (key) => key.startsWith("pending/"));
    const server = await startServer();
    const app = application({ store });
    expect(await outcome(app.machine().beginAuthorization({ serverUrl: server.url, account: "ann" }))).toBe("store_failed");
    expect(app.types()).not.toContain("login.opened");
  });
});
