/** The machine entry where there are Web APIs and nothing else: Cloudflare Workers, Deno Deploy, a browser's worker. */
import { createContext, runInContext } from "node:vm";
import { build } from "esbuild";
import { beforeAll, expect, test } from "vitest";
import type * as Machine from "../../src/machine/index.ts";
import { keyForms } from "../client-auth/support.ts";
import { clientId, clientSecret, startServer } from "./support.ts";

/** Of the Minimum Common Web API (WinterTC). */
const webApis = [
  ...["AbortController", "AbortSignal", "Blob", "CryptoKey", "FormData", "Headers", "Request", "Response", "TextDecoder", "TextEncoder"],
  ...["URL", "URLSearchParams", "atob", "btoa", "clearTimeout", "crypto", "fetch", "setTimeout", "structuredClone"],
] as const;

let machine: typeof Machine;

beforeAll(async () => {
  const { outputFiles, warnings } = await build({
    entryPoints: ["src/machine/index.ts"],
    bundle: true,
    write: false,
    platform: "neutral",
    mainFields: ["module", "main"],
    format: "iife",
    globalName: "machine",
    external: ["undici"],
    logLevel: "silent",
  });
  expect(warnings).toEqual([]);
  const context = createContext(Object.fromEntries(webApis.map((name) => [name, globalThis[name]])));
  machine = runInContext(`${outputFiles[0]?.text}; machine`, context);
}, 60_000);

test("REQ-CC-02 a secret, and a key in each form", async () => {
  const server = await startServer();
  const { publicJwk, forms } = await keyForms("ES256");
  await server.authorizationServer.addClient({
    ...{ client_id: "with-key", grant_types: ["client_credentials"], token_endpoint_auth_method: "private_key_jwt" },
    jwks: { keys: [publicJwk] },
  });
  for (const options of [{ clientId, clientSecret }, ...Object.values(forms).map((privateKey) => ({ clientId: "with-key", privateKey }))]) {
    const auth = new machine.MachineTokenManager({ serverUrl: server.url, ...options });
    expect(await auth.getAccessToken()).toMatch(/^eyJ/);
    await auth.dispose();
  }
});

/** No `instanceof`: that class is another realm's. */
const failure = (promise: Promise<unknown>) => promise.catch((error: unknown) => error);

test("what needs Node says so", async () => {
  const server = await startServer({ authorizationServer: { trust: {} } });
  const { issuer } = server.authorizationServer;
  const sources = [
    machine.gitHubActions(),
    machine.gitLab(),
    machine.kubernetes(),
    machine.assertionFile("jwt"),
    machine.assertionCommand(["jwt"]),
  ];
  for (const assertion of sources) {
    expect(assertion.identity).toBeUndefined();
    const auth = new machine.MachineTokenManager({ serverUrl: server.url, issuer, assertion });
    expect(await failure(auth.getAccessToken())).toMatchObject({
      code: "assertion_unavailable",
      message: expect.stringMatching(/this runtime has no environment and no files/),
    });
  }
});
