/** The routes of a web application, as browsers and strangers call them. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import express from "express";
import { describe, expect, onTestFinished, test } from "vitest";
import { type HostedHandlersOptions, hostedHandlers, nodeHandler, nodeRequestOf } from "../../src/hosted/index.ts";
import type { ProtectedServer } from "../fixture/index.ts";
import { application, startServer, visit } from "./support.ts";

const origin = "https://app.example";

/** The application's routes, at as many machines as there are calls, and one browser of a user who is signed in. */
function routes(server: Pick<ProtectedServer, "url">, options: Partial<HostedHandlersOptions> = {}) {
  const app = application();
  const cookies = new Map<string, string>();
  const user: { account: string | undefined } = { account: "ann" };
  const handlers = () =>
    hostedHandlers({ logins: app.machine(), account: async () => user.account, serverUrl: () => server.url, ...options });
  /** What the browser sends, and keeps. */
  const browse = async (name: keyof ReturnType<typeof handlers>, url: string, init: RequestInit = {}) => {
    const headers = new Headers(init.headers);
    if (cookies.size > 0) headers.set("cookie", ["theme=dark", ...[...cookies].map(([key, value]) => `${key}=${value}`)].join("; "));
    const response = await handlers()[name](new Request(new URL(url, origin), { ...init, headers }));
    for (const cookie of response.headers.getSetCookie()) {
      const [, key = "", value = ""] = /^([^=]+)=([^;]*);/.exec(cookie) ?? [];
      cookies.set(key, value);
    }
    return response;
  };
  const post = { method: "POST", headers: { "sec-fetch-site": "same-origin" } };
  const connect = (query = "") => browse("connect", `/mcp/connect${query}`, post);
  const comeBack = async (response: Response) => visit(new URL(response.headers.get("location") ?? ""));
  /** The callback, after something has happened. */
  const having = (happening: () => unknown) => async (callback: string) => {
    await happening();
    return browse("callback", callback);
  };
  return { app, user, cookies, browse, connect, comeBack, post, having };
}

const location = (response: Response) => response.headers.get("location");

describe("a user connects a server", () => {
  test("and comes back to where they wanted to go on; then disconnects it", async () => {
    const server = await startServer();
    const { app, browse, connect, comeBack, post } = routes(server);
    const begun = await connect("?returnTo=/tools%3Ftab%3D2");
    expect(begun.status).toBe(303);
    expect(begun.headers.getSetCookie()).toEqual([
      expect.stringMatching(/^__Host-mcp-login-[\w-]{16}=[\w-]{43}; Path=\/; Max-Age=600; Secure; HttpOnly; SameSite=Lax$/),
    ]);
    const callback = await comeBack(begun);
    const finished = await browse("callback", callback);
    expect([finished.status, location(finished)]).toEqual([303, `${origin}/tools?tab=2`]);
    expect(await app.managerOf(server.url, "ann").getAccessToken()).toMatch(/./);

    const ended = await browse("disconnect", "/mcp/disconnect?returnTo=/settings", post);
    expect([ended.status, location(ended)]).toEqual([303, `${origin}/settings`]);
    expect(server.authorizationServer.liveLogins).toBe(0);
  });

  test("several at once, in several tabs", async () => {
    const [one, two] = [await startServer(), await startServer()];
    const serverUrl = (request: Request) => (request.url.includes("two") ? two.url : one.url);
    const { app, cookies, browse, connect, comeBack } = routes(one, { serverUrl });
    const begun = [await connect("?server=one"), await connect("?server=two"), await connect("?server=one")];
    expect(cookies.size).toBe(3);
    for (const response of begun.toReversed()) expect((await browse("callback", await comeBack(response))).status).toBe(303);
    for (const { url } of [one, two]) expect(await app.managerOf(url, "ann").getAccessToken()).toMatch(/./);
  });

  test("a browser that comes twice, such as after a prefetch, goes on in the application; the code is sent once", async () => {
    const server = await startServer();
    const { browse, connect, comeBack } = routes(server);
    const callback = await comeBack(await connect("?returnTo=/tools"));
    const visits = await Promise.all([browse("callback", callback), browse("callback", callback)]);
    visits.push(await browse("callback", callback));
    expect(visits.map(location)).toEqual(Array.from({ length: 3 }, () => `${origin}/tools`));
    expect(server.authorizationServer.tokenRequests("authorization_code")).toHaveLength(1);
  });

  test("scopes of a step-up are asked for", async () => {
    const server = await startServer();
    const scopes = (request: Request) => new URL(request.url).searchParams.get("scope")?.split(" ");
    const { connect } = routes(server, { scopes });
    const { searchParams } = new URL(location(await connect("?scope=mcp:write")) ?? "");
    expect(searchParams.get("scope")).toContain("mcp:write");
  });
});

describe("a page says what is wrong, and nothing is lost", () => {
  type Routes = ReturnType<typeof routes>;
  const noAccess = (callback: string) => {
    const url = new URL(callback);
    url.searchParams.delete("code");
    url.searchParams.set("error", "access_denied");
    url.searchParams.set("error_description", "<script>alert(1)</script>");
    return url.href;
  };
  const other = (callback: string, name: string, value: string) => {
    const url = new URL(callback);
    url.searchParams.set(name, value);
    return url.href;
  };
  const foreign = "This page belongs to another login";
  const failed = "The login did not work";

  const wipe = async ({ store }: Routes["app"]) => {
    for (const key of await store.keys("")) await store.delete(key);
  };
  const renew = async ({ store }: Routes["app"]) => {
    for (const key of await store.keys("pending/")) await store.set(key, { ...(await store.get(key)), v: 2 });
  };

  test.each<[what: string, come: (routes: Routes, callback: string) => Promise<Response>, status: number, title: string]>([
    ["another user's browser", ({ having, cookies }, callback) => having(() => cookies.clear())(callback), 400, foreign],
    [
      "another user of the same browser",
      ({ having, user }, callback) => having(() => Object.assign(user, { account: "bob" }))(callback),
      400,
      foreign,
    ],
    ["an unknown `state`", ({ browse }, callback) => browse("callback", other(callback, "state", "x")), 400, foreign],
    ["no parameters", ({ browse }) => browse("callback", "/mcp/callback"), 400, foreign],
    [
      "too late",
      ({ having, app }, callback) => having(() => Object.assign(app.clock, { offset: 600_001 }))(callback),
      400,
      "This login has expired",
    ],
    ["the store was wiped", ({ having, app }, callback) => having(() => wipe(app))(callback), 400, foreign],
    ["a record of a newer version", ({ having, app }, callback) => having(() => renew(app))(callback), 503, failed],
    ["a no", ({ browse }, callback) => browse("callback", noAccess(callback)), 400, "Access was not allowed"],
    ["another issuer", ({ browse }, callback) => browse("callback", other(callback, "iss", "https://evil.example")), 502, failed],
    ["a forged code", ({ browse }, callback) => browse("callback", other(callback, "code", "forged")), 502, failed],
  ])("%s", async (_what, come, status, title) => {
    const server = await startServer();
    const all = routes(server);
    const callback = await all.comeBack(await all.connect());
    const response = await come(all, callback);
    const page = await response.text();
    expect(page).toContain(`<h1>${title}</h1>`);
    expect(response.status).toBe(status);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      "cache-control": "no-store",
      "content-type": "text/html; charset=utf-8",
      "content-security-policy": expect.stringMatching(/^default-src 'none'; style-src 'sha256-.*frame-ancestors 'none'/),
      "referrer-policy": "no-referrer",
      "x-content-type-options": "nosniff",
    });
    const { searchParams } = new URL(callback);
    for (const reflected of [searchParams.get("code"), searchParams.get("state"), "<script", "forged"])
      expect(page).not.toContain(reflected);
    expect(response.headers.getSetCookie()).toEqual([]);
  });

  test("the user in whose browser it began finishes it afterwards", async () => {
    const server = await startServer();
    const { browse, connect, comeBack, cookies } = routes(server);
    const callback = await comeBack(await connect());
    const own = new Map(cookies);
    cookies.clear();
    expect((await browse("callback", callback)).status).toBe(400);
    for (const [name, value] of own) cookies.set(name, value);
    expect((await browse("callback", callback)).status).toBe(303);
  });

  test("a page of the app's own takes its place", async () => {
    const { browse } = routes({ url: "https://mcp.invalid/mcp" }, { onError: ({ code }) => new Response(code, { status: 418 }) });
    const response = await browse("callback", "/mcp/callback?state=x&code=y");
    expect([response.status, await response.text()]).toEqual([418, "state_mismatch"]);
  });

  test("the application's own failures stay its own", async () => {
    const account = async () => {
      throw new Error("the session store is away");
    };
    const { connect } = routes({ url: "https://mcp.invalid/mcp" }, { account });
    await expect(connect()).rejects.toThrow("the session store is away");
  });
});

describe("what another site may not do", () => {
  const url = "https://mcp.invalid/mcp";
  test.each<[what: string, init: RequestInit, status: number]>([
    ["a link", { method: "GET", headers: { "sec-fetch-site": "same-origin" } }, 405],
    ["a form of another site", { method: "POST", headers: { "sec-fetch-site": "cross-site", origin } }, 403],
    ["a form of another host of the domain", { method: "POST", headers: { "sec-fetch-site": "same-site", origin } }, 403],
    ["the same, in an older browser", { method: "POST", headers: { origin: "https://www.app.example" } }, 403],
    ["a page without an origin, in an older browser", { method: "POST", headers: { origin: "null" } }, 403],
    ["something that says nothing", { method: "POST" }, 403],
  ])("%s neither begins nor ends a login", async (_what, init, status) => {
    for (const name of ["connect", "disconnect"] as const) {
      const { app, browse } = routes({ url });
      const response = await browse(name, `/mcp/${name}`, init);
      expect(response.status).toBe(status);
      expect([response.headers.getSetCookie(), app.events]).toEqual([[], []]);
    }
  });

  test("a page of the app may, in an older browser too", async () => {
    const server = await startServer();
    const { browse } = routes(server);
    expect((await browse("connect", "/mcp/connect", { method: "POST", headers: { origin } })).status).toBe(303);
  });

  test.each(["//evil.example", "https://evil.example/", "/\\evil.example"])("`returnTo=%s` leads nowhere", async (returnTo) => {
    for (const name of ["connect", "disconnect"] as const) {
      const { app, browse, post } = routes({ url });
      const response = await browse(name, `/mcp/${name}?returnTo=${encodeURIComponent(returnTo)}`, post);
      expect([response.status, location(response), app.events]).toEqual([400, null, []]);
    }
  });

  test("who is not signed in connects nothing", async () => {
    const all = routes({ url });
    all.user.account = undefined;
    expect((await all.connect()).status).toBe(401);
  });

  test("what the application does not name is no server", async () => {
    expect((await routes({ url }, { serverUrl: () => undefined }).connect()).status).toBe(404);
  });

  test.each(["POST", "HEAD"])("a response comes by GET, not by %s", async (method) => {
    const response = await routes({ url }).browse("callback", "/mcp/callback?state=x&code=y", { method });
    expect([response.status, response.headers.get("allow")]).toEqual([405, "GET"]);
  });
});

describe("Express and Node", () => {
  async function listen(listener: Parameters<typeof createServer>[1]): Promise<string> {
    const server = createServer(listener).listen(0, "127.0.0.1");
    onTestFinished(() => void server.close());
    await new Promise((resolve) => server.once("listening", resolve));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }
  const post = { method: "POST", redirect: "manual", headers: { "sec-fetch-site": "same-origin", host: "evil.example" } } as const;

  test("a router of Express has the routes, with its own session, whatever has read the body", async () => {
    const server = await startServer();
    const { machine } = application();
    const account = (request: Request) => nodeRequestOf<express.Request & { user?: string }>(request)?.user;
    const handlers = hostedHandlers({ logins: machine(), account, serverUrl: () => server.url });
    const app = express();
    app.use(express.urlencoded(), (request, _response, next) => {
      Object.assign(request, { user: "ann" });
      next();
    });
    const router = express.Router();
    router.post("/connect", nodeHandler(handlers.connect, { baseUrl: origin }));
    router.get("/callback", nodeHandler(handlers.callback, { baseUrl: origin }));
    app.use("/mcp", router);
    const base = await listen(app);

    const begun = await fetch(`${base}/mcp/connect?returnTo=/done`, { ...post, body: new URLSearchParams({ a: "b" }) });
    expect(begun.status).toBe(303);
    const [cookie = ""] = begun.headers.getSetCookie();
    const { pathname, search } = new URL(await visit(new URL(begun.headers.get("location") ?? "")));
    const finished = await fetch(base + pathname + search, { redirect: "manual", headers: { cookie: cookie.split(";")[0] ?? "" } });
    expect([finished.status, location(finished)]).toEqual([303, `${origin}/done`]);
  });

  test("a request's headers and its host are as they came, the address is the application's", async () => {
    const echo = nodeHandler(async (request) => Response.json({ url: request.url, accept: request.headers.get("accept") }), {
      baseUrl: origin,
    });
    const base = await listen((request, response) => void echo(request, response));
    const answer = await fetch(`${base}//evil.example/a?b=c`, { headers: { accept: "a/b", "x-forwarded-host": "evil.example" } });
    expect(await answer.json()).toEqual({ url: `${origin}//evil.example/a?b=c`, accept: "a/b" });
  });

  test("a target that names a host of its own is refused", async () => {
    const seen: number[] = [];
    const response = { statusCode: 0, setHeader: () => {}, end: () => void seen.push(response.statusCode) };
    const never = async () => Promise.reject(new Error("asked"));
    await nodeHandler(never, { baseUrl: origin })({ method: "GET", url: "http://evil.example/", headers: {} }, response);
    expect(seen).toEqual([400]);
  });

  test("a failure of the application goes to `next`; without one it is answered 500", async () => {
    const broken = nodeHandler(async () => Promise.reject(new Error("broken")), { baseUrl: origin });
    const app = express();
    app.get("/", broken);
    app.use((error: Error, _request: express.Request, response: express.Response, _next: express.NextFunction) => {
      response.status(599).send(error.message);
    });
    expect((await fetch(await listen(app))).status).toBe(599);
    const base = await listen((request, response) => void broken(request, response).catch(() => {}));
    expect((await fetch(base)).status).toBe(500);
  });
});
