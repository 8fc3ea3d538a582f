/** A web application without any registration: its client ID metadata document has its keys, and every token request is signed. */
import { decodeJwt, decodeProtectedHeader } from "jose";
import { describe, expect, onTestFinished, test } from "vitest";
import { clientMetadataDocument, clientMetadataHandler, publicKeySet } from "../../src/hosted/index.ts";
import { TokenManager } from "../../src/index.ts";
import { application, outcome, redirectUri, startServer, visit } from "./support.ts";

const clientMetadataUrl = "https://app.example/oauth/client.json";

async function generateKey(kid: string) {
  const { privateKey } = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"]);
  return { ...(await crypto.subtle.exportKey("jwk", privateKey)), kid } as const;
}

/** A protected server that reads the document as the application serves it. */
async function publishing(...keys: object[]) {
  const server = await startServer();
  const jwks = keys.length > 0 ? publicKeySet(...keys) : undefined;
  const document = clientMetadataDocument({ clientMetadataUrl, clientName: "Acme", redirectUris: [redirectUri], jwks });
  const served = (await (await clientMetadataHandler(document)(new Request(clientMetadataUrl))).json()) as object;
  server.authorizationServer.clientMetadataDocuments = { [clientMetadataUrl]: served };
  return server;
}

describe("a client that is known by its document", () => {
  test("and its key logs in, refreshes and logs out, each time with an assertion of its own", async () => {
    const privateKey = await generateKey("2026-11");
    const server = await publishing(await generateKey("2026-10"), privateKey);
    const app = application({ clientMetadataUrl, privateKey });
    const begun = await app.machine().beginAuthorization({ serverUrl: server.url, account: "ann" });
    expect(begun.url.searchParams.get("client_id")).toBe(clientMetadataUrl);
    await app.machine().finishAuthorization(await visit(begun.url), { binding: begun.binding });

    const auth = new TokenManager({ serverUrl: server.url, account: "ann", store: app.store, clientMetadataUrl, privateKey });
    onTestFinished(() => auth.dispose());
    server.mcpServer.revokeAll();
    const call = { method: "POST", body: "{}", headers: { "content-type": "application/json" } };
    expect((await auth.fetch(server.url, call)).status).not.toBe(401);
    expect(await app.machine().logout({ serverUrl: server.url, account: "ann" })).toMatchObject({ refreshTokenRevoked: true });

    const { authorizationServer: as } = server;
    const revocations = as.requests.filter(({ path }) => path === "/revoke");
    const assertions = [...as.tokenRequests(), ...revocations].map(({ form }) => String(form.get("client_assertion")));
    expect(as.tokenRequests().map(({ grantType }) => grantType)).toEqual(["authorization_code", "refresh_token"]);
    for (const assertion of assertions) {
      expect(decodeProtectedHeader(assertion)).toMatchObject({ alg: "ES256", kid: "2026-11" });
      expect(decodeJwt(assertion)).toMatchObject({ iss: clientMetadataUrl, sub: clientMetadataUrl, aud: as.issuer });
    }
    expect(new Set(assertions).size).toBe(assertions.length);
    expect(as.registrations).toHaveLength(0);
  });

  test("without keys is a public one", async () => {
    const server = await publishing();
    const app = application({ clientMetadataUrl });
    const begun = await app.machine().beginAuthorization({ serverUrl: server.url, account: "ann" });
    await app.machine().finishAuthorization(await visit(begun.url), { binding: begun.binding });
    expect(server.authorizationServer.liveLogins).toBe(1);
  });

  test("whose key is not in the document is refused, and the key is nowhere in the error", async () => {
    const [published, other] = [await generateKey("a"), await generateKey("a")];
    const server = await publishing(published);
    const app = application({ clientMetadataUrl, privateKey: other });
    const begun = await app.machine().beginAuthorization({ serverUrl: server.url, account: "ann" });
    const finishing = app.machine().finishAuthorization(await visit(begun.url), { binding: begun.binding });
    const error = await finishing.catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: "invalid_client" });
    expect(`${error} ${JSON.stringify(error)}`).not.toContain(other.d);
  });

  test("registers where documents are taken of public clients alone", async () => {
    const privateKey = await generateKey("a");
    const server = await publishing(privateKey);
    server.authorizationServer.metadataPatch = { token_endpoint_auth_methods_supported: ["none", "client_secret_basic"] };
    const app = application({ clientMetadataUrl, privateKey });
    const begun = await app.machine().beginAuthorization({ serverUrl: server.url, account: "ann" });
    await app.machine().finishAuthorization(await visit(begun.url), { binding: begun.binding });
    expect(server.authorizationServer.registrations).toHaveLength(1);
  });

  test("and was registered by hand", async () => {
    const privateKey = await generateKey("a");
    const server = await startServer();
    await server.authorizationServer.addClient({
      client_id: "acme",
      redirect_uris: [redirectUri],
      grant_types: ["authorization_code", "refresh_token"],
      token_endpoint_auth_method: "private_key_jwt",
      jwks: publicKeySet(privateKey) as { keys: [] },
    });
    const app = application({ clientId: "acme", privateKey });
    const begun = await app.machine().beginAuthorization({ serverUrl: server.url, account: "ann" });
    await app.machine().finishAuthorization(await visit(begun.url), { binding: begun.binding });
    expect(server.authorizationServer.tokenRequests()[0]?.form.get("client_assertion")).toMatch(/./);
  });
});

test.each([
  ["a key without a client that has it", { privateKey: { kty: "EC" } }, "`privateKey` needs `clientId` or `clientMetadataUrl`"],
  ["the name of a key alone", { keyId: "a", clientMetadataUrl }, "`keyId` needs `privateKey`"],
])("%s is refused", async (_what, options, message) => {
  const store = application().store;
  const made = async () => new TokenManager({ serverUrl: "https://mcp.example/mcp", store, ...options });
  expect(await outcome(made())).toBe("invalid_option");
  await expect(made()).rejects.toThrow(message);
});

test("a manager that has lost the key says so, and keeps the login", async () => {
  const privateKey = await generateKey("a");
  const server = await publishing(privateKey);
  const app = application({ clientMetadataUrl, privateKey });
  const begun = await app.machine().beginAuthorization({ serverUrl: server.url, account: "ann" });
  await app.machine().finishAuthorization(await visit(begun.url), { binding: begun.binding });
  const auth = new TokenManager({ serverUrl: server.url, account: "ann", store: app.store, clientMetadataUrl });
  onTestFinished(() => auth.dispose());
  server.mcpServer.revokeAll();
  const call = auth.fetch(server.url, { method: "POST", body: "{}", headers: { "content-type": "application/json" } });
  expect(await outcome(call.then(({ status }) => status))).toBe("invalid_option");
  expect(server.authorizationServer.liveLogins).toBe(1);
  expect(await auth.status()).toMatchObject({ canRefresh: true });
});
