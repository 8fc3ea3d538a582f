/** The files in `examples/ci` are what their systems and this package understand, and get a token as they stand. */

import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { parseAllDocuments } from "yaml";
import { MemoryStore } from "../../src/index.ts";
import { readSettings } from "../../src/node/environment/settings.ts";
import { prefix, secretNames, textNames } from "../../src/node/environment/variables.ts";
import { fromEnvironment } from "../../src/node/index.ts";
import { type ProtectedServer, startGitHub, startWorkloadIssuer } from "../fixture/index.ts";
import { startServer } from "../storm/support.ts";

const root = join(import.meta.dirname, "../..");
// biome-ignore lint/suspicious/noExplicitAny: the documents of other systems, which the tests look through
type Node = Record<string, any>;
const load = (name: string): Node[] =>
  parseAllDocuments(readFileSync(join(root, "examples/ci", name), "utf8"), { strict: true, uniqueKeys: true }).map((document) => {
    expect([...document.errors, ...document.warnings]).toEqual([]);
    return document.toJS() as Node;
  });

const [workflow = {}] = load("github-actions.yml");
const [pipeline = {}] = load("gitlab-ci.yml");
const [account = {}, cronJob = {}] = load("kubernetes-cronjob.yaml");
const pod: Node = cronJob.spec.jobTemplate.spec.template.spec;
const container: Node = pod.containers[0];

/** What each job finds in its environment, and the commands that it runs. */
const jobs: Record<string, { env: Record<string, string>; commands: string[] }> = {
  kubernetes: {
    env: Object.fromEntries(container.env.map(({ name, value }: Node) => [name, value])),
    commands: [container.command.join(" ")],
  },
};
for (const [name, job] of Object.entries<Node>(workflow.jobs)) {
  const env = Object.assign({}, job.env, ...job.steps.map((step: Node) => step.env ?? {}));
  jobs[`github ${name}`] = { env, commands: job.steps.flatMap(({ run }: Node) => run ?? []) };
}
for (const [name, job] of Object.entries<Node>(pipeline)) jobs[`gitlab ${name}`] = { env: job.variables, commands: job.script };

describe.each(Object.entries(jobs))("%s", (name, { env, commands }) => {
  test("sets variables that exist", () => {
    const known = [...textNames, ...secretNames, ...secretNames.map((secret) => `${secret}_FILE`)].map((known) => prefix + known);
    expect(Object.keys(env).filter((variable) => !known.includes(variable))).toEqual([]);
  });

  test("sets them as they are understood", () => {
    // What is kept in the system itself.
    const kept = name === "gitlab by-private-key" ? { MCP_AUTH_PRIVATE_KEY: "-----BEGIN PRIVATE KEY-----" } : {};
    expect(readSettings({ ...env, ...kept })).toMatchObject({ isMachine: true, serverUrl: "https://mcp.example.com/mcp" });
  });

  test("runs what is there", () => {
    const programs = commands.flatMap((command) => /^node (\S+)$/.exec(command)?.[1] ?? []);
    expect(programs).toHaveLength(1);
    for (const program of programs) expect(existsSync(join(root, program)), program).toBe(true);
  });

  test("has no secret in it, and none in arguments", () => {
    for (const [variable, value] of Object.entries(env)) {
      if (secretNames.some((secret) => variable === prefix + secret)) expect(value).toMatch(/^\$\{\{ secrets\.\w+ \}\}$/);
    }
    for (const command of commands) expect(command).not.toMatch(/MCP_AUTH_|secrets\./);
  });
});

/** Whom the token is for that a job gets which finds this in its environment, with the fixture in place of the servers named there. */
async function tokenOf(server: ProtectedServer, env: Record<string, string>): Promise<Record<string, unknown>> {
  // The test may itself run in a job.
  for (const name of Object.keys(process.env)) if (/^(CI$|ACTIONS_|GITHUB_|CI_|MCP_AUTH_)/.test(name)) vi.stubEnv(name, undefined);
  onTestFinished(() => void vi.unstubAllEnvs());
  const { url, authorizationServer: as } = server;
  const found = { ...env, MCP_AUTH_SERVER_URL: url, MCP_AUTH_ISSUER: as.issuer, CI: "true" };
  for (const [name, value] of Object.entries(found)) vi.stubEnv(name, value);
  const auth = await fromEnvironment({ store: new MemoryStore() });
  onTestFinished(() => auth.dispose());
  const token = await auth.getAccessToken();
  return JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString());
}

describe("lets itself in by its identity", () => {
  test("a GitHub Actions job", async () => {
    const job: Node = workflow.jobs["by-workload-identity"];
    expect(job.permissions).toMatchObject({ "id-token": "write" });
    const github = await startGitHub();
    onTestFinished(() => github.close());
    const server = await startServer({ authorizationServer: { trust: { workloads: [github] } } });
    const env = { ...github.variables, ...job.env };
    expect(await tokenOf(server, env)).toMatchObject({ sub: "repo:acme/app:ref:refs/heads/main", scope: "mcp:read" });
  });

  test("a GitLab job", async () => {
    const { id_tokens: idTokens, variables }: Node = pipeline["by-workload-identity"];
    const [[variable, { aud }] = ["", {}]] = Object.entries<Node>(idTokens);
    expect(aud).toBe(variables.MCP_AUTH_ISSUER);
    const gitLab = await startWorkloadIssuer();
    onTestFinished(() => gitLab.close());
    const server = await startServer({ authorizationServer: { trust: { workloads: [gitLab] } } });
    const token = await gitLab.sign({ aud: server.authorizationServer.issuer, sub: "project_path:acme/app" });
    expect(await tokenOf(server, { ...variables, [variable]: token, CI_JOB_ID: "1" })).toMatchObject({ sub: "project_path:acme/app" });
  });

  test("a Kubernetes pod", async () => {
    const { path, audience } = pod.volumes[0].projected.sources[0].serviceAccountToken;
    const mount: Node = container.volumeMounts[0];
    expect(`${mount.mountPath}/${path}`).toBe("/var/run/secrets/tokens/mcp");
    expect(mount.name).toBe(pod.volumes[0].name);
    expect(audience).toBe(jobs.kubernetes?.env.MCP_AUTH_ISSUER);
    expect([account.metadata.name, account.kind]).toEqual([pod.serviceAccountName, "ServiceAccount"]);
    // The same token, where a test may write.
    const cluster = await startWorkloadIssuer();
    onTestFinished(() => cluster.close());
    const server = await startServer({ authorizationServer: { trust: { workloads: [cluster] } } });
    const folder = mkdtempSync(join(tmpdir(), "mcp-client-auth-pod-"));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const sub = `system:serviceaccount:${account.metadata.namespace}:${account.metadata.name}`;
    writeFileSync(join(folder, path), await cluster.sign({ aud: server.authorizationServer.issuer, sub, jti: null }));
    const env = { ...jobs.kubernetes?.env, MCP_AUTH_WORKLOAD: `file:${join(folder, path)}` };
    expect(await tokenOf(server, env)).toMatchObject({ sub });
  });
});
