/** After a 401 a program looks whether the server has moved to another authorization server: not for long. */
import { expect, test, vi } from "vitest";
import { failure } from "../discovery/support.ts";
import { manualClock } from "../storm/support.ts";
import { authorizationServer, resourceMetadata, scripted, scriptedProgram, serverUrl } from "./scripted.ts";

const never = () => new Promise<never>(() => {});

test("metadata that hang hold up the next token for 500 ms and no longer", async () => {
  const servers = scripted();
  const clock = manualClock();
  const { call } = scriptedProgram(servers, { clock });
  expect((await call()).status).toBe(200);
  servers.routes[resourceMetadata] = never;
  servers.good.clear();
  const answered = call();
  await vi.waitFor(() => expect(clock.timers).toContain(500));
  expect(servers.tokenRequests()).toHaveLength(1);
  clock.advance(500);
  expect((await answered).status).toBe(200);
  expect(servers.tokenRequests()).toHaveLength(2);
});

test("a server that has moved and whose metadata are slow: the refusal of the new token looks again, without that limit", async () => {
  const servers = scripted();
  const clock = manualClock();
  const { call } = scriptedProgram(servers, { clock });
  expect((await call()).status).toBe(200);
  const { promise: later, resolve: arrive } = Promise.withResolvers<void>();
  servers.routes[resourceMetadata] = async () => {
    await later;
    return { body: { resource: serverUrl, authorization_servers: ["https://new.example"] } };
  };
  servers.routes["https://new.example/.well-known/oauth-authorization-server"] = () => authorizationServer("https://new.example");
  servers.routes[serverUrl] = () => ({ status: 401, headers: { "www-authenticate": `Bearer resource_metadata="${resourceMetadata}"` } });
  const refused = failure(call());
  await vi.waitFor(() => expect(clock.timers).toContain(500));
  clock.advance(500);
  await vi.waitFor(() => expect(servers.tokenRequests()).toHaveLength(2));
  arrive();
  // It belongs to the authorization server that it was registered at.
  expect((await refused).code).toBe("client_issuer_mismatch");
  expect(servers.tokenRequests()).toHaveLength(2);
});
