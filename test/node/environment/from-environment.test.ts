/** What the environment says is used as if it were said in code, at real servers; what is wrong with it is said at once. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { type AuthEvent, TokenManager } from "../../../src/index.ts";
import { MachineTokenManager } from "../../../src/machine/index.ts";
import { prefix, secretNames, textNames } from "../../../src/node/environment/variables.ts";
import { type EnvironmentOptions, fromEnvironment } from "../../../src/node/index.ts";
import { keyForms } from "../../client-auth/support.ts";
import {
  createCertificateAuthority,
  logInByHand,
  type ProtectedServerOptions,
  startAuthorizationServer,
  startGitHub,
  startWorkloadIssuer,
} from "../../fixture/index.ts";
import { toolRequest } from "../../fixture/tool-request.ts";
import { clientId, clientSecret, startServer } from "../../machine/support.ts";
import { failure } from "../../storm/support.ts";

beforeEach(() => {
  // The tests may themselves run in a CI job.
  for (const name of Object.keys(process.env))
    if (/^(ACTIONS_|GITHUB_|CI|MCP_AUTH_(?!DATA_DIR$|KEYCHAIN$))/.test(name)) vi.stubEnv(name, undefined);
});

type Variables = Record<string, string | undefined>;

/** Sets variables; their names are without prefix. */
function set(variables: Variables): void {
  for (const [name, value] of Object.entries(variables)) vi.stubEnv(`MCP_AUTH_${name}`, value);
}

async function start(variables: Variables, options: EnvironmentOptions = {}) {
  set(variables);
  const auth = await fromEnvironment(options);
  onTestFinished(() => auth.dispose());
  return auth;
}

async function whoami(auth: TokenManager | MachineTokenManager): Promise<Record<string, unknown>> {
  const response = await auth.fetch(auth.serverUrl, toolRequest("whoami"));
  const { result } = (await response.json()) as { result: { content: [{ text: string }] } };
  return JSON.parse(result.content[0].text);
}

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "mcp-client-auth-environment-"));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** A file with this text. */
function file(text: string): string {
  const path = join(folder(), "secret");
  writeFileSync(path, text);
  return path;
}

async function startFor(variables: (url: string) => Variables, options?: ProtectedServerOptions) {
  const server = await startServer(options);
  return { server, as: server.authorizationServer, auth: await start({ SERVER_URL: server.url, ...variables(server.url) }) };
}

describe("credentials of a program", () => {
  test("client ID and secret; each manager of the job finds the token that the first one got", async () => {
    const { server, as, auth } = await startFor(() => ({
      CLIENT_ID: clientId,
      CLIENT_SECRET: clientSecret,
      SCOPES: "mcp:read  mcp:write",
    }));
    expect(auth).toBeInstanceOf(MachineTokenManager);
    expect(await whoami(auth)).toMatchObject({ clientId, scopes: ["mcp:read", "mcp:write"] });
    const second = await start({ SERVER_URL: server.url });
    expect(await second.getAccessToken()).toBe(await auth.getAccessToken());
    expect(as.tokenRequests()).toHaveLength(1);
  });

  test("the method, the authorization server and the token endpoint", async () => {
    const { as, auth, server } = await startFor(() => ({
      CLIENT_ID: clientId,
      CLIENT_SECRET: clientSecret,
      TOKEN_ENDPOINT_AUTH_METHOD: "client_secret_post",
    }));
    await as.addClient({
      ...{ client_id: clientId, client_secret: clientSecret, grant_types: ["client_credentials"] },
      token_endpoint_auth_method: "client_secret_post",
    });
    await auth.authorize();
    expect(as.tokenRequests()[0]?.form.get("client_id")).toBe(clientId);
    server.requests.length = 0;
    const direct = await start({ ISSUER: as.issuer, TOKEN_ENDPOINT: `${as.issuer}/token`, RESOURCE: server.url, SCOPES: "mcp:read" });
    as.requests.length = 0;
    await direct.getAccessToken();
    expect(as.requests.map(({ path }) => path)).toEqual(["/token"]);
    expect(as.tokenRequests()[0]?.form.get("resource")).toBe(server.url);
  });

  test("a private key, in the variable with line breaks as text, or in a file", async () => {
    const key = await keyForms("PS256");
    const server = await startServer();
    await server.authorizationServer.addClient({
      ...{ client_id: clientId, grant_types: ["client_credentials"], token_endpoint_auth_method: "private_key_jwt" },
      jwks: { keys: [{ ...key.publicJwk, kid: "mine" }] },
    });
    const both = { SERVER_URL: server.url, CLIENT_ID: clientId, SIGNING_ALGORITHM: "PS256", KEY_ID: "mine" };
    const { PEM, JWK } = key.forms;
    expect(await whoami(await start({ ...both, PRIVATE_KEY: (PEM as string).replaceAll("\n", "\\n") }))).toMatchObject({ clientId });
    const inFile = { PRIVATE_KEY: undefined, PRIVATE_KEY_FILE: file(JSON.stringify(JWK)), AUDIENCE: server.authorizationServer.issuer };
    expect(await whoami(await start({ ...both, ...inFile, ACCOUNT: "another" }))).toMatchObject({ clientId });
    expect(server.authorizationServer.tokenRequests()).toHaveLength(2);
    const header = server.authorizationServer.tokenRequests()[0]?.form.get("client_assertion")?.split(".")[0] ?? "";
    expect(JSON.parse(atob(header))).toMatchObject({ alg: "PS256", kid: "mine" });
  });

  test("a client certificate, by which the client is known", async () => {
    const ca = createCertificateAuthority();
    const server = await startServer({ authorizationServer: { tls: ca }, mcpServer: { tls: ca, clientCertificates: "required" } });
    await server.authorizationServer.addClient({
      ...{ client_id: clientId, grant_types: ["client_credentials"], token_endpoint_auth_method: "tls_client_auth" },
      tls_client_auth_subject_dn: `CN=${clientId}`,
    });
    const { cert, key } = ca.client({ name: clientId });
    const auth = await start({
      SERVER_URL: server.url,
      CLIENT_ID: clientId,
      CLIENT_CERTIFICATE_FILE: file(String(cert)),
      CLIENT_CERTIFICATE_KEY_FILE: file(String(key)),
      CLIENT_CERTIFICATE_CA: String(ca.cert).replaceAll("\n", "\\n"),
    });
    expect(auth).toBeInstanceOf(MachineTokenManager);
    expect(await whoami(auth)).toMatchObject({ clientId });
  });

  test.each(["file", "gitlab", "kubernetes", "github"])("REQ-WIF-01 workload %s", async (kind) => {
    const workloads = await (kind === "github" ? startGitHub() : startWorkloadIssuer());
    onTestFinished(() => workloads.close());
    const server = await startServer({ authorizationServer: { trust: { workloads: [workloads] } } });
    const { authorizationServer: as } = server;
    const jwt = await workloads.sign({ aud: as.issuer, sub: "the-job" });
    const more: Variables = { file: { WORKLOAD: `file:${file(jwt)}` }, gitlab: { WORKLOAD: kind, ID_TOKEN: jwt } }[kind] ?? {
      WORKLOAD: kind,
    };
    if ("variables" in workloads) for (const [name, value] of Object.entries(workloads.variables as Variables)) vi.stubEnv(name, value);
    const auth = await start({ SERVER_URL: server.url, ...more });
    if (kind === "kubernetes") {
      // The pod's folder is not here: the path that it should have is told.
      const error = await failure(auth.authorize());
      expect(error).toMatchObject({ code: "assertion_unavailable", message: expect.stringContaining("/var/run/secrets/tokens/mcp") });
      return;
    }
    expect(await whoami(auth)).toMatchObject({ sub: kind === "github" ? "repo:acme/app:ref:refs/heads/main" : "the-job" });
  });

  test("an audience for GitHub's ID token", async () => {
    const gitHub = await startGitHub();
    onTestFinished(() => gitHub.close());
    const server = await startServer({ authorizationServer: { trust: { workloads: [gitHub] } } });
    for (const [name, value] of Object.entries(gitHub.variables)) vi.stubEnv(name, value);
    const audience = `${server.authorizationServer.issuer}/token`;
    const auth = await start({ SERVER_URL: server.url, WORKLOAD: "github", AUDIENCE: audience });
    await auth.authorize().catch(() => {});
    expect(gitHub.requests[0]?.query.get("audience")).toBe(audience);
  });

  test("a job that may not ask for ID tokens is told so, not that an option is missing", async () => {
    const server = await startServer({ authorizationServer: { trust: {} } });
    const auth = await start({ SERVER_URL: server.url, WORKLOAD: "github" });
    expect(await failure(auth.authorize())).toMatchObject({
      code: "assertion_unavailable",
      hint: expect.stringContaining("id-token: write"),
    });
  });

  test("REQ-EMA-01 a user's sign-on at the company's identity provider", async () => {
    const idp = await startAuthorizationServer({ trust: {}, account: "alice@acme.example" });
    onTestFinished(() => idp.close());
    const server = await startServer({ authorizationServer: { trust: { identityProviders: [idp] } } });
    const { authorizationServer: as } = server;
    idp.trust = { audiences: { [as.issuer]: { clientId } } };
    const exchange = "urn:ietf:params:oauth:grant-type:token-exchange";
    await idp.addClient({
      ...{ client_id: "agent", client_secret: "the-secret-at-the-provider", application_type: "native", response_types: ["code"] },
      ...{ redirect_uris: ["http://127.0.0.1:1/callback"], grant_types: ["authorization_code", "refresh_token", exchange] },
    });
    const jwtBearer = "urn:ietf:params:oauth:grant-type:jwt-bearer";
    await as.addClient({ client_id: clientId, client_secret: clientSecret, grant_types: [jwtBearer] });
    const atIdp = { clientId: "agent", clientSecret: "the-secret-at-the-provider" };
    const signOn = await logInByHand(idp, { ...atIdp, resource: "https://acme.example/sign-on", scope: "openid offline_access" });
    const auth = await start({
      SERVER_URL: server.url,
      CLIENT_ID: clientId,
      CLIENT_SECRET: clientSecret,
      IDP_ISSUER: idp.issuer,
      IDP_CLIENT_ID: "agent",
      IDP_CLIENT_SECRET_FILE: file("the-secret-at-the-provider\n"),
      ID_TOKEN_FILE: file(String(signOn.idToken)),
    });
    expect(await whoami(auth)).toMatchObject({ sub: "alice@acme.example", clientId });
  });
});

describe("secrets in files", () => {
  test("a line break at the end is no part of it; a secret that is rotated is read again", async () => {
    const path = file(`${clientSecret}\r\n`);
    const { server, as, auth } = await startFor(() => ({ CLIENT_ID: clientId, CLIENT_SECRET_FILE: path }));
    await auth.getAccessToken();
    await as.setSecret(clientId, "another, longer secret");
    writeFileSync(path, "another, longer secret\n");
    server.mcpServer.revokeAll();
    expect(await whoami(auth)).toMatchObject({ clientId });
  });

  test("one that is gone while the program runs", async () => {
    const path = file(clientSecret);
    const { auth } = await startFor(() => ({ CLIENT_ID: clientId, CLIENT_SECRET_FILE: path }));
    rmSync(path);
    expect(await failure(auth.authorize())).toMatchObject({ code: "invalid_environment", message: expect.stringContaining(path) });
  });

  test.each<[string, (path: string) => void, string]>([
    ["is not there", () => {}, "cannot be read (ENOENT)"],
    ["is empty", (path) => writeFileSync(path, "\n"), "is empty"],
    ["is too large", (path) => writeFileSync(path, "x".repeat(65_537)), "is larger than 65536 bytes"],
    ["is a folder", (path) => mkdirSync(path), "is not a file"],
  ])("one that %s", async (_what, make, expected) => {
    const path = join(folder(), "secret");
    make(path);
    const error = await failure(start({ SERVER_URL: "https://mcp.example", CLIENT_ID: "robot", CLIENT_SECRET_FILE: path }));
    expect(error.code).toBe("invalid_environment");
    expect(error.message).toContain(`MCP_AUTH_CLIENT_SECRET_FILE: ${path} ${expected}`);
  });
});

describe("without credentials of a program", () => {
  test("it is a user's login, which nobody is asked for in CI", async () => {
    vi.stubEnv("CI", "true");
    const server = await startServer();
    // What is not set in a job is often empty.
    const auth = await start({ SERVER_URL: server.url, CLIENT_SECRET: "", WORKLOAD: "", CLIENT_NAME: "Robot", ACCOUNT: "work" });
    expect(auth).toBeInstanceOf(TokenManager);
    expect(await failure(auth.authorize())).toMatchObject({ code: "login_required" });
  });

  test("account, scopes and client reach it", async () => {
    const server = await startServer();
    const auth = await start({ SERVER_URL: server.url, ACCOUNT: "work" });
    if (!(auth instanceof TokenManager)) throw new Error("no TokenManager");
    await auth.setTokens({ accessToken: "a", issuer: server.authorizationServer.issuer });
    expect((await auth.accounts()).map(({ account }) => account)).toEqual(["work"]);
  });
});

describe("what is wrong is told at once, by name", () => {
  const robot = { SERVER_URL: "https://mcp.example", CLIENT_ID: "robot" };
  const secret = "the-secret-that-nobody-may-see";
  const idp = { IDP_ISSUER: "https://idp.example", IDP_CLIENT_ID: "agent", ID_TOKEN: secret };
  test.each<[string, Variables, string[]]>([
    ["nothing", {}, ["SERVER_URL is missing"]],
    ["a secret alone", { CLIENT_SECRET: secret }, ["SERVER_URL is missing", "CLIENT_SECRET needs MCP_AUTH_CLIENT_ID"]],
    [
      "secret and file",
      { ...robot, CLIENT_SECRET: secret, CLIENT_SECRET_FILE: "/x" },
      ["CLIENT_SECRET and MCP_AUTH_CLIENT_SECRET_FILE exclude"],
    ],
    ["secret and key", { ...robot, CLIENT_SECRET: secret, PRIVATE_KEY: "{}" }, ["CLIENT_SECRET and MCP_AUTH_PRIVATE_KEY exclude"]],
    ["workload and secret", { ...robot, CLIENT_SECRET: secret, WORKLOAD: "github" }, ["WORKLOAD and MCP_AUTH_CLIENT_SECRET exclude"]],
    ["workload and sign-on", { ...robot, ...idp, WORKLOAD: "github" }, ["WORKLOAD and MCP_AUTH_IDP_ISSUER exclude"]],
    ["an unknown workload", { ...robot, WORKLOAD: secret }, ["WORKLOAD must be github, gitlab, kubernetes or file:<path>"]],
    ["an audience that cannot be chosen", { ...robot, WORKLOAD: "gitlab", AUDIENCE: secret }, ["AUDIENCE has no effect"]],
    [
      "an audience of nothing",
      { ...robot, CLIENT_SECRET: secret, AUDIENCE: secret },
      ["AUDIENCE needs MCP_AUTH_WORKLOAD or MCP_AUTH_PRIVATE_KEY"],
    ],
    ["a path for a key", { ...robot, PRIVATE_KEY: "/run/key.pem" }, ["PRIVATE_KEY is not a PEM", "MCP_AUTH_PRIVATE_KEY_FILE"]],
    [
      "a certificate without key",
      { ...robot, CLIENT_CERTIFICATE: "-----BEGIN X" },
      ["CLIENT_CERTIFICATE needs MCP_AUTH_CLIENT_CERTIFICATE_KEY"],
    ],
    [
      "a method without its proof",
      { ...robot, CLIENT_SECRET: secret, TOKEN_ENDPOINT_AUTH_METHOD: "private_key_jwt" },
      ["METHOD needs MCP_AUTH_PRIVATE_KEY"],
    ],
    [
      "an unknown method",
      { ...robot, CLIENT_SECRET: secret, TOKEN_ENDPOINT_AUTH_METHOD: "toString" },
      ["METHOD must be one of none, client_secret_basic"],
    ],
    [
      "a token endpoint without credentials",
      { ...robot, TOKEN_ENDPOINT: "https://as.example/token" },
      ["TOKEN_ENDPOINT needs MCP_AUTH_CLIENT_SECRET or"],
    ],
    [
      "URLs that are none",
      { ...robot, SERVER_URL: "mcp.example", ISSUER: "as" },
      ["SERVER_URL is not a valid URL", "ISSUER is not a valid URL"],
    ],
    [
      "half a sign-on",
      { ...robot, IDP_ISSUER: "https://idp.example" },
      ["IDP_ISSUER needs MCP_AUTH_IDP_CLIENT_ID", "IDP_ISSUER needs MCP_AUTH_ID_TOKEN"],
    ],
    ["an ID token of nobody", { ...robot, ID_TOKEN: secret }, ["ID_TOKEN needs MCP_AUTH_IDP_ISSUER or MCP_AUTH_WORKLOAD"]],
    ["an account with a slash", { ...robot, ACCOUNT: "a/b" }, ["ACCOUNT holds a slash"]],
    ["a misspelt name", { ...robot, CLIENT_SECRT: secret }, ["CLIENT_SECRT is unknown (did you mean MCP_AUTH_CLIENT_SECRET?)"]],
    ["a name that is half one", { ...robot, SECRET: secret }, ["SECRET is unknown (did you mean MCP_AUTH_CLIENT_SECRET?)"]],
    ["a name of somebody else, with nothing else there", { ...robot, PROXY_PORT: "80" }, ["PROXY_PORT is unknown"]],
  ])("%s", async (_what, variables, expected) => {
    const error = await failure(start(variables));
    expect(error.code).toBe("invalid_environment");
    for (const text of expected) expect(error.message).toContain(text);
    expect(inspect(error, { depth: 9, showHidden: true })).not.toContain(secret);
  });

  test("beside credentials that are enough, only a misspelt name is", async () => {
    const enough = { ...robot, CLIENT_SECRET: secret };
    expect(await start({ ...enough, PROXY_PORT: "80" })).toBeInstanceOf(MachineTokenManager);
    expect(await failure(start({ ...enough, SCOPE: "mcp:read" }))).toMatchObject({ code: "invalid_environment" });
  });

  test("a `fetch` of the app's own beside a client certificate", async () => {
    const { cert, key } = createCertificateAuthority().client({ name: "robot" });
    const certificate = { CLIENT_CERTIFICATE: String(cert), CLIENT_CERTIFICATE_KEY: String(key) };
    const error = await failure(start({ ...robot, ...certificate }, { fetch: globalThis.fetch }));
    expect(error).toMatchObject({ code: "invalid_option", message: expect.stringContaining("MCP_AUTH_CLIENT_CERTIFICATE") });
  });

  test("every variable is in the README", () => {
    const readme = readFileSync(join(import.meta.dirname, "../../../README.md"), "utf8");
    expect([...textNames, ...secretNames].filter((name) => !readme.includes(`\`${prefix}${name}\``))).toEqual([]);
  });

  test("nothing but a server is right", async () => {
    expect(await start({ SERVER_URL: "https://mcp.example", DEBUG: "" })).toBeInstanceOf(TokenManager);
  });
});

describe("where the token is kept", () => {
  test("in memory, where nothing can be written; that is told", async () => {
    const events: AuthEvent[] = [];
    const path = join(folder(), "read-only");
    writeFileSync(path, "a file where the folder should be");
    vi.stubEnv("MCP_AUTH_DATA_DIR", join(path, "data"));
    const server = await startServer();
    const variables = { SERVER_URL: server.url, CLIENT_ID: clientId, CLIENT_SECRET: clientSecret };
    const auth = await start(variables, { onEvent: (event) => void events.push(event) });
    expect(await whoami(auth)).toMatchObject({ clientId });
    expect(events).toContainEqual({ type: "tokens.unsaved", code: "store_unusable", serverUrl: server.url });
  });

  test("a folder that is wrong is told, not passed over", async () => {
    vi.stubEnv("MCP_AUTH_DATA_DIR", "relative");
    const variables = { SERVER_URL: "https://mcp.example", CLIENT_ID: clientId, CLIENT_SECRET: clientSecret };
    expect(await failure(start(variables))).toMatchObject({ code: "invalid_option" });
  });

  test("neither secret nor token is in what is printed of the manager", async () => {
    const { auth } = await startFor(() => ({ CLIENT_ID: clientId, CLIENT_SECRET: clientSecret }));
    const token = await auth.getAccessToken();
    const shown = inspect(auth, { depth: 9, showHidden: true });
    expect([shown.includes(clientSecret), shown.includes(token)]).toEqual([false, false]);
  });
});

test("MCP_AUTH_DEBUG prints events of programs as well", async () => {
  const lines: string[] = [];
  vi.spyOn(process.stderr, "write").mockImplementation((text) => lines.push(String(text)) > 0);
  const { auth } = await startFor(() => ({ CLIENT_ID: clientId, CLIENT_SECRET: clientSecret, DEBUG: "1" }));
  await auth.getAccessToken();
  expect(lines.join("")).toMatch(/^mcp-client-auth refresh\.finished \{/m);
  expect(lines.join("")).not.toContain(clientSecret);
});
