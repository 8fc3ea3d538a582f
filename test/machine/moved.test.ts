/** A server whose metadata name other authorization servers than when its token was made: where a client's secret goes. */
import { describe, expect, test } from "vitest";
import type { McpAuthError } from "../../src/errors.ts";
import { MemoryStore } from "../../src/index.ts";
import { type Answer, authorizationServer, issuer, resourceMetadata, scripted, scriptedProgram, serverUrl } from "./scripted.ts";

const another = "https://another.example";

test.each<[rule: string, named: string[], outcome: number | string]>([
  ["it still names the one that is known", [issuer], 200],
  ["it names another one first: the known one is still right", [another, issuer], 200],
  ["it does not name it any more: the secret is not sent to another", [another], "client_issuer_mismatch"],
  ["it cannot be asked: nothing speaks against the known one", [], 200],
])("%s", async (_rule, named, outcome) => {
  const servers = scripted();
  servers.routes[`${another}/.well-known/oauth-authorization-server`] = () => authorizationServer(another);
  servers.routes[`${another}/token`] = () => servers.issue();
  const { auth, call } = scriptedProgram(servers);
  await auth.getAccessToken();
  servers.good.clear();
  servers.log.length = 0;
  servers.routes[resourceMetadata] = () =>
    named.length > 0 ? { body: { resource: serverUrl, authorization_servers: named } } : { status: 503 };
  expect(
    await call().then(
      ({ status }) => status,
      ({ code }: McpAuthError) => code,
    ),
  ).toBe(outcome);
  expect(servers.tokenRequests().map(({ url }) => url)).toEqual(outcome === 200 ? [`${issuer}/token`] : []);
});

describe("a program that is new, where another one has found an authorization server before", () => {
  async function world(named: readonly string[]) {
    const servers = scripted();
    servers.routes[`${another}/.well-known/oauth-authorization-server`] = () => authorizationServer(another);
    servers.routes[`${another}/token`] = () => servers.issue();
    const store = new MemoryStore();
    await scriptedProgram(servers, { store, clientId: "old" }).auth.getAccessToken();
    servers.log.length = 0;
    servers.routes[resourceMetadata] = () =>
      named.length > 0 ? { body: { resource: serverUrl, authorization_servers: named } } : { status: 503 };
    return { servers, store };
  }

  test.each<[rule: string, named: readonly string[], chosen: string]>([
    ["goes there as well", [issuer], issuer],
    ["goes there, although another one is named first: tokens come from one server", [another, issuer], issuer],
    ["goes to the one that is named now, and its secret not to the former", [another], another],
    ["goes there while the metadata cannot be had", [], issuer],
  ])("%s", async (_rule, named, chosen) => {
    const { servers, store } = await world(named);
    expect((await scriptedProgram(servers, { store, clientId: "new" }).call()).status).toBe(200);
    expect(servers.tokenRequests().map(({ url }) => url)).toEqual([`${chosen}/token`]);
  });

  test.each<[rule: string, metadata: Answer, scope: string]>([
    ["that the server names now", { body: { resource: serverUrl, authorization_servers: [issuer], scopes_supported: ["new"] } }, "new"],
    ["that it named before, while its metadata cannot be had", { status: 503 }, "old"],
  ])("requests the scopes %s", async (_rule, metadata, scope) => {
    const servers = scripted();
    const store = new MemoryStore();
    servers.routes[resourceMetadata] = () => ({
      body: { resource: serverUrl, authorization_servers: [issuer], scopes_supported: ["old"] },
    });
    await scriptedProgram(servers, { store, clientId: "old" }).auth.getAccessToken();
    servers.routes[resourceMetadata] = () => metadata;
    servers.log.length = 0;
    await scriptedProgram(servers, { store, clientId: "new" }).auth.getAccessToken();
    expect(servers.tokenRequests().map(({ form }) => form.get("scope"))).toEqual([scope]);
  });

  test("goes to its own, if the other program was led elsewhere", async () => {
    const { servers, store } = await world([another]);
    await scriptedProgram(servers, { store, clientId: "new" }).auth.getAccessToken();
    servers.routes[resourceMetadata] = () => ({ body: { resource: serverUrl, authorization_servers: [issuer, another] } });
    servers.log.length = 0;
    await scriptedProgram(servers, { store, clientId: "old", scopes: ["write"] }).auth.getAccessToken();
    expect(servers.tokenRequests().map(({ url }) => url)).toEqual([`${issuer}/token`]);
  });
});
