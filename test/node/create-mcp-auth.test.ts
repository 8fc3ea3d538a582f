/** What `createMcpAuth` composes: its options reach the login on this machine. */
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { MemoryStore } from "../../src/index.ts";
import { createMcpAuth, type LoginOutcome, type McpAuthOptions } from "../../src/node/index.ts";
import { type PersonResult, type ProtectedServer, person, startProtectedServer } from "../fixture/index.ts";

let server: ProtectedServer;
beforeAll(async () => {
  server = await startProtectedServer();
});
afterAll(() => server.close());

/** A port that was free a moment ago. */
async function freePort(): Promise<number> {
  const { createServer } = await import("node:net");
  const probe = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => probe.once("listening", resolve));
  const { port } = probe.address() as { port: number };
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

/** Logs in; gives the redirect URI that was sent, and the page that the user saw. */
async function login(options: McpAuthOptions): Promise<{ redirectUri: URL; seen: PersonResult }> {
  const opened = Promise.withResolvers<{ url: URL; seen: Promise<PersonResult> }>();
  const openBrowser = async (url: URL) => opened.resolve({ url, seen: person(url) });
  const auth = createMcpAuth(server.url, { interactive: true, print: () => {}, openBrowser, ...options });
  onTestFinished(() => auth.dispose());
  expect(await auth.authorize()).toBe("authorized");
  const { url, seen } = await opened.promise;
  return { redirectUri: new URL(url.searchParams.get("redirect_uri") ?? ""), seen: await seen };
}

test("the store's events name the server as all others do, without its query", async () => {
  const servers: Record<string, string> = {};
  const onEvent: McpAuthOptions["onEvent"] = ({ type, serverUrl }) => {
    servers[type] = serverUrl;
  };
  const auth = createMcpAuth("https://MCP.example?key=private", { interactive: false, onEvent });
  onTestFinished(() => auth.dispose());
  await auth.setTokens({ accessToken: "a" });
  await auth.logout();
  expect(servers).toMatchObject({ "store.opened": "https://mcp.example/", "tokens.deleted": "https://mcp.example/" });
  expect(new Set(Object.values(servers)).size).toBe(1);
});

test("the page can be loaded again after the login, also after one that began with stored metadata; `dispose()` ends that", async () => {
  const callbacks: string[] = [];
  const openBrowser = async (url: URL) => {
    const { callbackUrl } = await person(url, { followCallback: false });
    callbacks.push(callbackUrl?.href ?? "");
    await fetch(callbackUrl?.href ?? "", { headers: { "sec-purpose": "prefetch" } });
  };
  const auth = createMcpAuth(server.url, { interactive: true, print: () => {}, openBrowser, store: new MemoryStore() });
  onTestFinished(() => auth.dispose());
  for (const scopes of [["mcp:read"], ["mcp:read", "mcp:write"]]) {
    await auth.authorize({ scopes });
    expect(await (await fetch(callbacks.at(-1) ?? "")).text()).toContain("You’re logged in");
  }
  expect(callbacks).toHaveLength(2);
  await auth.dispose();
  await expect.poll(() => fetch(callbacks.at(-1) ?? "").catch(() => "gone")).toBe("gone");
});

describe("options of the listener", () => {
  test("`port` and `callbackPath`", async () => {
    const port = await freePort();
    const { redirectUri } = await login({ port, callbackPath: "/back" });
    expect(redirectUri.href).toBe(`http://127.0.0.1:${port}/back`);
  });

  test("`ports`", async () => {
    const port = await freePort();
    expect((await login({ ports: [port] })).redirectUri.port).toBe(String(port));
  });

  test("`redirectHost`", async () => {
    expect((await login({ redirectHost: "localhost" })).redirectUri.hostname).toBe("localhost");
  });

  test("`redirectUri`, with the listener's port in it", async () => {
    // biome-ignore lint/suspicious/noTemplateCurlyInString: what apps write in the option
    expect((await login({ redirectUri: "http://localhost:${port}/proxied" })).redirectUri.pathname).toBe("/proxied");
  });

  test("`bindAddress`", async () => {
    const auth = createMcpAuth(server.url, { interactive: true, print: () => {}, openBrowser: async () => {}, bindAddress: "192.0.2.1" });
    onTestFinished(() => auth.dispose());
    await expect(auth.authorize()).rejects.toMatchObject({ code: "invalid_option" });
  });
});

describe("what the user sees at the end", () => {
  test("names the program", async () => {
    const { seen } = await login({ clientName: "Acme Agent" });
    expect([seen.status, seen.page]).toEqual([200, expect.stringContaining("Acme Agent")]);
  });

  test("is the app's own `page`, if it has one", async () => {
    const page = ({ kind, serverUrl, clientName }: LoginOutcome) => `<!doctype html><p>${kind} ${serverUrl} ${clientName}`;
    const { seen } = await login({ page, clientName: "Acme Agent" });
    expect(seen.page).toContain(`success ${server.url} Acme Agent`);
  });
});

describe("over SSH", () => {
  const ssh = () => {
    vi.stubEnv("SSH_CONNECTION", "192.0.2.7 50000 192.0.2.8 22");
    const lines: string[] = [];
    vi.spyOn(process.stderr, "write").mockImplementation((text) => lines.push(String(text)) > 0);
    return lines;
  };

  test("the address and the `ssh -L` line are printed, and no browser is opened here", async () => {
    const lines = ssh();
    const auth = createMcpAuth(server.url, { interactive: true });
    onTestFinished(() => auth.dispose());
    const login = auth.authorize();
    await expect.poll(() => lines.join("")).toMatch(/ssh -L (\d+):127\.0\.0\.1:\1 .*@192\.0\.2\.8/);
    await person(/^ {2}(http\S+)$/m.exec(lines.join(""))?.[1] ?? "");
    expect(await login).toBe("authorized");
  });

  test("an app that opens the browser by itself knows that there is one", async () => {
    const lines = ssh();
    await login({});
    expect(lines).toEqual([]);
  });
});

test("`interactive: false`: nobody is asked", async () => {
  const auth = createMcpAuth(server.url, { interactive: false });
  onTestFinished(() => auth.dispose());
  await expect(auth.authorize()).rejects.toMatchObject({ code: "login_required" });
});
