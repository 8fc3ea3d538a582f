/** A user who switches from mcp-remote need not log in again. Every file here was written by the real mcp-remote. */
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { inspect } from "node:util";
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { type AuthEvent, MemoryStore, TokenManager } from "../../../src/index.ts";
import { createMcpAuth, importFromMcpRemote, type McpRemoteImportOptions, sqliteStore } from "../../../src/node/index.ts";
import {
  type ProtectedServer,
  type ProtectedServerOptions,
  person,
  registerByHand,
  startAuthorizationServer,
} from "../../fixture/index.ts";
import { callTool, codeOf, connect, endLogin, failure, manager, post, seed, shiftedClock, WatchedStore } from "../../storm/support.ts";
import { copyOf, type Leftovers, mcpRemote, startServer, temporaryFolder } from "./support.ts";

/** A login by mcp-remote that no test spends: each has a copy of it. */
let shared: { server: ProtectedServer; left: Leftovers; home: string };

beforeAll(async () => {
  const [server, home] = [await startServer(), mkdtempSync(join(tmpdir(), "mcp-remote-"))];
  shared = { server, left: await mcpRemote(server, home), home };
});

afterAll(async () => {
  await shared.server.close();
  rmSync(shared.home, { recursive: true });
});

/** What mcp-remote left behind after a login, and a store of ours without any. */
function found() {
  const { server } = shared;
  server.reset();
  onTestFinished(() => server.mcpServer.moveTo(server.authorizationServer));
  return begin(server, copyOf(shared.left, temporaryFolder()));
}

/** The same with a server and a login of its own, which may be refreshed. */
async function switching(options: string[] = []) {
  const server = await startServer();
  onTestFinished(() => server.close());
  const left = await mcpRemote(server, temporaryFolder(), options);
  server.reset();
  return begin(server, left);
}

function begin(server: ProtectedServer, left: Leftovers) {
  const store = new MemoryStore();
  const take = (more: Partial<McpRemoteImportOptions> = {}) => importFromMcpRemote(server.url, { store, folder: left.folder, ...more });
  return { server, as: server.authorizationServer, left, store, take };
}

/** A version that notes neither issuer nor expiry. */
function asOfLongAgo(left: Leftovers): void {
  left.edit("client_info.json", ({ issuer: _, ...json }) => json);
  left.edit("tokens.json", ({ issuer: _, expires_at: __, requested_scope: ___, ...json }) => json);
  left.moveTo("0.1.29");
}

/** Nor do its tokens say where they come from. They are of no use at the server then, but that is not asked. */
function withOpaqueTokens(left: Leftovers): void {
  left.edit("tokens.json", (json) => ({ ...json, access_token: "opaque" }));
  asOfLongAgo(left);
}

test("a tool call without a login, then a refresh, and the next login needs no registration", async () => {
  const { server, as, left, store, take } = await switching();
  const before = left.snapshot();
  const result = await take();
  expect(result).toEqual({
    tokens: true,
    refreshable: true,
    registration: true,
    files: [left.file("tokens.json"), left.file("client_info.json")],
    problems: [],
    notice: expect.stringContaining("Do not use mcp-remote for this server any more"),
  });
  expect(left.snapshot(), "mcp-remote's folder").toEqual(before);

  const clock = shiftedClock();
  const { auth, types } = manager(server, { store, clock });
  const client = await connect(server.url, auth.fetch);
  expect(await callTool(client, "add", { a: 2, b: 3 })).toBe(5);
  expect(as.tokenRequests()).toHaveLength(0);

  clock.shift(119_000);
  expect(await callTool(client, "add", { a: 4, b: 5 })).toBe(9);
  expect(as.tokenRequests().map(({ grantType, status }) => [grantType, status])).toEqual([["refresh_token", 200]]);
  expect(as.liveLogins).toBe(1);

  await endLogin(auth, store);
  const again = createMcpAuth(server.url, {
    store,
    interactive: true,
    print: () => {},
    openBrowser: async (url) => void (await person(url)),
  });
  onTestFinished(() => again.dispose());
  expect(await again.authorize()).toBe("authorized");
  expect(as.registrations).toEqual([]);
  expect(types()).not.toContain("login.started");
});

test("an access token that has expired meanwhile is refreshed by the first call, with no login", async () => {
  const { server, as, left, store, take } = await switching();
  left.edit("tokens.json", (json) => ({ ...json, expires_at: Date.now() - 86_400_000 }));
  expect(await take()).toMatchObject({ tokens: true, refreshable: true });
  expect(await post(manager(server, { store }).auth)).toBe(200);
  expect(as.tokenRequests("refresh_token")).toHaveLength(1);
});

test("tokens that mcp-remote itself has refreshed, which drops the issuer that it noted", async () => {
  const { server, as, left, store, take } = await switching();
  left.edit("tokens.json", ({ issuer: _, ...json }) => json);
  expect(await take()).toMatchObject({ tokens: true, refreshable: true });
  expect(await post(manager(server, { store, clock: later(119_000) }).auth)).toBe(200);
  expect(as.tokenRequests("refresh_token")).toHaveLength(1);
});

function later(ms: number) {
  const clock = shiftedClock();
  clock.shift(ms);
  return clock;
}

test.each<[string, string[], Partial<McpRemoteImportOptions>]>([
  ["headers, in another order", ["--header", "X-B: 2", "--header", "X-a:1"], { headers: { "X-a": "1", "X-B": "2" } }],
  // biome-ignore lint/suspicious/noTemplateCurlyInString: what users of mcp-remote write
  ["a header from the environment", ["--header", "X-Key: ${PATH}"], { headers: { "X-Key": "${PATH}" } }],
  ["a resource", ["--resource", "RESOURCE"], { resource: "RESOURCE" }],
  [
    "authorize parameters",
    ["--authorize-param", "prompt=consent", "--authorize-param", "acr=x=y"],
    { authorizationParameters: { acr: "x=y", prompt: "consent" } },
  ],
  [
    "all of them",
    ["--resource", "RESOURCE", "--authorize-param", "ui_locales=de", "--header", "X-Team: 7"],
    { resource: "RESOURCE", authorizationParameters: { ui_locales: "de" }, headers: { "X-Team": "7" } },
  ],
])("a login made with %s is found under the same options, and only there", async (_what, args, options) => {
  const server = await startServer();
  onTestFinished(() => server.close());
  const name = (text: string) => text.replace("RESOURCE", server.mcpServer.resource);
  const left = await mcpRemote(server, temporaryFolder(), args.map(name));
  const store = new MemoryStore();
  expect(await importFromMcpRemote(server.url, { store, folder: left.folder })).toMatchObject({ tokens: false, reason: "nothing-found" });
  const named = { ...options, ...(options.resource && { resource: name(options.resource) }) };
  expect(await importFromMcpRemote(server.url, { store, folder: left.folder, ...named })).toMatchObject({
    tokens: true,
    registration: true,
  });
  expect(await post(manager(server, { store }).auth)).toBe(200);
  expect(await post(manager(server, { store, clock: later(119_000) }).auth)).toBe(200);
});

test("a client that was registered beforehand, which mcp-remote keeps in no file", async () => {
  const server = await startServer();
  onTestFinished(() => server.close());
  const clientId = await registerByHand(server.authorizationServer, { redirect_uris: ["http://localhost/oauth/callback"] });
  const left = await mcpRemote(server, temporaryFolder(), ["--static-oauth-client-info", JSON.stringify({ client_id: clientId })]);
  const [without, store] = [new MemoryStore(), new MemoryStore()];
  // What it was given to is unknown: the access token serves, the refresh token does not.
  expect(await importFromMcpRemote(server.url, { store: without, folder: left.folder })).toMatchObject({
    tokens: true,
    refreshable: false,
    registration: false,
    reason: "client-unknown",
  });
  expect(await post(manager(server, { store: without }).auth)).toBe(200);
  expect(await importFromMcpRemote(server.url, { store, folder: left.folder, clientId })).toMatchObject({
    tokens: true,
    refreshable: true,
  });
  expect(await post(manager(server, { store, clientId, clock: later(119_000) }).auth)).toBe(200);
});

test("a registration with a secret, as servers want that know no public clients", async () => {
  const server = await startServer();
  onTestFinished(() => server.close());
  const { authorizationServer: as } = server;
  as.metadataPatch = { token_endpoint_auth_methods_supported: ["client_secret_post"] };
  const left = await mcpRemote(server, temporaryFolder());
  const store = new MemoryStore();
  expect(await importFromMcpRemote(server.url, { store, folder: left.folder })).toMatchObject({ tokens: true, registration: true });
  expect(await post(manager(server, { store, clock: later(119_000) }).auth)).toBe(200);
  expect(as.tokenRequests("refresh_token").map(({ status, form }) => [status, form.has("client_secret")])).toEqual([[200, true]]);
});

test.each<[string, ProtectedServerOptions]>([
  ["metadata only where its challenge says", { mcpServer: { resourceMetadata: "other" } }],
  ["an authorization server of 2025-03-26", { sameOrigin: true, mcpServer: { resourceMetadata: "none" } }],
  [
    "one of 2025-03-26 without metadata",
    { sameOrigin: true, mcpServer: { resourceMetadata: "none" }, authorizationServer: { metadata: "none" } },
  ],
])("a server with %s", async (_what, options) => {
  const server = await startServer(options);
  onTestFinished(() => server.close());
  // Without metadata of the resource mcp-remote names none.
  server.authorizationServer.defaultResource = server.mcpServer.resource;
  const left = await mcpRemote(server, temporaryFolder());
  const store = new MemoryStore();
  expect(await importFromMcpRemote(server.url, { store, folder: left.folder })).toMatchObject({ tokens: true, refreshable: true });
  expect(await post(manager(server, { store }).auth)).toBe(200);
  expect(await post(manager(server, { store, clock: later(119_000) }).auth)).toBe(200);
  expect(server.authorizationServer.tokenRequests("refresh_token").map(({ status }) => status)).toEqual([200]);
});

test("into the store on disk that `createMcpAuth` uses: the next start finds the login", async () => {
  const { server, left } = found();
  const place = { app: "acme", folder: temporaryFolder(), keychain: false } as const;
  const store = sqliteStore(place);
  expect(await importFromMcpRemote(server.url, { store, folder: left.folder })).toMatchObject({ tokens: true });
  const auth = createMcpAuth(server.url, { ...place, interactive: false });
  onTestFinished(() => auth.dispose());
  expect(await post(auth)).toBe(200);
});

describe("the folder", () => {
  test("of MCP_REMOTE_CONFIG_DIR, else ~/.mcp-auth", async () => {
    const { left, store, take } = found();
    vi.stubEnv("MCP_REMOTE_CONFIG_DIR", left.folder);
    expect(await take({ folder: undefined })).toMatchObject({ tokens: true });
    vi.stubEnv("MCP_REMOTE_CONFIG_DIR", "");
    vi.stubEnv("HOME", dirname(left.folder));
    vi.stubEnv("USERPROFILE", dirname(left.folder));
    expect(await take({ folder: undefined, overwrite: true })).toMatchObject({ reason: "nothing-found" });
    renameSync(left.folder, join(dirname(left.folder), ".mcp-auth"));
    expect(await take({ folder: undefined, overwrite: true })).toMatchObject({ tokens: true });
    expect(await store.keys("tokens/")).toHaveLength(1);
  });

  test("of a version of long ago; of several the newest", async () => {
    const { left, take, server, store } = found();
    left.moveTo("0.1.29");
    const [tokens, client] = [left.file("tokens.json"), left.file("client_info.json")];
    for (const version of ["0.1.3", "0.1.9"]) {
      const older = join(left.folder, `mcp-remote-${version}`);
      mkdirSync(older);
      writeFileSync(join(older, basename(tokens)), JSON.stringify({ access_token: version, refresh_token: version }));
      copyFileSync(client, join(older, basename(client)));
    }
    expect(await take()).toMatchObject({ tokens: true, files: [tokens, client] });
    expect(await post(manager(server, { store }).auth)).toBe(200);
  });

  test("a login whose file mcp-remote named after the URL as typed is found however the app writes it", async () => {
    const { left, server } = found();
    const typed = server.url.replace("http://", "HTTP://");
    const store = new MemoryStore();
    expect(await importFromMcpRemote(new URL(typed), { store, folder: left.folder })).toMatchObject({ tokens: true });
    expect(await importFromMcpRemote(`${server.url}/other`, { store, folder: left.folder })).toMatchObject({ reason: "nothing-found" });
  });
});

describe("the refresh token goes to the authorization server that gave it, or nowhere", () => {
  test("a version that notes no issuer: the token's own `iss` tells", async () => {
    const { server, left, store, take } = await switching();
    asOfLongAgo(left);
    expect(await take()).toMatchObject({ tokens: true, refreshable: true, registration: true });
    expect(await post(manager(server, { store, clock: later(119_000) }).auth)).toBe(200);
  });

  test("nothing tells: the access token alone, until the app names the issuer", async () => {
    const { as, left, store, take } = found();
    withOpaqueTokens(left);
    const alone = await take();
    expect(alone).toMatchObject({ tokens: true, refreshable: false, registration: false, reason: "issuer-unknown" });
    expect(alone.notice).toBeUndefined();
    const [key = ""] = await store.keys("tokens/");
    expect(await store.get(key)).toMatchObject({ accessToken: "opaque", issuer: "" });
    expect(await store.get(key)).not.toHaveProperty("refreshToken");
    expect(await take({ overwrite: true, issuer: as.issuer })).toMatchObject({ tokens: true, refreshable: true, registration: true });
    expect(await store.get(key)).toMatchObject({ refreshToken: expect.any(String), issuer: as.issuer });
  });

  test("nothing tells, and the access token has expired: a login is needed, and why is said", async () => {
    const { left, store, take } = found();
    withOpaqueTokens(left);
    const file = left.file("tokens.json");
    // Its lifetime counts from when the file was written.
    utimesSync(file, new Date(), new Date(Date.now() - 121_000));
    expect(await take()).toMatchObject({ tokens: false, registration: false, reason: "issuer-unknown" });
    expect(await store.keys("")).toEqual([]);
  });

  test("the server has moved to another authorization server: nothing of the old login is shown there", async () => {
    const { server, left, store, take } = found();
    await using other = await startAuthorizationServer();
    server.mcpServer.moveTo(other);
    expect(await take()).toMatchObject({ tokens: false, registration: false, reason: "other-issuer" });
    withOpaqueTokens(left);
    expect(await take({ issuer: server.authorizationServer.issuer })).toMatchObject({ tokens: false, reason: "other-issuer" });
    expect(await store.keys("")).toEqual([]);
    expect(other.tokenRequests()).toEqual([]);
  });

  test("a server with several authorization servers: the one that gave the login", async () => {
    const { server, as, store, take } = await switching();
    await using other = await startAuthorizationServer();
    server.mcpServer.moveTo(other, as);
    expect(await take({ issuer: other.issuer }), "the app wants the other one").toMatchObject({ tokens: false, reason: "other-issuer" });
    expect(await take()).toMatchObject({ tokens: true, refreshable: true });
    expect(await post(manager(server, { store, clock: later(119_000) }).auth)).toBe(200);
    expect(other.tokenRequests()).toEqual([]);
  });

  test("a registration at another server than the tokens': the refresh token is not sent with it", async () => {
    const { left, take } = found();
    left.edit("client_info.json", (json) => ({ ...json, issuer: "https://elsewhere.example" }));
    expect(await take()).toMatchObject({ tokens: true, refreshable: false, registration: false, reason: "client-unknown" });
  });
});

describe("a login of ours", () => {
  test("is not overwritten, and nothing is asked; another account takes the import", async () => {
    const { server, store, take } = found();
    await seed(server, store);
    const [key = ""] = await store.keys("tokens/");
    const ours = await store.get(key);
    server.mcpServer.requests.length = 0;
    expect(await take()).toMatchObject({ tokens: false, registration: false, reason: "already-logged-in" });
    expect(server.requests).toEqual([]);
    expect(await store.get(key)).toEqual(ours);
    expect(await take({ account: "second" })).toMatchObject({ tokens: true });
    expect(await store.get(key)).toEqual(ours);
    expect(await take({ overwrite: true })).toMatchObject({ tokens: true });
    expect(await store.get(key)).not.toEqual(ours);
  });

  test("that appears while the server is asked is not overwritten either", async () => {
    const { server, store, take } = found();
    const fetch: typeof globalThis.fetch = async (input, init) => {
      if ((await store.keys("tokens/")).length === 0) await seed(server, store);
      return globalThis.fetch(input, init);
    };
    expect(await take({ fetch })).toMatchObject({ tokens: false, registration: false, reason: "already-logged-in" });
    expect(await store.keys("registrations/")).toEqual([]);
  });

  test("that has ended is replaced", async () => {
    const { server, store, take } = found();
    const auth = new TokenManager({ serverUrl: server.url, store });
    await auth.setTokens({ accessToken: "over", expiresIn: 1 });
    expect(await take({ clock: later(2000) })).toMatchObject({ tokens: true, refreshable: true });
  });

  test("a registration of ours stays", async () => {
    const { as, store, take } = found();
    const ours = { v: 1, issuer: as.issuer, kind: "dynamic", clientId: "ours", tokenEndpointAuthMethod: "none", createdAt: Date.now() };
    await store.set(`registrations/${as.issuer}`, ours);
    expect(await take()).toMatchObject({ tokens: true, registration: false });
    expect(await store.get(`registrations/${as.issuer}`)).toEqual(ours);
  });
});

/** The path, where nothing is any more. */
function without(file: string): string {
  rmSync(file);
  return file;
}

describe("files that cannot be used leave the others usable", () => {
  test.each<[string, (file: string) => void, string]>([
    ["cut off", (file) => writeFileSync(file, '{"access_token":"secret'), "it is damaged"],
    ["empty", (file) => writeFileSync(file, ""), "it is damaged"],
    ["without any token", (file) => writeFileSync(file, "{}"), "it is damaged"],
    ["a folder", (file) => mkdirSync(without(file)), "it is not a file of mcp-remote"],
    ["far too large", (file) => writeFileSync(file, " ".repeat(2 ** 20 + 1)), "it is not a file of mcp-remote"],
    ["writable by everybody", (file) => chmodSync(file, 0o666), "everybody may write it"],
    ["a link in a circle", (file) => symlinkSync(file, without(file)), "ELOOP"],
  ])("tokens %s: the registration is taken, and an older login would be", async (_what, spoil, problem) => {
    const { left, take } = found();
    const [tokens, client] = [left.file("tokens.json"), left.file("client_info.json")];
    const older = join(left.folder, "mcp-remote-0.1.38");
    mkdirSync(older);
    for (const file of [tokens, client]) copyFileSync(file, join(older, basename(file)));
    spoil(tokens);
    const first = await take();
    expect(first).toMatchObject({ tokens: true, refreshable: true, files: [join(older, basename(tokens)), join(older, basename(client))] });
    expect(first.problems).toEqual([`${tokens}: ${problem}`]);
    rmSync(older, { recursive: true });
    const second = await take({ store: new MemoryStore() });
    expect(second).toMatchObject({ tokens: false, registration: true, files: [client] });
    rmSync(client);
    expect(await take({ store: new MemoryStore() })).toMatchObject({ tokens: false, reason: "unreadable", problems: first.problems });
  });

  test("of another user are not trusted: they may be another user's login", async () => {
    const { left, take } = found();
    const { getuid = () => 0 } = process;
    const user = getuid() + 1;
    vi.spyOn(process as { getuid: () => number }, "getuid").mockReturnValue(user);
    const { reason, problems } = await take();
    expect([reason, problems]).toEqual([
      "unreadable",
      [left.file("tokens.json"), left.file("client_info.json")].map((file) => `${file}: it belongs to another user`),
    ]);
  });

  test("links to one's own files are followed, as for a home folder that lies elsewhere", async () => {
    const { left, take } = found();
    const [tokens, moved] = [left.file("tokens.json"), join(dirname(left.folder), "moved")];
    renameSync(tokens, moved);
    symlinkSync(moved, tokens);
    expect(await take()).toMatchObject({ tokens: true, problems: [] });
  });

  test("a damaged registration: the access token is taken", async () => {
    const { server, left, store, take } = found();
    writeFileSync(left.file("client_info.json"), "{");
    expect(await take()).toMatchObject({ tokens: true, refreshable: false, reason: "client-unknown", problems: [expect.any(String)] });
    expect(await post(manager(server, { store }).auth)).toBe(200);
  });
});

test("an access token that has expired, without refresh token, is not worth keeping", async () => {
  const { left, store, take } = found();
  left.edit("tokens.json", ({ refresh_token: _, ...json }) => ({ ...json, expires_at: 1 }));
  expect(await take()).toMatchObject({ tokens: false, registration: true, reason: "expired" });
  expect(await store.keys("tokens/")).toEqual([]);
});

test("a store that does not write logins, a server that is away: an error, and the import can be repeated", async () => {
  const { server, store, take } = found();
  const full = new WatchedStore(store);
  full.beforeWrite = (key) => {
    if (key.startsWith("tokens/")) throw new Error("disk full");
  };
  expect((await failure(take({ store: full }))).code).toBe("store_failed");
  const offline = () => Promise.reject(new TypeError("fetch failed"));
  expect((await failure(take({ fetch: offline }))).code).toBe("network_error");
  expect(await store.keys("tokens/")).toEqual([]);
  expect(await take()).toMatchObject({ tokens: true });
  expect(await post(manager(server, { store }).auth)).toBe(200);
});

test("a store that takes nothing but the login: it is imported, the next one registers anew", async () => {
  const { server, store, take } = found();
  const full = new WatchedStore(store);
  full.beforeWrite = (key) => {
    if (!/^(tokens|index)\//.test(key)) throw new Error("disk full");
  };
  expect(await take({ store: full })).toMatchObject({ tokens: true, registration: false });
  expect(await post(manager(server, { store }).auth)).toBe(200);
});

test("no token in results, problems and events", async () => {
  const { left, take } = found();
  const events: AuthEvent[] = [];
  const { access_token, refresh_token } = JSON.parse(inspectable(left)) as Record<string, string>;
  const texts = [inspect(await take({ onEvent: (event) => events.push(event) }), { depth: 9 }), inspect(events, { depth: 9 })].join();
  expect(access_token?.length).toBeGreaterThan(9);
  for (const secret of [access_token, refresh_token]) expect(texts).not.toContain(secret);
});

function inspectable(left: Leftovers): string {
  const [{ text = "" } = {}] = (left.snapshot() as { path: string; text?: string }[]).filter(({ path }) => path.endsWith("_tokens.json"));
  return text;
}

test.each([
  ["a resource that is no URL", { resource: "mcp" }],
  ["a secret without its client", { clientSecret: "x" }],
  ["an account with a slash", { account: "a/b" }],
])("%s: invalid_option", async (_what, options) => {
  const error = await importFromMcpRemote("https://mcp.example.com", { store: new MemoryStore(), folder: "/nowhere", ...options }).catch(
    codeOf,
  );
  expect(error).toBe("invalid_option");
});
