import { inspect } from "node:util";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { decodeJwt } from "jose";
import { describe, expect, onTestFinished, test } from "vitest";
import { systemClock } from "../../src/clock.ts";
import type { MachineTokenManagerOptions, Signer } from "../../src/machine/index.ts";
import { mutualTls } from "../../src/node/mutual-tls.ts";
import { expectSecretsAbsent, keyForms } from "../client-auth/support.ts";
import { failure } from "../discovery/support.ts";
import { createCertificateAuthority, type ProtectedServer, startMcpServer } from "../fixture/index.ts";
import { clientId, clientSecret, program, startServer } from "./support.ts";

const key = await keyForms("ES256");
const other = await keyForms("ES256");
const ca = createCertificateAuthority();
const certificate = { ...ca.client({ name: clientId }), ca: ca.cert };
const overTls = { authorizationServer: { tls: ca }, mcpServer: { tls: ca, clientCertificates: "optional" } } as const;

type Method = "client_secret_basic" | "client_secret_post" | "private_key_jwt" | "tls_client_auth";

/** Arranges the program for one method, in place of its secret. */
function arrange({ authorizationServer }: ProtectedServer, method: Method): Promise<void> {
  return authorizationServer.addClient({
    client_id: clientId,
    grant_types: ["client_credentials"],
    token_endpoint_auth_method: method,
    ...{
      client_secret_basic: { client_secret: clientSecret },
      client_secret_post: { client_secret: clientSecret },
      private_key_jwt: { jwks: { keys: [key.publicJwk] } },
      tls_client_auth: { tls_client_auth_subject_dn: `CN=${clientId}`, tls_client_certificate_bound_access_tokens: true },
    }[method],
  });
}

/** How programs prove themselves: by what, and what they pass for it. */
const ways: [name: string, method: Method, options: Partial<MachineTokenManagerOptions>][] = [
  ["a secret in the header", "client_secret_basic", {}],
  ["a secret in the body", "client_secret_post", { tokenEndpointAuthMethod: "client_secret_post" }],
  ["a key", "private_key_jwt", { clientSecret: undefined, privateKey: key.forms.PEM }],
  ["a key beside a secret", "private_key_jwt", { privateKey: key.forms.JWK }],
  ["a signer", "private_key_jwt", { clientSecret: undefined, privateKey: key.forms.Signer }],
  [
    "a certificate",
    "tls_client_auth",
    { clientSecret: undefined, tokenEndpointAuthMethod: "tls_client_auth", fetch: mutualTls(certificate) },
  ],
];

describe.each(ways)("REQ-CC-02 a program that authenticates by %s", (_name, method, options) => {
  async function start() {
    const server = await startServer(method === "tls_client_auth" ? overTls : {});
    await arrange(server, method);
    return { server, ...program(server, options) };
  }

  test("calls a tool in a session of the SDK; the token is asked for once, and again when it is refused", async () => {
    const { server, auth } = await start();
    const client = new Client({ name: "test", version: "1" });
    await client.connect(new StreamableHTTPClientTransport(new URL(server.url), { fetch: auth.fetch }) as never);
    onTestFinished(() => client.close());
    const callTool = async () => JSON.stringify(await client.callTool({ name: "whoami", arguments: {} }));
    expect(await callTool()).toContain(clientId);
    expect(server.authorizationServer.tokenRequests()).toHaveLength(1);
    server.mcpServer.revokeAll();
    expect(await callTool()).toContain(clientId);
    expect(server.authorizationServer.tokenRequests()).toHaveLength(2);
  });

  test("is refused where the server does not know it: one clear error, and no secret in what is told of it", async () => {
    const { server, auth, call, events } = await start();
    server.authorizationServer.forgetClients();
    const error = await failure(call());
    expect(error).toMatchObject({ code: "invalid_client", issuer: server.authorizationServer.issuer });
    expect(server.authorizationServer.tokenRequests()).toHaveLength(1);
    const assertion = server.authorizationServer.tokenRequests()[0]?.form.get("client_assertion") ?? "";
    const { d = "" } = key.forms.JWK;
    for (const told of [error, events, auth, inspect(auth, { showHidden: true })])
      expectSecretsAbsent(told, clientSecret, key.forms.PEM, d, certificate.key, ...assertion.split("."));
  });
});

describe("private_key_jwt", () => {
  async function start(options: Partial<MachineTokenManagerOptions> = {}) {
    const server = await startServer();
    await arrange(server, "private_key_jwt");
    return { server, ...program(server, { clientSecret: undefined, privateKey: key.forms.PEM, ...options }) };
  }
  const assertions = (server: ProtectedServer) =>
    server.authorizationServer.tokenRequests().map(({ form }) => decodeJwt(form.get("client_assertion") ?? ""));

  test("REQ-CC-03 each token request has an assertion of its own, for the issuer that was found", async () => {
    const { server, call } = await start();
    await call();
    server.mcpServer.revokeAll();
    await call();
    const [first, second] = assertions(server);
    expect([first?.aud, second?.aud]).toEqual(Array(2).fill(server.authorizationServer.issuer));
    expect(first?.jti).not.toBe(second?.jti);
  });

  test("the wrong key: invalid_client", async () => {
    const { call } = await start({ privateKey: other.forms.PEM });
    expect((await failure(call())).code).toBe("invalid_client");
  });

  test("a key that cannot be used: invalid_option, and no token request", async () => {
    const { server, call } = await start({ privateKey: key.forms.PEM.replaceAll("PRIVATE", "RSA PRIVATE") });
    expect(await failure(call())).toMatchObject({ code: "invalid_option", hint: expect.stringMatching(/openssl pkcs8/) });
    expect(server.authorizationServer.tokenRequests()).toEqual([]);
  });

  const off = (minutes: number) => ({ ...systemClock, now: () => Date.now() + minutes * 60_000 });

  test("a clock that is 10 minutes behind makes assertions that have expired: clock_skewed, which says how far", async () => {
    const { call } = await start({ clock: off(-10) });
    const message = /clock is wrong: it is (9\.9|10\.\d) minutes behind the authorization server's/;
    expect(await failure(call())).toMatchObject({ code: "clock_skewed", message: expect.stringMatching(message) });
  });

  test("a clock that is ahead makes assertions that a server accepts: there is no `nbf`", async () => {
    const { call } = await start({ clock: off(10) });
    expect((await call()).status).toBe(200);
  });

  test("a signer that fails: credential_unavailable with its reason; when it works again, so does the program", async () => {
    let isDown = true;
    let passed = 0;
    const clock = { ...systemClock, now: () => Date.now() + passed };
    const signer: Signer = {
      algorithm: "ES256",
      sign: async (data) => {
        if (isDown) throw new Error("the key service is down");
        return key.forms.Signer.sign(data);
      },
    };
    const { call } = await start({ privateKey: signer, clock });
    expect(await failure(call())).toMatchObject({ code: "credential_unavailable", cause: { message: "the key service is down" } });
    isDown = false;
    // A failure is not tried again at every call.
    expect((await failure(call())).code).toBe("credential_unavailable");
    passed = 60_000;
    expect((await call()).status).toBe(200);
  });
});

describe("certificates", () => {
  const byCertificate = { clientSecret: undefined, tokenEndpointAuthMethod: "tls_client_auth" } as const;

  test("RFC 8705 §5 the endpoint for certificates is used, §3 and the token serves with this certificate only", async () => {
    const server = await startServer(overTls);
    await arrange(server, "tls_client_auth");
    const { auth } = program(server, { ...byCertificate, fetch: mutualTls(certificate) });
    const token = await auth.getAccessToken();
    expect(decodeJwt(token).cnf).toEqual({ "x5t#S256": expect.any(String) });
    const [request] = server.authorizationServer.tokenRequests();
    expect(request?.headers.host).not.toBe(new URL(server.authorizationServer.issuer).host);
    const thief = mutualTls({ ...ca.client({ name: "thief" }), ca: ca.cert });
    const stolen = await thief(server.url, { method: "POST", headers: { authorization: `Bearer ${token}` } });
    expect(stolen.status).toBe(401);
  });

  test("somebody else's certificate: invalid_client", async () => {
    const server = await startServer(overTls);
    await arrange(server, "tls_client_auth");
    const { call } = program(server, { ...byCertificate, fetch: mutualTls({ ...ca.client({ name: "thief" }), ca: ca.cert }) });
    expect((await failure(call())).code).toBe("invalid_client");
  });

  test("a server that takes tokens on connections with certificates only", async () => {
    const server = await startServer({ ...overTls, mcpServer: { tls: ca, clientCertificates: "required" } });
    const { call } = program(server, { fetch: mutualTls(certificate) });
    expect((await call()).status).toBe(200);
  });

  test("a server behind certificates alone gets no token", async () => {
    const mcpServer = await startMcpServer({ tls: ca, clientCertificates: "required" });
    onTestFinished(() => mcpServer.close());
    const { call, types } = program({ url: mcpServer.url } as ProtectedServer, { fetch: mutualTls(certificate) });
    expect(JSON.stringify(await (await call()).json())).toContain(`CN=${clientId}`);
    expect([mcpServer.requests.some(({ authorized }) => authorized), types().includes("refresh.started")]).toEqual([false, false]);
  });
});
