/** A program whose assertion is refused: what it is told, and that nothing else is tried in its place. */

import { inspect } from "node:util";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import type { McpAuthError } from "../../../src/errors.ts";
import { type AuthEvent, MemoryStore } from "../../../src/index.ts";
import { gitHubActions, MachineTokenManager, type MachineTokenManagerOptions } from "../../../src/machine/index.ts";
import { failure } from "../../discovery/support.ts";
import { startAuthorizationServer, startGitHub, startWorkloadIssuer, type WorkloadClaims } from "../../fixture/index.ts";
import { connect, startServer } from "../../storm/support.ts";

/** A server that knows two workloads of an issuer. */
async function world() {
  const workloads = await startWorkloadIssuer();
  onTestFinished(() => workloads.close());
  const subjects = { nightly: "mcp:read mcp:write", reader: "mcp:read" };
  const server = await startServer({ authorizationServer: { trust: { workloads: [{ ...workloads, subjects }] } } });
  const { authorizationServer: as, mcpServer: mcp } = server;
  const events: AuthEvent[] = [];
  const given: string[] = [];
  /** A program that speaks for itself with these claims. */
  const program = (claims: Partial<WorkloadClaims> | (() => Promise<string>) = {}, options: Partial<MachineTokenManagerOptions> = {}) => {
    const auth = new MachineTokenManager({
      serverUrl: server.url,
      onEvent: (event) => void events.push(event),
      assertion: async ({ issuer }) => {
        const assertion = await (typeof claims === "function" ? claims() : workloads.sign({ aud: issuer, sub: "nightly", ...claims }));
        given.push(assertion);
        return assertion;
      },
      ...options,
    });
    onTestFinished(() => auth.dispose());
    return auth;
  };
  /** Neither the assertion nor a part of it may be in what is shown. */
  const expectNothingOf = (...things: unknown[]) => {
    const shown = inspect(things, { depth: 12, showHidden: true });
    expect(given.length).toBeGreaterThan(0);
    for (const assertion of given) for (const part of assertion.split(".")) if (part.length > 3) expect(shown).not.toContain(part);
  };
  return { workloads, server, as, mcp, events, given, program, expectNothingOf };
}

test("REQ-WIF-01 a job lets itself in: one assertion and one token for many calls at once, no client, nothing registered", async () => {
  const github = await startGitHub();
  onTestFinished(() => github.close());
  for (const [name, value] of Object.entries(github.variables)) vi.stubEnv(name, value);
  onTestFinished(() => void vi.unstubAllEnvs());
  const server = await startServer({ authorizationServer: { trust: { workloads: [github] } } });
  const { authorizationServer: as } = server;
  const store = new MemoryStore();
  const programs = Array.from({ length: 4 }, () => new MachineTokenManager({ serverUrl: server.url, store, assertion: gitHubActions() }));
  onTestFinished(async () => void (await Promise.all(programs.map((auth) => auth.dispose()))));
  await Promise.all(
    programs.map(async (auth) => {
      const client = await connect(auth.serverUrl, auth.fetch);
      await Promise.all(Array.from({ length: 5 }, () => client.callTool({ name: "whoami" })));
    }),
  );
  expect(as.tokenRequests().map(({ grantType }) => grantType)).toEqual(["urn:ietf:params:oauth:grant-type:jwt-bearer"]);
  expect(github.requests.filter(({ path }) => path.startsWith("/actions"))).toHaveLength(1);
  expect([as.registrations, as.tokenRequests()[0]?.form.get("client_id")]).toEqual([[], null]);
});

describe("REQ-WIF-02 a refused assertion is neither repeated nor replaced, and not shown", () => {
  const refused = { code: "invalid_assertion", serverError: "invalid_grant", hint: "Check its issuer, subject, audience and expiry." };
  test.each<[string, Partial<WorkloadClaims>, Partial<MachineTokenManagerOptions>, object, string?]>([
    ["it has expired", { expiresIn: -60 }, {}, { ...refused, serverDescription: '"exp" claim timestamp check failed' }, "it expired at "],
    [
      "it is from nobody that the server trusts",
      { iss: "https://somebody.example" },
      {},
      { ...refused, serverDescription: "the issuer of the assertion is not trusted" },
    ],
    ["the workload is unknown there", { sub: "stranger" }, {}, { code: "token_request_refused", serverError: "unauthorized_client" }],
    [
      "the workload may have fewer scopes",
      { sub: "reader" },
      { scopes: ["mcp:write"] },
      { code: "insufficient_scope", serverError: "invalid_scope", requiredScopes: ["mcp:write"] },
    ],
  ])("%s", async (_what, claims, options, expected, words = "") => {
    const { as, events, program, expectNothingOf } = await world();
    const auth = program(claims, options);
    const error = await failure(auth.getAccessToken());
    expect(error).toMatchObject({ issuer: as.issuer, transient: false, ...expected });
    expect(error.message).toContain(words);
    expect(as.tokenRequests()).toHaveLength(1);
    expect(as.registrations).toEqual([]);
    expectNothingOf(error, events, auth, auth.lastError);
    expect(events.findLast(({ type }) => type === "refresh.failed")).toMatchObject({ code: error.code, transient: false });
  });

  test("it was made for another audience, and the app has named the authorization server", async () => {
    const { as, program, expectNothingOf } = await world();
    const error = await failure(program({ aud: "https://other.example" }, { issuer: as.issuer }).getAccessToken());
    expect(error).toMatchObject({ ...refused, issuer: as.issuer, serverDescription: 'unexpected "aud" claim value' });
    expect(as.tokenRequests()).toHaveLength(1);
    expectNothingOf(error);
  });

  test("it was used before", async () => {
    const { workloads, as, program, expectNothingOf } = await world();
    const assertion = await workloads.sign({ aud: as.issuer, sub: "nightly" });
    await program(async () => assertion).getAccessToken();
    const error = await failure(program(async () => assertion).getAccessToken());
    expect(error).toMatchObject({ ...refused, serverDescription: "the assertion was used before" });
    expect(as.tokenRequests()).toHaveLength(2);
    expectNothingOf(error);
  });

  test("somebody has changed it", async () => {
    const { workloads, as, program } = await world();
    const [header, , signature] = (await workloads.sign({ aud: as.issuer, sub: "reader" })).split(".");
    const payload = Buffer.from(JSON.stringify({ iss: workloads.issuer, aud: as.issuer, sub: "nightly", exp: 2_000_000_000 }));
    const forged = [header, payload.toString("base64url"), signature].join(".");
    const error = await failure(program(async () => forged).getAccessToken());
    expect(error).toMatchObject({ ...refused, serverDescription: "signature verification failed" });
  });

  test("the server repeats it in its answer", async () => {
    const { as, events, program, given, expectNothingOf } = await world();
    as.intercept((request, res) => {
      if (request.grantType === undefined) return false;
      const body = { error: "invalid_grant", error_description: `bad assertion ${request.form.get("assertion")}` };
      res.writeHead(400, { "content-type": "application/json" }).end(JSON.stringify(body));
      return true;
    });
    const auth = program();
    const error: McpAuthError = await failure(auth.getAccessToken());
    expect(error.serverDescription).toBe("bad assertion [removed]");
    expect(given).toHaveLength(1);
    expectNothingOf(error, events, auth);
  });
});

describe("an assertion goes nowhere but where it was made for", () => {
  test("a protected server that names somebody else's authorization server does not get it", async () => {
    const { workloads, as, mcp, program, expectNothingOf } = await world();
    const evil = await startAuthorizationServer({ trust: { workloads: [workloads] } });
    onTestFinished(() => evil.close());
    const fixed = async () => workloads.sign({ aud: as.issuer, sub: "nightly" });
    const auth = program(fixed);
    mcp.moveTo(evil);
    const error = await failure(auth.getAccessToken());
    expect(error).toMatchObject({ code: "invalid_assertion", issuer: evil.issuer });
    expect(evil.tokenRequests()).toEqual([]);
    expectNothingOf(error, evil.requests);
  });
});

test("a source that fails in its own way ends the token request", async () => {
  const { as, program } = await world();
  const error = await failure(program(() => Promise.reject(new Error("the vault is sealed"))).getAccessToken());
  expect(error).toMatchObject({ code: "assertion_unavailable", cause: { message: "the vault is sealed" } });
  expect(as.tokenRequests()).toEqual([]);
});
