/** A server whose metadata name other authorization servers than when its token was made: where a client's secret goes. */
import { expect, test } from "vitest";
import type { McpAuthError } from "../../src/errors.ts";
import { authorizationServer, issuer, resourceMetadata, scripted, scriptedProgram, serverUrl } from "./scripted.ts";

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
