/** Options of the functions of `mcp-client-auth/node`: what cannot be is refused when it is passed, before anything is loaded or opened. */
import { describe, expect, test, vi } from "vitest";
import { MemoryStore } from "../../src/index.ts";
import { idleCertificateOptions } from "../../src/node/client-certificate.ts";
import { idleAuthOptions } from "../../src/node/create-mcp-auth.ts";
import {
  type ClientCertificate,
  createMcpAuth,
  createMcpAuths,
  type EnvironmentOptions,
  fromEnvironment,
  importFromMcpRemote,
  type KeychainStoreOptions,
  keychainStore,
  type LoopbackLoginOptions,
  loopbackLogin,
  type McpAuthOptions,
  type McpAuthsOptions,
  type McpRemoteImportOptions,
  type MutualTlsOptions,
  mutualTls,
  type OpenBrowserOptions,
  openBrowser,
  type PasteLoginOptions,
  pasteLogin,
  printDeviceCode,
  type SqliteStoreOptions,
  type StdioServerOptions,
  sqliteStore,
  stdioServer,
} from "../../src/node/index.ts";
import { idleListenerOptions } from "../../src/node/login/options.ts";
import { createCertificateAuthority } from "../fixture/index.ts";
import { describeOptions, secret } from "../option-table.ts";

const serverUrl = "https://mcp.example/mcp";
const store = new MemoryStore();

const counts = [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, "16"] as const;
const badTimeouts = [0, -1, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 31, "1000"] as const;
const badPlace = {
  app: ["", `../${secret}`, "a/b", "a\\b", ".hidden", "a\0b", "x".repeat(101), 1],
  folder: ["", secret, "./here", 1],
  keychain: [true, "off", {}, { getPassword() {} }],
  keychainTimeout: badTimeouts,
} as const;
const badListener = {
  port: [-1, 65_536, 99_999, 1.5, "8080", Number.NaN],
  ports: [8080, [], [8080, -1], ["8080"]],
  redirectHost: ["127.0.0.2", secret],
  callbackPath: ["", "callback", "/a?b", "/a#b", "/a/../b", "/a b", 1],
  redirectUri: [secret, "http://dev.example/cb", "myapp://cb", 1],
  bindAddress: ["", 1],
  page: ["<p>", {}],
  clientName: ["", 1],
} as const;
const badSession = {
  store: [{}, "sqlite", { get() {}, set() {} }],
  fetch: ["x", {}],
  requestTimeout: badTimeouts,
  maxTokenRequests: counts,
  allowInsecure: ["mcp.example", [1], [""]],
  keepFresh: ["yes", 1],
  onEvent: [{}, secret],
  clock: [{}, Date, { now: Date.now }],
} as const;
const badStrings = ["", 1, {}] as const;
const badScopes = ["read write", ["read write"], [""], [1]] as const;
const handler = { start: async () => Promise.reject(new Error()) };

const badAuth = {
  ...badPlace,
  ...badListener,
  ...badSession,
  keychainFailure: ["key", true],
  openBrowser: ["firefox"],
  print: [console, true],
  account: badStrings,
  strictIssuer: ["true", 0],
  issuerAlias: ["https://a", { expected: "a" }],
  authorizationEndpoint: [1],
  tokenEndpoint: [1],
  metadataUrl: [1],
  assumePkce: ["https://a"],
  resourceParameter: ["false"],
  loginHandler: [{}, () => {}],
  onDeviceCode: [{}],
  interactive: ["no", 1],
  loginTimeout: badTimeouts,
  loginPendingTimeout: badTimeouts,
  clientMetadata: ["{}", []],
  clientId: badStrings,
  clientSecret: badStrings,
  privateKey: ["", 1, []],
  keyId: badStrings,
  tokenEndpointAuthMethod: ["private_key_jwt", secret],
  clientMetadataUrl: badStrings,
  redirectUris: ["http://127.0.0.1/callback", [1]],
  scopes: badScopes,
  issuer: badStrings,
  chooseAuthorizationServer: ["https://as.example"],
  speculate: [1],
  authorizationParameters: [[], "prompt=login", { prompt: 1 }],
  refreshScope: ["read"],
  bearer: ["refresh_token", true],
} as const;
const idleAuth: readonly [typeof idleAuthOptions, Partial<McpAuthsOptions>] = [
  idleAuthOptions,
  {
    ...{ app: "acme", folder: "/tmp", keychain: false, keychainTimeout: 1, keychainFailure: "error", store },
    ...{ port: 1, ports: [1], callbackPath: "/", redirectUri: "https://a.example", redirectHost: "localhost", bindAddress: "::1" },
    ...{ page: () => "", openBrowser: async () => {}, print: () => {}, loginHandler: handler },
    ...{ clientId: "a", clientMetadata: {}, clientMetadataUrl: "https://a.example/b" },
    ...{ clientSecret: "a", privateKey: { kty: "EC" }, tokenEndpointAuthMethod: "none" },
    ...{ metadataUrl: "https://a.example/m", authorizationEndpoint: "https://a.example/a" },
  },
];

describeOptions<McpAuthOptions>({
  name: "createMcpAuth",
  call: (options) => createMcpAuth(serverUrl, options),
  needed: {},
  bad: badAuth,
  idle: idleAuth,
});

const { account: _, ...badAuths } = badAuth;
describeOptions<McpAuthsOptions>({
  name: "createMcpAuths",
  call: (options) => createMcpAuths(serverUrl, options),
  needed: {},
  bad: badAuths,
  idle: idleAuth,
});

describeOptions<EnvironmentOptions>({
  name: "fromEnvironment",
  call: (options) => fromEnvironment(options),
  needed: {},
  bad: badSession,
});

describeOptions<LoopbackLoginOptions>({
  name: "loopbackLogin",
  call: (options) => loopbackLogin(options),
  needed: {},
  bad: { ...badListener, openBrowser: ["firefox"], print: [console] },
  idle: [idleListenerOptions, { port: 1, ports: [1], redirectHost: "localhost", redirectUri: "https://a.example" }],
});

describeOptions<PasteLoginOptions>({
  name: "pasteLogin",
  call: (options) => pasteLogin(options),
  needed: {},
  bad: { ...badListener, input: [{}, "stdin"], print: [console], env: ["SSH_CONNECTION", []] },
  idle: [idleListenerOptions, { port: 1, ports: [1], redirectHost: "localhost", redirectUri: "https://a.example" }],
});

describeOptions<OpenBrowserOptions>({
  name: "openBrowser",
  call: (options) => openBrowser(new URL("https://as.example"), options),
  needed: {},
  bad: { allowInsecure: badSession.allowInsecure },
});

describeOptions<SqliteStoreOptions>({
  name: "sqliteStore",
  call: (options) => sqliteStore(options),
  needed: {},
  bad: { ...badPlace, keychainFailure: ["key", true], onEvent: badSession.onEvent },
});

describeOptions<KeychainStoreOptions>({
  name: "keychainStore",
  call: (options) => keychainStore(options),
  needed: {},
  bad: { ...badPlace, fallback: ["sqlite", false], partSize: [0, 99, Number.NaN, "1280"], onEvent: badSession.onEvent },
});

describeOptions<MutualTlsOptions>({
  name: "mutualTls",
  call: (options) => mutualTls(() => ({}), options),
  needed: {},
  bad: { clock: badSession.clock },
});

describeOptions<ClientCertificate>({
  name: "the certificate of mutualTls",
  call: (certificate) => mutualTls(certificate),
  needed: {},
  bad: {
    cert: ["", new Uint8Array(), 1, [secret]],
    key: ["", { key: secret }],
    pfx: ["", true],
    passphrase: [1, new Uint8Array(1)],
    ca: ["", [], [""], [1], {}],
  },
  idle: [idleCertificateOptions, { cert: "x", key: "x", pfx: "x" }],
});

describeOptions<StdioServerOptions>({
  name: "stdioServer",
  call: (options) => stdioServer(options),
  needed: { command: "acme" },
  bad: {
    command: ["", ["acme"]],
    args: ["--stdio", [1]],
    credentials: [secret, [secret]],
    inherit: ["PATH", [1]],
    cwd: ["", new URL("file:///tmp")],
  },
});

describeOptions<McpRemoteImportOptions>({
  name: "importFromMcpRemote",
  call: (options) => importFromMcpRemote(serverUrl, options),
  needed: { store },
  bad: {
    store: badSession.store,
    fetch: badSession.fetch,
    allowInsecure: badSession.allowInsecure,
    onEvent: badSession.onEvent,
    clock: badSession.clock,
    account: badStrings,
    strictIssuer: ["true"],
    tokenEndpointAuthMethod: ["private_key_jwt"],
    issuer: badStrings,
    clientId: badStrings,
    clientSecret: badStrings,
    clientMetadataUrl: badStrings,
    folder: badStrings,
    resource: ["mcp", secret, 1],
    authorizationParameters: ["prompt=login", { prompt: 1 }],
    headers: [["X-Key: 1"], { "X-Key": 1 }],
    overwrite: ["yes"],
  },
});

describe("what is not among the options", () => {
  test.each([undefined, null, "https://as.example", {}])("openBrowser(%j): a URL is needed", async (url) => {
    await expect(openBrowser(url as URL)).rejects.toMatchObject({ code: "invalid_option" });
  });

  test.each<[option: string, values: readonly unknown[]]>([
    ["prompt", [{ userCode: "ABCD" }]],
    ["prompt", [secret]],
    ["print", [{ userCode: "ABCD", verificationUri: "https://as.example/device" }, console]],
    ["clock", [{ userCode: "ABCD", verificationUri: "https://as.example/device" }, () => {}, Date]],
  ])("printDeviceCode: %s", (option, values) => {
    const refused = { code: "invalid_option", message: expect.stringContaining(`\`${option}\` must be`) };
    expect(() => printDeviceCode(...(values as Parameters<typeof printDeviceCode>))).toThrow(expect.objectContaining(refused));
  });

  test.each<[what: string, open: () => unknown]>([
    ["a file for the key, where the keychain fails", () => sqliteStore({ app: "acme", keychainFailure: "key-file" })],
    ["the keychain's error", () => sqliteStore({ app: "acme", keychainFailure: "error" })],
    ["a database, where the keychain fails", () => keychainStore({ app: "acme", fallback: "key-file" })],
    ["the keychain's error there", () => keychainStore({ app: "acme", fallback: "error" })],
    ["the shortest entries", () => keychainStore({ app: "acme", partSize: 100 })],
  ])("%s may be asked for", (_what, open) => {
    expect(open).not.toThrow();
  });

  test.each(["", null, 5, []])("%j for options", (options) => {
    const refused = expect.objectContaining({ code: "invalid_option", message: expect.stringContaining("the options must be an object") });
    for (const entry of [sqliteStore, keychainStore, loopbackLogin, pasteLogin]) expect(() => entry(options as object)).toThrow(refused);
  });

  test("nothing of the environment makes an option wrong: where the keychain is off, a program may say how long it waits", () => {
    vi.stubEnv("MCP_AUTH_KEYCHAIN", "off");
    expect(() => sqliteStore({ keychainTimeout: 5000 })).not.toThrow();
    vi.unstubAllEnvs();
  });

  test("a certificate that is read is checked as one that is given", async () => {
    const robot = createCertificateAuthority().client({ name: "robot" });
    const fetch = mutualTls(() => ({ ...robot, passPhrase: secret }) as typeof robot);
    await expect(fetch("https://mcp.example")).rejects.toMatchObject({ message: expect.stringContaining("`passphrase` is one") });
  });
});
