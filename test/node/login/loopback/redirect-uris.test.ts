// biome-ignore-all lint/suspicious/noTemplateCurlyInString: what apps write in the option
import { createServer, type Server } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import type { LoginHandlerRequest } from "../../../../src/authorization/login-handler.ts";
import { type LoopbackLoginOptions, loopbackLogin } from "../../../../src/node/index.ts";
import { freePort, isOpen, send, startSession, waitingLogin } from "./login.ts";

const held: Server[] = [];
afterEach(() => Promise.all(held.splice(0).map((server) => new Promise((resolve) => server.close(resolve)))));

/** Another program on a port. */
async function occupy(port = 0, host = "127.0.0.1"): Promise<number> {
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen({ port, host }, resolve));
  held.push(server);
  return (server.address() as { port: number }).port;
}

describe("where a login listens", () => {
  test("127.0.0.1 and ::1 on one port, both names registered", async () => {
    const login = await waitingLogin();
    expect(login.session.redirectUris).toEqual([`http://127.0.0.1:${login.port}/callback`, `http://localhost:${login.port}/callback`]);
    expect(login.session.redirectUri).toBe(login.session.redirectUris[0]);
    expect(await isOpen(login.port, "127.0.0.1")).toBe(true);
    expect(await isOpen(login.port, "::1")).toBe(true);
    const answer = await send(login.port, "/callback?state=right&code=1", { address: "::1", host: `localhost:${login.port}` });
    expect(answer.status).toBe(200);
  });

  test("two logins at once have ports of their own", async () => {
    const [one, other] = await Promise.all([waitingLogin(), waitingLogin()]);
    expect(one.port).not.toBe(other.port);
  });

  test("nothing but loopback is reachable unless an address is given", async () => {
    const everywhere = await waitingLogin({ bindAddress: "0.0.0.0" });
    expect(await isOpen(everywhere.port, "127.0.0.2")).toBe(true);
    const here = await waitingLogin();
    expect(await isOpen(here.port, "127.0.0.2")).toBe(false);
  });

  /** FREE, FREE2: free ports. BUSY: taken on 127.0.0.1. BUSY6: taken on ::1 only. ANY: a port that the system chose. */
  const cases: [rule: string, options: object, request: object, outcome: string[] | string][] = [
    [
      "the port of a stored registration comes first",
      {},
      { redirectUris: ["http://127.0.0.1:FREE/callback", "http://localhost:FREE/callback"] },
      ["http://127.0.0.1:FREE/callback", "http://localhost:FREE/callback"],
    ],
    [
      "… also when only one name was registered: that one is sent",
      {},
      { redirectUris: ["http://localhost:FREE/callback"] },
      ["http://localhost:FREE/callback", "http://127.0.0.1:FREE/callback"],
    ],
    [
      "… with its own path",
      {},
      { redirectUris: ["http://127.0.0.1:FREE/old"] },
      ["http://127.0.0.1:FREE/old", "http://localhost:FREE/old"],
    ],
    [
      "when it is taken, another one",
      {},
      { redirectUris: ["http://127.0.0.1:BUSY/callback"] },
      ["http://127.0.0.1:ANY/callback", "http://localhost:ANY/callback"],
    ],
    [
      "when it is taken on ::1 alone, another one",
      {},
      { redirectUris: ["http://127.0.0.1:BUSY6/callback"] },
      ["http://127.0.0.1:ANY/callback", "http://localhost:ANY/callback"],
    ],
    ["the app's port", { port: "FREE" }, {}, ["http://127.0.0.1:FREE/callback", "http://localhost:FREE/callback"]],
    [
      "the first free one of the app's ports",
      { ports: ["BUSY", "FREE"] },
      {},
      ["http://127.0.0.1:FREE/callback", "http://localhost:FREE/callback"],
    ],
    ["none of the app's ports", { ports: ["BUSY", "BUSY6"] }, {}, "redirect_port_in_use"],
    [
      "a registered port that is none of the app's is of no use",
      { port: "FREE" },
      { redirectUris: ["http://127.0.0.1:FREE2/callback"] },
      ["http://127.0.0.1:FREE/callback", "http://localhost:FREE/callback"],
    ],
    ["the app's path", { callbackPath: "/oauth/done" }, {}, ["http://127.0.0.1:ANY/oauth/done", "http://localhost:ANY/oauth/done"]],
    ["the app's host is sent", { redirectHost: "localhost" }, {}, ["http://localhost:ANY/callback", "http://127.0.0.1:ANY/callback"]],
    [
      "the login's host is sent before the app's",
      { redirectHost: "localhost" },
      { redirectHost: "127.0.0.1" },
      ["http://127.0.0.1:ANY/callback", "http://localhost:ANY/callback"],
    ],
    [
      "a registered name is sent before a preferred one that is not",
      {},
      { redirectUris: ["http://127.0.0.1:FREE/callback"], redirectHost: "localhost" },
      ["http://127.0.0.1:FREE/callback", "http://localhost:FREE/callback"],
    ],
    ["a fixed client: only its own", {}, { fixed: true, redirectUris: ["http://localhost:FREE/cb"] }, ["http://localhost:FREE/cb"]],
    [
      "a fixed client: one whose port is free",
      {},
      { fixed: true, redirectUris: ["http://127.0.0.1:BUSY/cb", "http://127.0.0.1:FREE/cb", "http://127.0.0.1:FREE2/cb"] },
      ["http://127.0.0.1:FREE/cb"],
    ],
    [
      "a fixed client: the preferred of its hosts",
      {},
      { fixed: true, redirectHost: "localhost", redirectUris: ["http://127.0.0.1:FREE/cb", "http://localhost:FREE/cb"] },
      ["http://localhost:FREE/cb", "http://127.0.0.1:FREE/cb"],
    ],
    ["a fixed client: [::1] is loopback, too", {}, { fixed: true, redirectUris: ["http://[::1]:FREE/cb"] }, ["http://[::1]:FREE/cb"]],
    [
      "a fixed client: its query stays",
      {},
      { fixed: true, redirectUris: ["http://127.0.0.1:FREE/cb?app=1"] },
      ["http://127.0.0.1:FREE/cb?app=1"],
    ],
    [
      "a fixed client without port: any port (RFC 8252 §7.3)",
      {},
      { fixed: true, redirectUris: ["http://127.0.0.1/cb"] },
      ["http://127.0.0.1:ANY/cb"],
    ],
    [
      "a fixed client without port: the app's port",
      { port: "FREE" },
      { fixed: true, redirectUris: ["http://127.0.0.1/cb"] },
      ["http://127.0.0.1:FREE/cb"],
    ],
    [
      "a fixed client, all ports taken",
      {},
      { fixed: true, redirectUris: ["http://127.0.0.1:BUSY/cb", "http://localhost:BUSY6/cb"] },
      "redirect_port_in_use",
    ],
    [
      "a fixed client with nothing on loopback",
      {},
      { fixed: true, redirectUris: ["https://app.example/cb", "http://192.0.2.1:FREE/cb"] },
      "redirect_port_in_use",
    ],
    [
      "a fixed client whose redirect URIs nobody knows",
      {},
      { fixed: true },
      ["http://127.0.0.1:ANY/callback", "http://localhost:ANY/callback"],
    ],
    ["the app's own URI", { redirectUri: "https://dev.example/cb", port: "FREE" }, {}, ["https://dev.example/cb"]],
    [
      "the app's own URI with the port in it",
      { redirectUri: "https://dev.example/${port}/cb", port: "FREE" },
      {},
      ["https://dev.example/FREE/cb"],
    ],
    [
      "the app's own URI, registered with a port",
      { redirectUri: "https://dev.example/${port}/cb" },
      { redirectUris: ["https://dev.example/FREE/cb"] },
      ["https://dev.example/FREE/cb"],
    ],
    [
      "the app's own URI, fixed, port taken",
      { redirectUri: "https://dev.example/${port}/cb" },
      { fixed: true, redirectUris: ["https://dev.example/BUSY/cb"] },
      "redirect_port_in_use",
    ],
    [
      "the app's own URI is none of a fixed client's",
      { redirectUri: "https://dev.example/cb" },
      { fixed: true, redirectUris: ["https://dev.example/other"] },
      "invalid_option",
    ],
  ];
  test.each(cases)("%s", async (_rule, options, request, outcome) => {
    const busy = await occupy();
    const busy6 = await occupy(0, "::1");
    const ports: Record<string, number> = { BUSY: busy, BUSY6: busy6, FREE: await freePort(), FREE2: await freePort() };
    const fill = <T>(value: object): T =>
      JSON.parse(
        JSON.stringify(value).replace(/"?\b(BUSY6|BUSY|FREE2|FREE)\b"?/g, (found, name: string) =>
          found.replace(/^"(.*)"$/, "$1").replace(name, String(ports[name])),
        ),
      ) as T;

    const session = await startSession(
      loopbackLogin(fill<LoopbackLoginOptions>(options)),
      fill<Partial<LoginHandlerRequest>>(request),
    ).catch((error: { code: string }) => error.code);
    if (typeof outcome === "string" || typeof session === "string") return expect(session).toBe(outcome);
    const port = Number(new URL(session.redirectUri).port);
    expect(session.redirectUris).toEqual(outcome.map((uri) => fill<[string]>([uri])[0].replace("ANY", String(port))));
    expect(session.redirectUri).toBe(session.redirectUris[0]);
    if (outcome[0]?.includes("ANY")) expect([busy, busy6]).not.toContain(port);
  });

  test("a failed start leaves no port taken", async () => {
    const [busy, free] = [await occupy(0, "::1"), await freePort()];
    await expect(startSession(loopbackLogin({ ports: [busy] }))).rejects.toMatchObject({ code: "redirect_port_in_use" });
    await occupy(busy, "127.0.0.1");
    await expect(startSession(loopbackLogin({ port: free }))).resolves.toBeDefined();
  });
});

describe("a proxy before the listener", () => {
  test("its name is accepted as Host, others are not; its path is the listener's unless one is given", async () => {
    const port = await freePort();
    const login = await waitingLogin({ redirectUri: "https://dev.example/auth/cb", port });
    const path = "/auth/cb?code=1&state=right";
    expect((await send(port, path, { host: "other.example" })).status).toBe(403);
    expect((await send(port, path, { host: "dev.example" })).status).toBe(200);
    expect(await login.outcome).toBe("ok");
  });

  test("a path of its own where the proxy rewrites it", async () => {
    const port = await freePort();
    const login = await waitingLogin({ redirectUri: "https://dev.example/auth/cb", callbackPath: "/callback", port });
    expect((await send(port, "/callback?code=1&state=right")).status).toBe(200);
    expect(await login.outcome).toBe("ok");
  });
});

test.each<[LoopbackLoginOptions]>([
  [{ port: -1 }],
  [{ port: 65_536 }],
  [{ port: 1.5 }],
  [{ ports: [] }],
  [{ callbackPath: "callback" }],
  [{ callbackPath: "/a?b" }],
  [{ callbackPath: "/a#b" }],
  [{ callbackPath: "/a/../b" }],
  [{ redirectUri: "not a url" }],
  [{ redirectUri: "http://dev.example/cb" }],
  [{ redirectUri: "myapp://cb" }],
])("%o is an invalid option", (options) => {
  expect(() => loopbackLogin(options)).toThrow(expect.objectContaining({ code: "invalid_option" }));
});
