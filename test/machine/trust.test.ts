/** A protected server that lies about its authorization server: what it gets of a program's credentials. */
import { describe, expect, test } from "vitest";
import { MemoryStore } from "../../src/index.ts";
import type { MachineTokenManagerOptions } from "../../src/machine/index.ts";
import { failure } from "../discovery/support.ts";
import { shiftedClock } from "../storm/support.ts";
import {
  authorizationServer,
  issuer,
  resourceMetadata,
  type Scripted,
  scripted,
  scriptedProgram,
  serverUrl,
  unauthorized,
} from "./scripted.ts";

const evil = "https://evil.example";

/** The protected server leads to `evil`, whose metadata says this. */
function lying(metadata: Record<string, unknown> = {}): Scripted {
  const servers = scripted();
  servers.routes[resourceMetadata] = () => ({ body: { resource: serverUrl, authorization_servers: [evil] } });
  servers.routes[`${evil}/.well-known/oauth-authorization-server`] = () => authorizationServer(evil, metadata);
  for (const path of ["token", "steal"]) servers.routes[`${evil}/${path}`] = () => servers.issue();
  return servers;
}

function jwt(claims: object): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${part({ alg: "ES256" })}.${part(claims)}.c2lnbmF0dXJl`;
}

const forCompany = { iss: "https://ci.example", sub: "nightly", exp: 4_000_000_000, aud: `${issuer}/token` };
const byAssertion = { clientId: undefined, clientSecret: undefined };

describe("an assertion for the company's server", () => {
  test("does not go to where somebody's metadata redirects clients with certificates", async () => {
    const servers = lying({
      token_endpoint: `${issuer}/token`,
      token_endpoint_auth_methods_supported: ["tls_client_auth"],
      mtls_endpoint_aliases: { token_endpoint: `${evil}/steal` },
    });
    const { auth } = scriptedProgram(servers, { ...byAssertion, assertion: () => jwt(forCompany) });
    expect((await failure(auth.getAccessToken())).code).toBe("invalid_assertion");
    expect(servers.tokenRequests()).toEqual([]);
  });

  test.each([
    ["as a file holds it, with a final line break", `${jwt(forCompany)}\n`],
    ["that says nothing of its audience", jwt({ ...forCompany, aud: undefined })],
    ["that cannot be read", "b3BhcXVl"],
    ["that is encrypted", "a.b.c.d.e"],
  ])("%s does not go to somebody else's", async (_what, assertion) => {
    const servers = lying();
    const { auth } = scriptedProgram(servers, { ...byAssertion, assertion: () => assertion });
    expect((await failure(auth.getAccessToken())).code).toBe("invalid_assertion");
    expect(servers.tokenRequests()).toEqual([]);
  });

  test("goes there without the line break of its file", async () => {
    const servers = scripted();
    const assertion = jwt({ ...forCompany, aud: issuer });
    await scriptedProgram(servers, { ...byAssertion, assertion: () => `${assertion}\n` }).auth.getAccessToken();
    expect(servers.tokenRequests().map(({ form }) => form.get("assertion"))).toEqual([assertion]);
  });

  test.each([
    ["issuer", { issuer }],
    ["token endpoint", { tokenEndpoint: `${issuer}/token` }],
  ])("whose %s the app has named goes there, whatever it says and the protected server says", async (_what, named) => {
    const servers = lying();
    const { auth } = scriptedProgram(servers, { ...byAssertion, ...named, assertion: () => "b3BhcXVl" });
    await auth.getAccessToken();
    expect(servers.tokenRequests().map(({ url }) => url)).toEqual([`${issuer}/token`]);
  });
});

describe("a client assertion with an audience that the app has chosen", () => {
  const signer = { algorithm: "RS256", sign: async () => new Uint8Array(256) };
  const byKey = { clientSecret: undefined, privateKey: signer };

  test.each([`${issuer}/token`, issuer])("%s is not made for another server: it could be used at the right one", async (audience) => {
    const servers = lying();
    const { auth } = scriptedProgram(servers, { ...byKey, clientAssertionAudience: audience });
    const error = await failure(auth.getAccessToken());
    expect(error).toMatchObject({ code: "invalid_option", issuer: evil });
    expect(error.message).toContain("`clientAssertionAudience`");
    expect(servers.tokenRequests()).toEqual([]);
  });

  test.each([
    ["the server's issuer", { clientAssertionAudience: issuer }],
    ["the server's token endpoint", { clientAssertionAudience: `${issuer}/token` }],
    ["a name of its own, where the app names the issuer", { clientAssertionAudience: "urn:company", issuer }],
    [
      "a name of its own, where the app names the token endpoint",
      { clientAssertionAudience: "urn:company", tokenEndpoint: `${issuer}/token` },
    ],
  ])("is sent with %s", async (_what, options) => {
    const servers = scripted();
    const { auth } = scriptedProgram(servers, { ...byKey, ...options });
    await auth.getAccessToken();
    expect(servers.tokenRequests()).toHaveLength(1);
  });
});

test("a protected server that was not itself for a while: the program goes on with the right server afterwards", async () => {
  const servers = scripted();
  const clock = shiftedClock();
  const store = new MemoryStore();
  const { call } = scriptedProgram(servers, { clock, store, scopes: ["read"] });
  expect((await call()).status).toBe(200);
  const routes = { ...servers.routes };
  Object.assign(servers.routes, lying().routes, { [serverUrl]: () => unauthorized() });
  expect((await failure(call())).code).toBe("client_issuer_mismatch");
  Object.assign(servers.routes, routes);
  clock.shift(61_000);
  expect((await call()).status).toBe(200);
  expect((await scriptedProgram(servers, { clock, store, scopes: ["read"] }).call()).status).toBe(200);
  expect(servers.tokenRequests().map(({ url }) => url)).toEqual([`${issuer}/token`, `${issuer}/token`]);
});

test("a protected server that has moved since a program was started last: the stored token says where its secret belongs", async () => {
  const servers = scripted();
  const store = new MemoryStore();
  await scriptedProgram(servers, { store }).call();
  for (const key of await store.keys("")) if (!key.startsWith("machine/")) await store.delete(key);
  servers.good.clear();
  Object.assign(servers.routes, lying().routes, { [serverUrl]: () => unauthorized() });
  expect((await failure(scriptedProgram(servers, { store }).call())).code).toBe("client_issuer_mismatch");
  expect(servers.tokenRequests().map(({ url }) => url)).toEqual([`${issuer}/token`]);
});

describe("whose token it is", () => {
  test("a client and a workload of the same name share none", async () => {
    const servers = scripted();
    const store = new MemoryStore();
    const assertion = Object.assign(() => jwt({ ...forCompany, aud: issuer }), { identity: "ci" });
    const client = await scriptedProgram(servers, { store }).auth.getAccessToken();
    expect(await scriptedProgram(servers, { store, ...byAssertion, assertion }).auth.getAccessToken()).not.toBe(client);
  });

  test("a client for itself and for somebody else share none", async () => {
    const servers = scripted();
    const store = new MemoryStore();
    const options = { store, account: "alice" };
    const own = await scriptedProgram(servers, options).auth.getAccessToken();
    expect(
      await scriptedProgram(servers, { ...options, assertion: () => jwt({ ...forCompany, aud: issuer }) }).auth.getAccessToken(),
    ).not.toBe(own);
  });
});

describe("a program is bound to its authorization server, and binds no other program", () => {
  const assertion = () => jwt({ ...forCompany, aud: [issuer, evil] });
  const from = (identity: string) => Object.assign(() => assertion(), { identity });

  test.each<[difference: string, one: Partial<MachineTokenManagerOptions>, other: Partial<MachineTokenManagerOptions>]>([
    ["client ID", { clientId: "one" }, { clientId: "other" }],
    ["identity of their assertions", { ...byAssertion, assertion: from("one") }, { ...byAssertion, assertion: from("other") }],
    ["account", { ...byAssertion, assertion, account: "one" }, { ...byAssertion, assertion, account: "other" }],
  ])("where they differ by the %s", async (_difference, one, other) => {
    const servers = scripted();
    const store = new MemoryStore();
    await scriptedProgram(servers, { store, ...one }).auth.getAccessToken();
    Object.assign(servers.routes, lying().routes);
    await scriptedProgram(servers, { store, ...other }).auth.getAccessToken();
    expect((await failure(scriptedProgram(servers, { store, ...one, scopes: ["read"] }).auth.getAccessToken())).code).toBe(
      "client_issuer_mismatch",
    );
    expect(servers.tokenRequests().map(({ url }) => url)).toEqual([`${issuer}/token`, `${evil}/token`]);
  });
});
