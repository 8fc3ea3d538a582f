/** Sources of workload assertions, each against the real grant; and what a program is told where there is none. */

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { systemClock } from "../../../src/clock.ts";
import type { McpAuthError } from "../../../src/errors.ts";
import { exchangeAssertion } from "../../../src/grants/jwt-bearer.ts";
import { createHttp } from "../../../src/http/http.ts";
import { MemoryStore } from "../../../src/index.ts";
import type { AssertionRequest, AssertionSource } from "../../../src/machine/assertion.ts";
import { assertionCommand, assertionFile, gitHubActions, gitLab, kubernetes, MachineTokenManager } from "../../../src/machine/index.ts";
import { failure } from "../../discovery/support.ts";
import { answer, hang, type ProtectedServer, startGitHub, startWorkloadIssuer, when } from "../../fixture/index.ts";
import { connect, manualClock, startServer } from "../../storm/support.ts";

beforeEach(() => {
  // The tests may themselves run in a CI job.
  for (const name of Object.keys(process.env)) if (/^(ACTIONS_|GITHUB_|CI_|MCP_AUTH_)/.test(name)) vi.stubEnv(name, undefined);
  onTestFinished(() => void vi.unstubAllEnvs());
});

/** A protected server that lets workloads of an issuer in. */
async function world() {
  const workloads = await startWorkloadIssuer();
  onTestFinished(() => workloads.close());
  const server = await startServer({ authorizationServer: { trust: { workloads: [workloads] } } });
  return { server, workloads, request: requestTo(server) };
}

function requestTo({ authorizationServer: as, mcpServer: mcp }: ProtectedServer): AssertionRequest {
  return { issuer: as.issuer, tokenEndpoint: `${as.issuer}/token`, resource: mcp.resource, http: createHttp(), clock: systemClock };
}

const offline: AssertionRequest = {
  issuer: "https://as.example",
  tokenEndpoint: "https://as.example/token",
  http: createHttp(),
  clock: systemClock,
};

/** What the MCP server says of the caller that the source speaks for. */
async function whoami(source: AssertionSource, server: ProtectedServer, request = requestTo(server)): Promise<{ sub: string }> {
  const { authorizationServer: as, mcpServer: mcp } = server;
  const { accessToken } = await exchangeAssertion({
    server: { issuer: as.issuer, token_endpoint: request.tokenEndpoint },
    client: { clientId: "", tokenEndpointAuthMethod: "none" },
    authentication: () => {},
    assertion: await source(request),
    http: request.http,
    resource: mcp.resource,
  });
  const client = await connect(mcp.url, (url, init) =>
    fetch(url, { ...init, headers: { ...Object.fromEntries(new Headers(init?.headers)), authorization: `Bearer ${accessToken}` } }),
  );
  const { content } = await client.callTool({ name: "whoami" });
  return JSON.parse((content as [{ text: string }])[0].text);
}

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "mcp-client-auth-workload-"));
  onTestFinished(() => rmSync(path, { recursive: true }));
  return path;
}

/** The error of a source that has none, which must not hold what it must not. */
async function refusal(source: AssertionSource, request = offline, ...secrets: string[]): Promise<McpAuthError> {
  const error = await failure(Promise.resolve(source(request)));
  for (const secret of secrets) expect(inspect(error, { depth: 9, showHidden: true })).not.toContain(secret);
  return error;
}

describe("REQ-WIF-01 gitHubActions", () => {
  async function gitHub() {
    const github = await startGitHub();
    onTestFinished(() => github.close());
    for (const [name, value] of Object.entries(github.variables)) vi.stubEnv(name, value);
    return github;
  }

  test("a job's ID token, made for the authorization server, lets it in; no client is named", async () => {
    const github = await gitHub();
    const server = await startServer({ authorizationServer: { trust: { workloads: [github] } } });
    const source = gitHubActions();
    expect(await whoami(source, server)).toMatchObject({ sub: "repo:acme/app:ref:refs/heads/main" });
    // Another one each time: the authorization server takes none twice.
    await whoami(source, server);
    const [first, second] = server.authorizationServer.tokenRequests().map(({ form }) => form.get("assertion"));
    expect(first).not.toBe(second);
    const [asked] = server.authorizationServer.tokenRequests();
    expect([...(asked?.form.keys() ?? [])].sort()).toEqual(["assertion", "grant_type", "resource"]);
    expect(github.requests.filter(({ path }) => path !== "/jwks").map(({ query }) => query.get("audience"))).toEqual([
      server.authorizationServer.issuer,
      server.authorizationServer.issuer,
    ]);
  });

  test("the app names another audience", async () => {
    const github = await gitHub();
    await gitHubActions({ audience: "api://acme" })(offline);
    expect(github.requests[0]?.query.get("audience")).toBe("api://acme");
  });

  test.each(["ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"])("without %s the permission is missing", async (name) => {
    await gitHub();
    vi.stubEnv(name, undefined);
    const error = await refusal(gitHubActions());
    expect(error.code).toBe("assertion_unavailable");
    expect(error.message).toContain(name);
    expect(error.hint).toContain("permissions: id-token: write");
  });

  test.each<[string, Parameters<typeof when>[1], object]>([
    ["refused", answer(403), { code: "assertion_unavailable", status: 403, transient: false }],
    ["busy", answer(429, {}, { "retry-after": "7" }), { code: "rate_limited", retryAfterMs: 7000, transient: true }],
    ["down", answer(503), { code: "server_error", transient: true }],
    ["an answer without token", answer(200, { count: 0 }), { code: "assertion_unavailable" }],
    ["an answer that is no JWT", answer(200, { value: "super-secret" }), { code: "assertion_unavailable" }],
  ])("GitHub's endpoint: %s", async (_what, fault, expected) => {
    const github = await gitHub();
    github.intercept(when(() => true, fault));
    const { ACTIONS_ID_TOKEN_REQUEST_TOKEN: token = "" } = github.variables;
    expect(await refusal(gitHubActions(), offline, token, "super-secret")).toMatchObject(expected);
  });

  test("an endpoint that hangs is given up", async () => {
    const github = await gitHub();
    github.intercept(when(() => true, hang));
    const clock = manualClock();
    const giving = refusal(gitHubActions(), { ...offline, clock, http: createHttp({ clock }) });
    await expect.poll(() => github.requests.length).toBe(1);
    clock.advance(10_000);
    expect(await giving).toMatchObject({ code: "timeout" });
  });

  test("its token goes over https only", async () => {
    await gitHub();
    vi.stubEnv("ACTIONS_ID_TOKEN_REQUEST_URL", "http://actions.example/token");
    expect((await refusal(gitHubActions())).code).toBe("insecure_url");
  });

  test("each job has an identity of its own, without a secret in it", async () => {
    const { variables } = await gitHub();
    const one = gitHubActions().identity;
    expect(one).toMatch(/^github:acme%2Fapp:7654321:[0-9a-f]{16}$/);
    vi.stubEnv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "another job of the matrix");
    expect(gitHubActions().identity).not.toBe(one);
    expect(one).not.toContain(variables.ACTIONS_ID_TOKEN_REQUEST_TOKEN);
  });

  test("a job without permission is told so in a shared store, too", async () => {
    await gitHub();
    vi.stubEnv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", undefined);
    const server = await startServer({ authorizationServer: { trust: {} } });
    const auth = new MachineTokenManager({ serverUrl: server.url, store: new MemoryStore(), assertion: gitHubActions() });
    onTestFinished(() => auth.dispose());
    expect((await failure(auth.getAccessToken())).hint).toContain("permissions: id-token: write");
  });
});

describe("REQ-WIF-01 gitLab", () => {
  test("the variable that `id_tokens` names, read each time", async () => {
    const { server, workloads, request } = await world();
    const source = gitLab();
    vi.stubEnv("MCP_AUTH_ID_TOKEN", await workloads.sign({ aud: request.issuer, sub: "project_path:acme/app" }));
    expect(await whoami(source, server)).toMatchObject({ sub: "project_path:acme/app" });
    vi.stubEnv("MCP_AUTH_ID_TOKEN", await workloads.sign({ aud: request.issuer, sub: "project_path:acme/other" }));
    expect(await whoami(source, server)).toMatchObject({ sub: "project_path:acme/other" });
  });

  test("a variable of another name", async () => {
    vi.stubEnv("MY_TOKEN", "a.e30.b");
    expect(await gitLab({ variable: "MY_TOKEN" })(offline)).toBe("a.e30.b");
  });

  test("without it the job is told the line that it lacks", async () => {
    const error = await refusal(gitLab());
    expect(error.code).toBe("assertion_unavailable");
    expect(error.hint).toContain('id_tokens: { MCP_AUTH_ID_TOKEN: { aud: "https://as.example" } }');
  });

  test("what is no JWT is not sent, and not shown", async () => {
    vi.stubEnv("MCP_AUTH_ID_TOKEN", "glpat-super-secret");
    expect((await refusal(gitLab(), offline, "super-secret")).code).toBe("assertion_unavailable");
  });

  test("each job has an identity of its own", () => {
    vi.stubEnv("CI_JOB_ID", "12");
    vi.stubEnv("CI_SERVER_HOST", "git.acme.example");
    expect(gitLab().identity).toBe("gitlab:git.acme.example:12");
    vi.stubEnv("CI_JOB_ID", undefined);
    expect(gitLab().identity).toBeUndefined();
  });
});

describe("REQ-WIF-01 kubernetes", () => {
  test("the projected token is read again after the kubelet has replaced it", async () => {
    const { server, workloads, request } = await world();
    // As the kubelet does it: a link to a folder with a date is swapped.
    const volume = folder();
    const put = async (version: string) => {
      mkdirSync(join(volume, version));
      writeFileSync(
        join(volume, version, "mcp"),
        await workloads.sign({ aud: request.issuer, sub: "system:serviceaccount:a:b", jti: version }),
      );
      symlinkSync(version, join(volume, "..next"));
      renameSync(join(volume, "..next"), join(volume, "..data"));
    };
    await put("..1");
    symlinkSync("..data/mcp", join(volume, "mcp"));
    const source = kubernetes({ path: join(volume, "mcp") });
    expect(await whoami(source, server)).toMatchObject({ sub: "system:serviceaccount:a:b" });
    await put("..2");
    await whoami(source, server);
    expect(source.identity).toBe(`${encodeURIComponent(workloads.issuer)}:${encodeURIComponent("system:serviceaccount:a:b")}`);
  });

  test("a token without `jti` may be used as long as it lives", async () => {
    const { server, workloads, request } = await world();
    const path = join(folder(), "mcp");
    writeFileSync(path, await workloads.sign({ aud: request.issuer, jti: null }));
    const source = kubernetes({ path });
    await whoami(source, server);
    expect(await whoami(source, server)).toMatchObject({ sub: "workload" });
  });

  test("without a volume the pod is told what it lacks; the token for the cluster's API is not taken in its place", async () => {
    const error = await refusal(kubernetes());
    expect(error.code).toBe("assertion_unavailable");
    expect(error.message).toContain("/var/run/secrets/tokens/mcp cannot be read (ENOENT)");
    expect(error.hint).toContain('serviceAccountToken: { audience: "https://as.example"');
  });
});

describe("assertionFile", () => {
  test("a file with a line feed at its end", async () => {
    const { server, workloads, request } = await world();
    const path = join(folder(), "token");
    writeFileSync(path, `${await workloads.sign({ aud: request.tokenEndpoint, sub: "spiffe://acme/app" })}\n`);
    expect(await whoami(assertionFile(path), server)).toMatchObject({ sub: "spiffe://acme/app" });
  });

  test.each<[string, (path: string) => void, string]>([
    ["that is missing", () => {}, "cannot be read (ENOENT)"],
    ["that is a folder", (path) => mkdirSync(path), "cannot be read (EISDIR)"],
    ["that is empty", (path) => writeFileSync(path, " \n"), "is empty"],
    ["that is too large", (path) => writeFileSync(path, `super-secret${"a".repeat(70_000)}`), "is larger than 65536 bytes"],
    ["that holds no JWT", (path) => writeFileSync(path, "super-secret"), "is not a JWT"],
    ["that holds bytes", (path) => writeFileSync(path, new Uint8Array([0, 255, 254])), "is not a JWT"],
    ["that is a pipe to which nobody writes", (path) => void execFileSync("mkfifo", [path]), "is empty"],
  ])("a file %s", async (_what, make, expected) => {
    const path = join(folder(), "token");
    make(path);
    const error = await refusal(assertionFile(path), offline, "super-secret");
    expect(error.code).toBe("assertion_unavailable");
    expect(error.message).toContain(`${path} ${expected}`);
  });

  test("a link to itself: any file that cannot be opened is told with what the system says", async () => {
    const path = join(folder(), "token");
    symlinkSync(path, path);
    expect((await refusal(assertionFile(path))).message).toContain("ELOOP");
  });

  test("nobody's identity as long as it cannot be read", async () => {
    const { workloads, request } = await world();
    const path = join(folder(), "token");
    const source = assertionFile(path);
    expect(source.identity).toBeUndefined();
    execFileSync("mkfifo", [path]);
    expect(source.identity).toBeUndefined();
    rmSync(path);
    writeFileSync(path, await workloads.sign({ aud: request.issuer, sub: "a/b" }));
    expect(source.identity).toBe(`${encodeURIComponent(workloads.issuer)}:a%2Fb`);
  });
});

describe("assertionCommand", () => {
  /** A program in JavaScript, without a shell. */
  const node = (script: string, ...args: string[]): [string, ...string[]] => [process.execPath, "--eval", script, ...args];

  test("what a command prints lets the program in", async () => {
    const { server, workloads, request } = await world();
    const path = join(folder(), "token");
    writeFileSync(path, await workloads.sign({ aud: request.issuer, sub: "robot" }));
    expect(await whoami(assertionCommand(["cat", path]), server)).toMatchObject({ sub: "robot" });
  });

  test("arguments reach it as they are: there is no shell", async () => {
    const script = "console.log('a.' + Buffer.from(JSON.stringify({ sub: process.argv[1] })).toString('base64url') + '.b')";
    const jwt = await assertionCommand(node(script, "$HOME `id` ; *"))(offline);
    expect(JSON.parse(Buffer.from(jwt.split(".")[1] ?? "", "base64url").toString())).toEqual({ sub: "$HOME `id` ; *" });
  });

  test("its environment is this process's, or the one given", async () => {
    vi.stubEnv("TOKEN", "a.e30.mine");
    const script = "console.log(process.env.TOKEN)";
    expect(await assertionCommand(node(script))(offline)).toBe("a.e30.mine");
    expect(await assertionCommand(node(script), { env: { TOKEN: "a.e30.given" } })(offline)).toBe("a.e30.given");
  });

  test("one that asks for input gets none", async () => {
    expect((await refusal(assertionCommand(["cat"]))).message).toContain("the output of `cat` is empty");
  });

  test.each<[string, [string, ...string[]], string]>([
    ["does not exist", ["mcp-auth-no-such-command"], "`mcp-auth-no-such-command` cannot be started (ENOENT)"],
    ["fails", node("console.error('no session'); process.exit(3)", "super-secret"), "ended with exit code 3: no session"],
    ["says why at the end", node("console.error('x'.repeat(5000) + ' no session'); process.exit(1)"), "x no session"],
    ["ends by a signal", node("process.kill(process.pid, 'SIGKILL')"), "was ended by SIGKILL"],
    [
      "prints a header where it complains",
      node("console.error('> Authorization: Bearer super-secret'); process.exit(1)"),
      "ended with exit code 1.",
    ],
    [
      "prints a setting where it complains",
      node("console.error('vault: password = super-secret is wrong'); process.exit(1)"),
      "ended with exit code 1.",
    ],
    [
      "prints a token where it complains",
      node("console.error('bad: eyJhbGciOiJIUzI1NiJ9.super-secret.x'); process.exit(1)"),
      "ended with exit code 1.",
    ],
    ["prints no JWT", node("console.log('super-secret')"), "is not a JWT"],
    ["prints too much", node("console.log('super-secret'.repeat(10000))"), "printed more than 65536 bytes"],
  ])("one that %s", async (_what, command, expected) => {
    const clock = manualClock();
    const error = await refusal(assertionCommand(command), { ...offline, clock }, "super-secret");
    expect(error).toMatchObject({ code: "assertion_unavailable", party: "machine" });
    expect(clock.timers).toEqual([]);
    expect(error.message).toContain(expected);
    expect(error.message.length).toBeLessThan(500);
  });

  test.each([
    ["after the time that the app gives it", 500],
    ["after 20 seconds, if the app says nothing", undefined],
  ])("one that hangs is ended %s", async (_when, commandTimeout) => {
    const clock = manualClock();
    const file = join(folder(), "pid");
    const script = `require("fs").writeFileSync(${JSON.stringify(file)}, String(process.pid)); setInterval(() => {}, 1000)`;
    const asking = refusal(assertionCommand(node(script), { commandTimeout }), { ...offline, clock });
    const pid = await vi.waitUntil(() => readPid(file), { timeout: 45_000 });
    clock.advance(commandTimeout ?? 20_000);
    expect(await asking).toMatchObject({ code: "timeout", transient: true, party: "machine" });
    await expect.poll(() => isAlive(pid)).toBe(false);
    expect(clock.timers).toEqual([]);
  });

  test("one whose own child goes on does not hold anybody up", async () => {
    const clock = manualClock();
    const file = join(folder(), "pid");
    const script = `const { pid } = require("child_process").spawn("sleep", ["60"], { stdio: "inherit" }); require("fs").writeFileSync(${JSON.stringify(file)}, String(pid))`;
    const asking = refusal(assertionCommand(node(script), { commandTimeout: 500 }), { ...offline, clock });
    const pid = await vi.waitUntil(() => readPid(file), { timeout: 45_000 });
    onTestFinished(() => void process.kill(pid));
    clock.advance(500);
    expect(await asking).toMatchObject({ code: "timeout" });
  });

  test("who stops waiting ends it", async () => {
    const controller = new AbortController();
    const file = join(folder(), "pid");
    const script = `require("fs").writeFileSync(${JSON.stringify(file)}, String(process.pid)); setInterval(() => {}, 1000)`;
    const asking = Promise.resolve(assertionCommand(node(script))({ ...offline, signal: controller.signal }));
    const pid = await vi.waitUntil(() => readPid(file), { timeout: 45_000 });
    controller.abort(new Error("enough"));
    await expect(asking).rejects.toThrow("enough");
    await expect.poll(() => isAlive(pid)).toBe(false);
  });

  test("says whose assertions they are only where the app does", () => {
    expect(assertionCommand(["true"]).identity).toBeUndefined();
    expect(assertionCommand(["true"], { identity: "robot" }).identity).toBe("robot");
  });
});

function readPid(file: string): number | undefined {
  try {
    return Number(execFileSync("cat", [file], { stdio: "pipe" }).toString()) || undefined;
  } catch {
    return undefined;
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
