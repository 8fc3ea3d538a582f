/** What a program does once, however many tokens it asks for. */
import { expect, test, vi } from "vitest";
import { MemoryStore } from "../../src/index.ts";
import { keyForms } from "../client-auth/support.ts";
import { minutes, shiftedClock } from "../storm/support.ts";
import { authorizationServer, issuer, scripted, scriptedProgram, serverUrl } from "./scripted.ts";

test("a key is imported once", async () => {
  const { forms } = await keyForms("ES256");
  const servers = scripted();
  const { call } = scriptedProgram(servers, { clientSecret: undefined, privateKey: String(forms.PEM) });
  const imports = vi.spyOn(crypto.subtle, "importKey");
  await call();
  const first = imports.mock.calls.length;
  expect(first).toBeGreaterThan(0);
  for (let renewal = 0; renewal < 3; renewal++) {
    servers.good.clear();
    expect((await call()).status).toBe(200);
  }
  expect(servers.tokenRequests()).toHaveLength(4);
  expect(imports.mock.calls.length).toBe(first);
});

test("the key is tried anew when the server's algorithms change", async () => {
  const { forms } = await keyForms("ES256");
  const servers = scripted();
  const { call, auth } = scriptedProgram(servers, { clientSecret: undefined, privateKey: String(forms.PEM), store: forgetfulStore() });
  await call();
  servers.routes[`${issuer}/.well-known/oauth-authorization-server`] = () =>
    authorizationServer(issuer, { token_endpoint_auth_signing_alg_values_supported: ["RS512"] });
  servers.good.clear();
  await expect(call()).rejects.toMatchObject({ code: "invalid_option" });
  expect(auth.lastError?.code).toBe("invalid_option");
});

test("metadata that were just validated are not asked for again, where nothing can be stored either", async () => {
  const servers = scripted();
  const { call } = scriptedProgram(servers, { store: forgetfulStore() });
  expect((await call()).status).toBe(200);
  const metadata = servers.log.filter(({ url }) => url === `${issuer}/.well-known/oauth-authorization-server`);
  expect(metadata).toHaveLength(1);
});

test("a refusal is looked into once: the renewals that follow ask for nothing but tokens", async () => {
  const servers = scripted();
  const clock = shiftedClock();
  const { call } = scriptedProgram(servers, { clock });
  await call();
  servers.good.clear();
  expect((await call()).status).toBe(200);
  for (let renewal = 0; renewal < 3; renewal++) {
    servers.log.length = 0;
    clock.shift(minutes(6));
    expect((await call()).status).toBe(200);
    expect(servers.log.map(({ url }) => url)).toEqual([`${issuer}/token`, serverUrl]);
  }
});

/** Keeps nothing of what was discovered. */
function forgetfulStore(): MemoryStore {
  const store = new MemoryStore();
  const { set } = store;
  store.set = async (key, value) => {
    if (key.startsWith("servers/")) throw new Error("disk full");
    await set.call(store, key, value);
  };
  return store;
}
