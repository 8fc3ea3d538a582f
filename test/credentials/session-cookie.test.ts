/** Sessions: one login for all, again once when the server ends one, no more than that. */
import { CookieJar } from "tough-cookie";
import { describe, expect, test, vi } from "vitest";
import { SessionCookieCredential, type SessionCookieOptions } from "../../src/credentials/index.ts";
import { sessionCookies } from "../fixture/index.ts";
import { plainServer, status } from "../transports/support.ts";
import { expectHidden, failureOf, httpKinds, listening, post, protectedBy, stillClock, whoami } from "./support.ts";

const user = { username: "ann", password: "hush & +=é" };

/** A server with sessions, and a credential for it. */
async function sessionServer(settings: Partial<Parameters<typeof sessionCookies>[0]> = {}, options: Partial<SessionCookieOptions> = {}) {
  const clock = stillClock();
  const protection = sessionCookies({ ...user, now: clock.now, ...settings });
  const server = await protectedBy(protection);
  const { events, onEvent } = listening();
  const login = { url: `${server.origin}/login`, body: { user: user.username, password: user.password } };
  const auth = new SessionCookieCredential({ serverUrl: server.url, login, clock, onEvent, ...options });
  return { clock, protection, server, auth, events };
}

const many = (auth: SessionCookieCredential, count = 30) => Promise.all(Array.from({ length: count }, () => post(auth)));
const statuses = async (answers: Promise<Response[]>) => [...new Set((await answers).map(({ status }) => status))];

describe("real clients", () => {
  test.each(httpKinds)("%s: log in before the first request, by a form that leads elsewhere", async (_name, kind) => {
    const { auth, protection, server } = await sessionServer();
    expect(await whoami(kind, auth)).toBe("ann");
    expect(protection.logins).toBe(1);
    expect(server.requests.map(({ status }) => status)).not.toContain(401);
  });

  test.each([
    [401, false],
    [403, false],
    [401, true],
  ] as const)(
    "a session that was idle too long (%i, a new cookie in each answer: %s) is begun anew, once for 30 callers",
    async (code, rolling) => {
      const { auth, protection, clock, events } = await sessionServer({ idleMs: 60_000, status: code, rolling });
      expect(await statuses(many(auth))).toEqual([200]);
      clock.advance(50_000);
      expect(await statuses(many(auth))).toEqual([200]);
      expect(protection.logins).toBe(1);
      clock.advance(60_001);
      expect(await statuses(many(auth))).toEqual([200]);
      expect(protection.logins).toBe(2);
      expect(events).toMatchObject(Array(2).fill({ type: "credential.renewed", kind: "session" }));
    },
  );

  test("sessions that the server forgot are begun anew, however often", async () => {
    const { auth, protection } = await sessionServer();
    for (const logins of [1, 2, 3]) {
      expect(await statuses(many(auth))).toEqual([200]);
      expect(protection.logins).toBe(logins);
      protection.endAll();
    }
  });
});

test("a request that comes while a login goes on waits for it; a login that fails leaves it its session", async () => {
  const held: ((status: number) => void)[] = [];
  const { url, received } = await plainServer((request, response) => {
    const n = held.length;
    if (request.path === "/in") return void held.push((status) => response.writeHead(status, { "set-cookie": `s=${n}` }).end());
    response.writeHead(request.path === "/forbidden" ? 401 : 200).end(request.headers.cookie);
  });
  const auth = new SessionCookieCredential({ serverUrl: url, login: { url: new URL("/in", url) } });
  const first = post(auth);
  await expect.poll(() => held.length).toBe(1);
  held[0]?.(204);
  expect(await (await first).text()).toBe("s=0");

  const forbidden = failureOf(auth.fetch(new URL("/forbidden", url)));
  await expect.poll(() => held.length).toBe(2);
  const before = received.length;
  const second = post(auth);
  // Whatever could send it has had its turn when another request has come and gone.
  await fetch(new URL("/other", url));
  expect(received.slice(before).map(({ path }) => path)).toEqual(["/other"]);
  held[1]?.(503);
  expect(await forbidden).toMatchObject({ code: "server_error" });
  expect((await second).status).toBe(200);
});

describe("the login", () => {
  test("by a function, whose `fetch` keeps cookies and follows redirects", async () => {
    const seen: unknown[] = [];
    const { auth } = await sessionServer(
      {},
      {
        login: async (fetch) => {
          const { origin } = auth.serverUrl;
          const answer = await fetch(`${origin}/login`, {
            method: "POST",
            body: new URLSearchParams({ user: "ann", password: user.password }),
          });
          seen.push(answer.status, await answer.json(), (await fetch(`${origin}/home`)).status);
          return answer;
        },
      },
    );
    expect((await post(auth)).status).toBe(200);
    expect(seen).toEqual([200, {}, 200]);
  });

  test("a body as text, a method and headers of the app's own", async () => {
    const { url, origin, received } = await plainServer(status(200, "", { "set-cookie": "s=1" }));
    const auth = new SessionCookieCredential({
      serverUrl: url,
      login: { url: `${origin}/in`, method: "PUT", headers: { "content-type": "application/json" }, body: "{}" },
    });
    await post(auth);
    expect(received[0]).toMatchObject({ method: "PUT", path: "/in", body: "{}", headers: { "content-type": "application/json" } });
    expect(received[1]?.headers.cookie).toBe("s=1");
  });

  test("one that ends at a large page has been answered", async () => {
    const page = "x".repeat(1024 * 1024 + 1);
    const { url, origin } = await plainServer((request, response) =>
      request.path === "/in" ? void response.writeHead(200, { "set-cookie": "s=1" }).end(page) : void response.end(request.headers.cookie),
    );
    const auth = new SessionCookieCredential({ serverUrl: url, login: { url: `${origin}/in` } });
    expect(await (await post(auth)).text()).toBe("s=1");
  });

  test("one that ends at another site has been answered; nothing is sent there", async () => {
    const other = await plainServer(status(200));
    const { url, origin } = await plainServer((request, response) =>
      request.path === "/in"
        ? void response.writeHead(302, { location: other.url, "set-cookie": "s=1" }).end()
        : void response.end("there"),
    );
    const auth = new SessionCookieCredential({ serverUrl: url, login: { url: `${origin}/in` } });
    expect(await (await post(auth)).text()).toBe("there");
    expect(other.received).toEqual([]);
  });

  test.each([
    // what it answers, code, whether it is asked again at once by the next request
    [status(403, "wrong"), "credential_refused", false],
    [status(401), "credential_refused", false],
    [status(200, "no cookie"), "credential_refused", false],
    [status(200, "", { "set-cookie": "s=1; Path=/elsewhere" }), "credential_refused", false],
    [status(200, "", { "set-cookie": "s=1; Domain=other.example" }), "credential_refused", false],
    [status(503), "server_error", true],
    [status(429, "", { "retry-after": "9" }), "rate_limited", true],
  ])("that fails ends the request; accounts are not locked by trying (%#: %s, again: %s)", async (answer, code, again) => {
    const { url, received } = await plainServer(answer);
    const clock = stillClock();
    const auth = new SessionCookieCredential({ serverUrl: url, clock, login: { url, body: user } });
    for (let request = 0; request < 2; request++) expect(await failureOf(post(auth))).toMatchObject({ code, serverUrl: url });
    expect(received).toHaveLength(again ? 2 : 1);
    expect(auth.lastError?.code).toBe(code);
    clock.advance(60_000);
    await failureOf(post(auth));
    expect(received).toHaveLength(again ? 3 : 2);
    expectHidden([user.password, new URLSearchParams(user).toString()], auth, auth.lastError);
  });

  test("that failed is tried again once the clock was put back: a pause is not made longer", async () => {
    const { url, received } = await plainServer(status(403, "wrong"));
    const clock = stillClock();
    const auth = new SessionCookieCredential({ serverUrl: url, clock, login: { url, body: user } });
    for (let request = 0; request < 2; request++) await failureOf(post(auth));
    expect(received).toHaveLength(1);
    clock.advance(-3_600_000);
    await failureOf(post(auth));
    expect(received).toHaveLength(2);
  });

  test("that is never answered ends after ten seconds of the clock", async () => {
    const { url, received } = await plainServer(() => {});
    let ring = () => {};
    const clock = { now: () => 0, sleep: () => new Promise<void>((resolve) => (ring = resolve)) };
    const auth = new SessionCookieCredential({ serverUrl: url, clock, login: { url } });
    const waiting = failureOf(post(auth));
    await expect.poll(() => received.length).toBe(1);
    ring();
    expect(await waiting).toMatchObject({ code: "timeout" });
  });

  test("by a function that throws ends the request with its error as cause", async () => {
    const { url } = await plainServer(status(200));
    const cause = new Error("no password");
    const auth = new SessionCookieCredential({ serverUrl: url, login: () => Promise.reject(cause) });
    expect(await failureOf(post(auth))).toMatchObject({ code: "credential_unavailable", cause });
    expect((await auth.fetch(url, { headers: { accept: "text/event-stream" } })).status).toBe(200);
  });

  test.each(["http://login.example/in", "ftp://login.example/in", "nonsense", "https://user:pw@login.example/"])(
    "at %s is refused",
    async (url) => {
      const error = await failureOf(() => new SessionCookieCredential({ serverUrl: "https://mcp.example/mcp", login: { url } }));
      expect(error).toMatchObject({ code: expect.stringMatching(/^in(valid|secure)_url$/) });
    },
  );
});

describe("a session that does not help", () => {
  test("a second refusal is the server's answer; the reason is kept; no login storm follows", async () => {
    const login = vi.fn();
    const { url } = await plainServer((request, response) => {
      if (request.path !== "/in") return void response.writeHead(403).end("not for you");
      login();
      response.writeHead(204, { "set-cookie": "s=1" }).end();
    });
    const { events, onEvent } = listening();
    const clock = stillClock();
    const auth = new SessionCookieCredential({ serverUrl: url, clock, onEvent, login: { url: new URL("/in", url) } });
    const answer = await post(auth);
    expect([answer.status, await answer.text()]).toEqual([403, "not for you"]);
    expect(auth.lastError).toMatchObject({ code: "credential_refused", status: 403, serverUrl: url });
    expect(await statuses(many(auth))).toEqual([403]);
    expect(login).toHaveBeenCalledTimes(2);
    clock.advance(60_000);
    expect((await post(auth)).status).toBe(403);
    expect(login).toHaveBeenCalledTimes(3);
    expect(events.filter(({ type }) => type === "credential.renewed")).toHaveLength(3);
  });

  test("a 403 without any session is the server's answer", async () => {
    const jar = { getCookieString: async (url: string) => (url.endsWith("/mcp") ? "s=1" : ""), setCookie: async () => {} };
    const login = vi.fn();
    const { url } = await plainServer(status(403));
    const auth = new SessionCookieCredential({ serverUrl: url, jar, login });
    expect((await auth.fetch(new URL("/other", url))).status).toBe(403);
    expect(login).not.toHaveBeenCalled();
  });
});

describe("cookies", () => {
  test("what any answer sets is kept: redirects, refusals, deletions", async () => {
    const { url, received } = await plainServer((request, response) => {
      const n = received.length;
      if (request.path === "/in")
        return void response.writeHead(204, { "set-cookie": ["a=1", "b=1; Path=/mcp", "bad; Domain=other.example"] }).end();
      if (n === 2) return void response.writeHead(307, { location: "/mcp/2", "set-cookie": "c=1; Path=/" }).end();
      if (n === 3) return void response.writeHead(401, { "set-cookie": ["a=; Max-Age=0", "d=1; Path=/"] }).end();
      response.end();
    });
    const auth = new SessionCookieCredential({ serverUrl: url, login: { url: new URL("/in", url) } });
    await post(auth);
    await post(auth);
    const shown = received.filter(({ path }) => path !== "/in").map(({ headers }) => headers.cookie?.split("; ").toSorted().join());
    expect(shown).toEqual(["a=1,b=1", "a=1,b=1,c=1", "a=1,b=1,c=1,d=1", "a=1,b=1,c=1,d=1"]);
  });

  test("REQ-TOK-02: another origin gets none and sets none, even where the jar would allow it", async () => {
    const { auth } = await sessionServer();
    await post(auth);
    const other = await plainServer(status(200, "", { "set-cookie": "sid=stolen; Path=/" }));
    await auth.fetch(other.url);
    expect(other.received[0]?.headers.cookie).toBeUndefined();
    expect((await post(auth)).status).toBe(200);
  });

  test("a jar of the app's own: its session is used, without a login", async () => {
    const jar = new CookieJar();
    const { auth, protection } = await sessionServer({}, { jar });
    await post(auth);
    const login = vi.fn();
    const second = new SessionCookieCredential({ serverUrl: auth.serverUrl, jar, login });
    expect((await post(second)).status).toBe(200);
    expect(login).not.toHaveBeenCalled();
    expect(protection.logins).toBe(1);
  });

  test("without the library and without a jar the error says what to install", async () => {
    vi.doMock("tough-cookie", () => {
      throw new Error("not there");
    });
    const { auth } = await sessionServer();
    const error = await failureOf(post(auth));
    vi.doUnmock("tough-cookie");
    expect(error).toMatchObject({ code: "invalid_option", hint: expect.stringContaining("npm install tough-cookie") });
  });
});

test("nothing that can be seen of a credential holds a password or a session", async () => {
  const { auth, events, server } = await sessionServer();
  await post(auth);
  const sid = String(server.requests.at(-1)?.headers.cookie).replace("sid=", "");
  expect(sid).toHaveLength(32);
  expectHidden([user.password, sid], auth, events);
});
