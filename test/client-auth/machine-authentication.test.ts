import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { authenticationMethod, machineAuthentication, selectEndpoints } from "../../src/client-auth/machine-authentication.ts";
import type { MachineClient } from "../../src/client-auth/machine-client.ts";
import { failure } from "../discovery/support.ts";
import { type ProtectedServer, startProtectedServer } from "../fixture/index.ts";
import { expectSecretsAbsent, tokenFor, whoami } from "./support.ts";

const issuer = "https://as.example";
const secret = { clientId: "robot", clientSecret: "s3cret-of-the-robot" };
const key = { clientId: "robot", privateKey: { algorithm: "ES256", sign: async () => new Uint8Array(64) } };

describe("REQ-CC-02 the method is what the credentials allow and the server lists, unless it is given", () => {
  test.each<[string, MachineClient, string[] | undefined, string]>([
    // what there is, and the server's list: the method
    ["a secret, no list", secret, undefined, "client_secret_basic"],
    ["a secret", secret, ["private_key_jwt", "client_secret_post", "client_secret_basic"], "client_secret_basic"],
    ["a secret", secret, ["client_secret_post", "none"], "client_secret_post"],
    ["a key, no list", key, undefined, "private_key_jwt"],
    ["a key", key, ["client_secret_basic", "private_key_jwt"], "private_key_jwt"],
    ["a key and a secret, no list", { ...key, ...secret }, undefined, "private_key_jwt"],
    ["a key and a secret", { ...key, ...secret }, ["client_secret_post"], "client_secret_post"],
    ["an ID only, no list", { clientId: "robot" }, undefined, "none"],
    ["an ID only", { clientId: "robot" }, ["client_secret_basic", "tls_client_auth"], "tls_client_auth"],
    ["an ID only", { clientId: "robot" }, ["none", "tls_client_auth"], "none"],
    ["an ID only", { clientId: "robot" }, ["client_secret_basic"], "none"],
    ["no ID", {}, ["client_secret_basic"], "none"],
    ["what is given", { ...secret, tokenEndpointAuthMethod: "client_secret_post" }, ["private_key_jwt"], "client_secret_post"],
    ["what is given", { ...secret, tokenEndpointAuthMethod: "tls_client_auth" }, undefined, "tls_client_auth"],
  ])("%s: %j, listed %j: %s", (_what, client, listed, method) => {
    expect(authenticationMethod(client, { issuer, ...(listed && { token_endpoint_auth_methods_supported: listed }) })).toBe(method);
  });

  test.each<[string, MachineClient, string[] | undefined, RegExp]>([
    [
      "only keys are listed",
      secret,
      ["private_key_jwt"],
      /lists private_key_jwt, and this client can do client_secret_basic, client_secret_post[ .(]/,
    ],
    ["only secrets are listed", key, ["client_secret_basic"], /lists client_secret_basic, and this client can do private_key_jwt[ .(]/],
    ["an empty list", secret, [], /lists no method/],
    [
      "a method without its key",
      { ...secret, tokenEndpointAuthMethod: "private_key_jwt" },
      undefined,
      /private_key_jwt needs `privateKey`/,
    ],
    [
      "a method without its secret",
      { ...key, tokenEndpointAuthMethod: "client_secret_post" },
      undefined,
      /client_secret_post needs `clientSecret`/,
    ],
    [
      "an unknown method",
      { ...secret, tokenEndpointAuthMethod: "client_secret_jwt" as "none" },
      undefined,
      /`tokenEndpointAuthMethod` must be "none" or /,
    ],
    ["a secret without ID", { clientSecret: secret.clientSecret }, undefined, /need `clientId`/],
    ["a method without ID", { tokenEndpointAuthMethod: "none" }, undefined, /need `clientId`/],
    ["an empty secret", { clientId: "robot", clientSecret: "" }, undefined, /`clientSecret` must be a text that is not empty/],
  ])("%s: invalid_option", (_what, client, listed, detail) => {
    const server = { issuer, ...(listed && { token_endpoint_auth_methods_supported: listed }) };
    let thrown: unknown;
    try {
      machineAuthentication(client, server);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toMatchObject({ code: "invalid_option", message: expect.stringMatching(detail) });
    expectSecretsAbsent(thrown, secret.clientSecret);
  });
});

test("REQ-WIF-01 without a client ID nothing of a client is sent", async () => {
  const body = new URLSearchParams();
  const headers = new Headers();
  await machineAuthentication({}, { issuer })({ issuer }, { client_id: "" }, body, headers);
  expect([[...body], [...headers]]).toEqual([[], []]);
});

describe("RFC 8705 §5 a client with a certificate uses the endpoints for certificates", () => {
  const server = {
    issuer,
    token_endpoint: `${issuer}/token`,
    revocation_endpoint: `${issuer}/revoke`,
    mtls_endpoint_aliases: { token_endpoint: "https://mtls.as.example/token", issuer: "https://else.example" },
  };
  test.each<[MachineClient, string]>([
    [{ clientId: "robot", tokenEndpointAuthMethod: "tls_client_auth" }, "https://mtls.as.example/token"],
    [{ clientId: "robot", tokenEndpointAuthMethod: "self_signed_tls_client_auth" }, "https://mtls.as.example/token"],
    [secret, `${issuer}/token`],
    [key, `${issuer}/token`],
    [{}, `${issuer}/token`],
  ])("%j: %s", (client, endpoint) => {
    expect(selectEndpoints(client, server)).toMatchObject({ issuer, token_endpoint: endpoint, revocation_endpoint: `${issuer}/revoke` });
  });

  test("a server without such endpoints is used as it is", () => {
    const { mtls_endpoint_aliases: _, ...plain } = server;
    expect(selectEndpoints({ clientId: "robot", tokenEndpointAuthMethod: "tls_client_auth" }, plain)).toEqual(plain);
  });
});

describe("with a real authorization server and a real tool call", () => {
  let server: ProtectedServer;
  beforeAll(async () => {
    server = await startProtectedServer();
  });
  afterAll(() => server.close());
  beforeEach(() => server.reset());

  const add = (clientId: string, clientSecret: string, method: "client_secret_basic" | "client_secret_post") =>
    server.authorizationServer.addClient({
      client_id: clientId,
      client_secret: clientSecret,
      grant_types: ["client_credentials"],
      token_endpoint_auth_method: method,
    });
  const used = () =>
    server.authorizationServer
      .tokenRequests()
      .map(({ headers, form }) => [headers.authorization?.split(" ")[0], form.has("client_secret")]);

  const values = [
    ["letters", "robot", "plain-secret"],
    ["a colon", "urn:robot:1", "se:cr:et"],
    ["a percent sign", "50%", "%41%"],
    ["a plus sign", "a+b", "c+d=="],
    ["a space", "my robot", "my secret"],
    ["characters of URLs and forms", "https://app.example/c?x=1&y=2", "a=b&c=d#e/f"],
    ["every mark that a secret may have", "marks", " !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"],
  ] as const;
  describe.each(["client_secret_basic", "client_secret_post"] as const)("RFC 6749 §2.3.1 %s", (method) => {
    test.each(values)("%s in ID and secret", async (_what, clientId, clientSecret) => {
      await add(clientId, clientSecret, method);
      const client = { clientId, clientSecret, tokenEndpointAuthMethod: method };
      expect(await whoami(server, client)).toMatchObject({ sub: clientId, clientId, scopes: ["mcp:read"] });
      expect(used()).toEqual([method === "client_secret_basic" ? ["Basic", false] : [undefined, true]]);
    });
  });

  test("the server's list decides: post where it lists no basic", async () => {
    await add("poster", "s3cret-poster", "client_secret_post");
    server.authorizationServer.metadataPatch = { token_endpoint_auth_methods_supported: ["client_secret_post"] };
    expect(await whoami(server, { clientId: "poster", clientSecret: "s3cret-poster" })).toMatchObject({ sub: "poster" });
  });

  test.each([
    ["a wrong secret", "robot-1", "wrong-secret-0123"],
    ["an unknown client", "nobody", "wrong-secret-0123"],
  ])("%s: invalid_client, without the secret", async (_what, clientId, clientSecret) => {
    await add("robot-1", "right-secret-0123", "client_secret_basic");
    const error = await failure(tokenFor(server, { clientId, clientSecret }));
    expect(error).toMatchObject({ code: "invalid_client", status: 401, serverError: "invalid_client" });
    expectSecretsAbsent(error, clientSecret, btoa(`${clientId}:${clientSecret}`));
  });

  test("a secret rotated at the server: the old one is refused, the new one works", async () => {
    await add("rotated", "old-secret-0123", "client_secret_basic");
    const withSecret = (clientSecret: string) => tokenFor(server, { clientId: "rotated", clientSecret });
    expect(await withSecret("old-secret-0123")).toBeTypeOf("string");
    await server.authorizationServer.setSecret("rotated", "new-secret-0123");
    expect((await failure(withSecret("old-secret-0123"))).code).toBe("invalid_client");
    expect(await withSecret("new-secret-0123")).toBeTypeOf("string");
  });
});
