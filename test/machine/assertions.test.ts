/** A program that is known by an assertion alone: where it goes, and what becomes of one that is refused. */
import { inspect } from "node:util";
import { describe, expect, onTestFinished, test } from "vitest";
import { MemoryStore } from "../../src/index.ts";
import type { MachineTokenManagerOptions } from "../../src/machine/index.ts";
import { failure } from "../discovery/support.ts";
import { answer, closeAfter, startWorkloadIssuer, tokenRequest, when } from "../fixture/index.ts";
import { minutes, shiftedClock } from "../storm/support.ts";
import { program, startServer } from "./support.ts";

/** A protected server that lets workloads of an issuer in, and a workload. */
async function world(subjects?: Record<string, string>) {
  const workloads = await startWorkloadIssuer();
  onTestFinished(() => workloads.close());
  const server = await startServer({ authorizationServer: { trust: { workloads: [{ ...workloads, subjects }] } } });
  const sent: string[] = [];
  const { authorizationServer: as } = server;
  as.intercept(
    when(tokenRequest(), ({ form }) => {
      sent.push(form.get("assertion") ?? "");
      return false;
    }),
  );
  const workload = (options: Partial<MachineTokenManagerOptions> = {}) =>
    program(server, {
      clientId: undefined,
      clientSecret: undefined,
      assertion: ({ issuer }) => workloads.sign({ aud: issuer }),
      ...options,
    });
  return { server, as, workloads, workload, sent };
}

test("REQ-WIF-01 an assertion is all that is sent: no client, no secret; a new one with each token request", async () => {
  const { server, as, workload, sent } = await world();
  const clock = shiftedClock();
  const { call } = workload({ clock });
  expect((await call()).status).toBe(200);
  const [request] = as.tokenRequests();
  expect([...(request?.form.keys() ?? [])].sort()).toEqual(["assertion", "grant_type", "resource", "scope"]);
  expect(request?.headers.authorization).toBeUndefined();
  clock.shift(minutes(6));
  expect((await call()).status).toBe(200);
  expect(new Set(sent).size).toBe(2);
  expect(server.mcpServer.requests.every(({ headers }) => !sent.some((jwt) => JSON.stringify(headers).includes(jwt)))).toBe(true);
});

test("the source is told what the assertion is for", async () => {
  const { server, as, workloads, workload } = await world();
  let told: object = {};
  const { auth } = workload({
    scopes: ["mcp:write"],
    assertion: (request) => {
      const { issuer, tokenEndpoint, resource, scopes } = request;
      told = { issuer, tokenEndpoint, resource, scopes };
      return workloads.sign({ aud: issuer });
    },
  });
  await auth.getAccessToken();
  expect(told).toEqual({
    issuer: as.issuer,
    tokenEndpoint: `${as.issuer}/token`,
    resource: server.mcpServer.resource,
    scopes: ["mcp:write"],
  });
});

describe("one that is refused", () => {
  test("REQ-WIF-02 is neither repeated nor replaced; everybody is told at once, for a while", async () => {
    const { as, workload, sent } = await world();
    const foreign = await startWorkloadIssuer();
    onTestFinished(() => foreign.close());
    const clock = shiftedClock();
    let asked = 0;
    const { auth, events } = workload({
      clock,
      assertion: ({ issuer }) => {
        asked++;
        return foreign.sign({ aud: issuer });
      },
    });
    const errors = await Promise.all(Array.from({ length: 20 }, () => failure(auth.getAccessToken())));
    expect(new Set(errors.map(({ code }) => code))).toEqual(new Set(["invalid_assertion"]));
    expect((await failure(auth.getAccessToken())).hint).toMatch(/issuer, subject, audience/);
    expect([asked, as.tokenRequests().length]).toEqual([1, 1]);
    const shown = inspect([errors, events], { depth: 20, showHidden: true }) + JSON.stringify([errors, events]);
    for (const jwt of sent) expect(shown).not.toContain(jwt);
  });

  test("is never sent again, but another one is, later", async () => {
    const { as, workloads, workload } = await world();
    const clock = shiftedClock();
    let assertion = await workloads.sign({ aud: as.issuer, expiresIn: -10 });
    const { auth } = workload({ clock, assertion: () => assertion });
    const error = await failure(auth.getAccessToken());
    expect(error.code).toBe("invalid_assertion");
    expect(error.message).toMatch(/it expired at 20/);
    clock.shift(minutes(2));
    expect((await failure(auth.getAccessToken())).code).toBe("invalid_assertion");
    expect(as.tokenRequests()).toHaveLength(1);
    assertion = await workloads.sign({ aud: as.issuer });
    clock.shift(minutes(2));
    expect(await auth.getAccessToken()).toBeTruthy();
  });

  test.each(["invalid_scope", "unauthorized_client"])("as %s: shown to the caller, after one request", async (error) => {
    const { as, workload } = await world();
    as.intercept(when(tokenRequest(), answer(400, { error })));
    const { auth } = workload();
    const [first, second] = [await failure(auth.getAccessToken()), await failure(auth.getAccessToken())];
    expect(first).toBe(second);
    expect(first.serverError).toBe(error);
    expect(as.tokenRequests()).toHaveLength(1);
  });
});

test("an answer that is lost costs a new assertion, since servers take each once", async () => {
  const { as, workload, sent } = await world();
  as.intercept(when(tokenRequest(), closeAfter, 1));
  const { call } = workload();
  expect((await call()).status).toBe(200);
  expect(new Set(sent).size).toBe(2);
});

describe("an assertion that was made for somebody else", () => {
  const audience = "https://other.example";

  test("is not sent to a server that the protected server has named", async () => {
    const { as, workloads, workload } = await world();
    const { auth } = workload({ assertion: () => workloads.sign({ aud: audience }) });
    const error = await failure(auth.getAccessToken());
    expect(error).toMatchObject({ code: "invalid_assertion", party: "app" });
    expect(error.hint).toContain("`issuer`");
    expect(as.tokenRequests()).toHaveLength(0);
  });

  test("is sent to a server that the app has named: it knows", async () => {
    const { as, workloads, workload } = await world();
    const { auth } = workload({ issuer: as.issuer, assertion: () => workloads.sign({ aud: audience }) });
    expect((await failure(auth.getAccessToken())).code).toBe("invalid_assertion");
    expect(as.tokenRequests()).toHaveLength(1);
  });

  test.each([
    ["the token endpoint", (as: { issuer: string }) => `${as.issuer}/token`],
    ["several, the issuer among them", (as: { issuer: string }) => [audience, as.issuer]],
  ])("may name %s", async (_name, aud) => {
    const { as, workloads, workload } = await world();
    const { auth } = workload({ assertion: () => workloads.sign({ aud: aud(as) }) });
    expect(await auth.getAccessToken()).toBeTruthy();
  });
});

test.each([
  ["throws", () => Promise.reject(new Error("vault sealed"))],
  ["gives nothing", () => ""],
])("a source that %s: an error that says so, and no token request", async (_name, assertion) => {
  const { as, workload } = await world();
  expect((await failure(workload({ assertion }).auth.getAccessToken())).code).toBe("assertion_unavailable");
  expect(as.tokenRequests()).toHaveLength(0);
});

test("in a shared store, identities do not get each other's tokens", async () => {
  const { workloads, workload, as } = await world();
  const store = new MemoryStore();
  const source = (sub: string) =>
    Object.assign(({ issuer }: { issuer: string }) => workloads.sign({ aud: issuer, sub }), { identity: sub });
  const tokens = await Promise.all(
    ["nightly", "release", "nightly"].map((sub) => workload({ store, assertion: source(sub) }).auth.getAccessToken()),
  );
  expect(tokens[0]).toBe(tokens[2]);
  expect(tokens[0]).not.toBe(tokens[1]);
  expect(as.tokenRequests()).toHaveLength(2);
});
