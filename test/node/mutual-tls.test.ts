import { spawn } from "node:child_process";
import { createPublicKey } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { rootCertificates } from "node:tls";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { MachineTokenManager } from "../../src/machine/machine-token-manager.ts";
import { type ClientCertificate, mutualTls } from "../../src/node/mutual-tls.ts";
import { expectSecretsAbsent, tokenFor, whoami } from "../client-auth/support.ts";
import { failure, ManualClock } from "../discovery/support.ts";
import {
  createCertificateAuthority,
  encrypted,
  pkcs12,
  startAuthorizationServer,
  startMcpServer,
  startProtectedServer,
  trusting,
} from "../fixture/index.ts";
import { toolRequest } from "../fixture/tool-request.ts";

const ca = createCertificateAuthority();
const otherCa = createCertificateAuthority("Other CA");
const robot = ca.client({ name: "robot" });
const mallory = ca.client({ name: "mallory" });
const trusted = { ca: ca.cert };

/** A server that nobody may talk to without a certificate. */
async function guardedServer() {
  const server = await startMcpServer({ tls: ca, clientCertificates: "required" });
  onTestFinished(() => server.close());
  return server;
}

/** Whom the server takes the caller for. */
async function seenAs(fetch: typeof globalThis.fetch, url: string): Promise<string> {
  const response = await fetch(url, toolRequest("whoami"));
  const { result } = (await response.json()) as { result: { content: [{ text: string }] } };
  return JSON.parse(result.content[0].text).sub;
}

describe("plain mutual TLS to a protected MCP server", () => {
  test.each<[string, ClientCertificate]>([
    ["certificate and key", robot],
    ["as bytes", { cert: Buffer.from(robot.cert), key: Buffer.from(robot.key) }],
    ["with an encrypted key", { cert: robot.cert, key: encrypted(robot, "passphrase-0123"), passphrase: "passphrase-0123" }],
    ["as PKCS #12", { pfx: pkcs12(robot, "passphrase-0123"), passphrase: "passphrase-0123" }],
    ["with several authorities", { ...robot, ca: [...rootCertificates.slice(0, 2), ca.cert] }],
  ])("%s", async (_what, certificate) => {
    const server = await guardedServer();
    expect(await seenAs(mutualTls({ ...trusted, ...certificate }), server.url)).toBe("CN=robot");
  });

  test("a session of the official SDK, its stream included", async () => {
    const server = await guardedServer();
    const client = new Client({ name: "test", version: "1" });
    await client.connect(new StreamableHTTPClientTransport(new URL(server.url), { fetch: mutualTls({ ...robot, ...trusted }) }) as never);
    onTestFinished(() => client.close());
    const result = await client.callTool({ name: "whoami", arguments: {} });
    expect(JSON.stringify(result)).toContain("CN=robot");
    await server.streamsReached(1);
  });

  test("http passes, and a Request as well", async () => {
    const server = await startMcpServer();
    onTestFinished(() => server.close());
    const fetch = mutualTls({ ...robot, ...trusted });
    expect((await fetch(server.url, toolRequest("whoami"))).status).toBe(200);
    expect((await fetch(new Request(server.url, toolRequest("whoami")))).status).toBe(200);
  });

  test("a signal ends a request with its own reason", async () => {
    const server = await guardedServer();
    const reason = new Error("enough");
    await expect(
      mutualTls({ ...robot, ...trusted })(server.url, toolRequest("whoami", {}, { signal: AbortSignal.abort(reason) })),
    ).rejects.toBe(reason);
  });
});

describe("RFC 8705 §2.1 tls_client_auth at a real authorization server", () => {
  async function startServers() {
    const server = await startProtectedServer({
      authorizationServer: { tls: ca },
      mcpServer: { tls: ca, clientCertificates: "optional" },
    });
    onTestFinished(() => server.close());
    await server.authorizationServer.addClient({
      client_id: "robot",
      grant_types: ["client_credentials"],
      token_endpoint_auth_method: "tls_client_auth",
      tls_client_auth_subject_dn: "CN=robot",
      tls_client_certificate_bound_access_tokens: true,
    });
    return server;
  }
  const client = { clientId: "robot", tokenEndpointAuthMethod: "tls_client_auth" } as const;

  test("§5 the token comes from the endpoint for certificates, and serves on connections with the same one only (§3)", async () => {
    const server = await startServers();
    const fetch = mutualTls({ ...robot, ...trusted });
    expect(await whoami(server, client, { fetch })).toMatchObject({ sub: "robot", scopes: ["mcp:read"] });
    const [request] = server.authorizationServer.tokenRequests();
    const { issuer } = server.authorizationServer;
    expect(Object.fromEntries(request?.form ?? [])).toMatchObject({ client_id: "robot", grant_type: "client_credentials" });
    expect([request?.headers.authorization, request?.form.has("client_assertion")]).toEqual([undefined, false]);
    expect(request?.headers.host).not.toBe(new URL(issuer).host);

    const token = await tokenFor(server, client, { fetch });
    const { headers, ...call } = toolRequest("whoami");
    const withToken = { ...call, headers: { ...(headers as object), authorization: `Bearer ${token}` } };
    const statuses = [fetch, mutualTls({ ...mallory, ...trusted }), trusting(ca.cert)].map(
      async (send) => (await send(server.url, withToken)).status,
    );
    expect(await Promise.all(statuses)).toEqual([200, 401, 401]);
  });

  test("a server without aliases is asked where it is", async () => {
    const server = await startServers();
    server.authorizationServer.metadataPatch = { mtls_endpoint_aliases: undefined };
    // Where it is, nobody asks for a certificate.
    const error = await failure(tokenFor(server, client, { fetch: mutualTls({ ...robot, ...trusted }) }));
    expect(error.code).toBe("invalid_client");
    expect(server.authorizationServer.tokenRequests()[0]?.headers.host).toBe(new URL(server.authorizationServer.issuer).host);
  });

  test.each([
    ["somebody else's certificate", mutualTls({ ...mallory, ...trusted })],
    ["a certificate of an unknown authority", mutualTls({ ...otherCa.client({ name: "robot" }), ...trusted })],
    ["no certificate", trusting(ca.cert)],
  ])("%s: invalid_client", async (_what, fetch) => {
    const server = await startServers();
    expect(await failure(tokenFor(server, client, { fetch }))).toMatchObject({ code: "invalid_client", status: 401 });
  });

  test("§2.2 self_signed_tls_client_auth looks the same", async () => {
    const server = await startServers();
    const own = createCertificateAuthority("robot").client({ name: "robot" });
    const x5c = own.cert.replace(/-----.+?-----|\s/g, "");
    const jwk = { ...createPublicKey(own.cert).export({ format: "jwk" }), x5c: [x5c] };
    await server.authorizationServer.addClient({
      client_id: "self-signed",
      grant_types: ["client_credentials"],
      token_endpoint_auth_method: "self_signed_tls_client_auth",
      jwks: { keys: [jwk as never] },
    });
    const selfSigned = { clientId: "self-signed", tokenEndpointAuthMethod: "self_signed_tls_client_auth" } as const;
    expect(await whoami(server, selfSigned, { fetch: mutualTls({ ...own, ...trusted }) })).toMatchObject({ sub: "self-signed" });
    expect((await failure(tokenFor(server, selfSigned, { fetch: mutualTls({ ...robot, ...trusted }) }))).code).toBe("invalid_client");
  });
});

describe("what is wrong with a certificate shows at once, without anything of it", () => {
  const expired = ca.client({ name: "robot", days: -1 });
  const passphrase = "passphrase-0123";
  test.each<[string, ClientCertificate, string, RegExp]>([
    ["nothing", {}, "invalid_option", /needs `cert` and `key`, or `pfx`/],
    ["no key", { cert: robot.cert }, "invalid_option", /needs `cert` and `key`/],
    ["a key for a certificate", { cert: robot.key, key: robot.key }, "invalid_option", /`cert` is not a certificate/],
    ["a certificate for a key", { cert: robot.cert, key: robot.cert }, "invalid_option", /`key` is not a private key/],
    ["paths", { cert: "/etc/robot.pem", key: "/etc/robot.key" }, "invalid_option", /`cert` is not a certificate/],
    ["a damaged key", { cert: robot.cert, key: robot.key.replace("MI", "AA") }, "invalid_option", /`key` is not a private key/],
    ["somebody else's key", { cert: robot.cert, key: mallory.key }, "invalid_option", /`key` does not belong to `cert`/],
    ["no passphrase", { cert: robot.cert, key: encrypted(robot, passphrase) }, "invalid_option", /`passphrase` does not open `key`/],
    [
      "a wrong passphrase",
      { cert: robot.cert, key: encrypted(robot, passphrase), passphrase: "wrong-0123456" },
      "invalid_option",
      /`passphrase` does/,
    ],
    [
      "a wrong passphrase for PKCS #12",
      { pfx: pkcs12(robot, passphrase), passphrase: "wrong-0123456" },
      "invalid_option",
      /`pfx` is not a PKCS #12/,
    ],
    ["no PKCS #12", { pfx: robot.cert }, "invalid_option", /`pfx` is not a PKCS #12/],
    ["no authority", { ...robot, ca: "nobody" }, "invalid_option", /`ca` is not a certificate/],
    ["one authority that is none", { ...robot, ca: [ca.cert, robot.key] }, "invalid_option", /`ca` is not a certificate/],
    ["an expired certificate", expired, "credential_expired", /`cert` ended at \w{3} .+ GMT/],
  ])("%s", async (_what, certificate, code, detail) => {
    let thrown: unknown;
    try {
      mutualTls(certificate);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toMatchObject({ code, message: expect.stringMatching(detail) });
    const secrets = [robot.key, mallory.key, expired.key, certificate.passphrase ?? "", String(certificate.key ?? "")];
    expectSecretsAbsent(thrown, ...secrets);
  });

  test("a certificate for tomorrow", () => {
    const clock = new ManualClock();
    clock.time = Date.now() - 10 * 86_400_000;
    expect(() => mutualTls(robot, { clock })).toThrow(
      expect.objectContaining({ code: "invalid_option", message: expect.stringMatching(/not valid before/) }),
    );
  });

  test("undici is missing: what to install", async () => {
    vi.doMock("undici", () => {
      throw new Error("Cannot find package 'undici'");
    });
    onTestFinished(() => void vi.doUnmock("undici"));
    const error = await failure(mutualTls(robot)("https://mcp.example"));
    const said = { code: "invalid_option", hint: expect.stringMatching(/npm install undici@7/) };
    expect(error).toMatchObject(said);
    // A manager does not take it for a fault of the network.
    const auth = new MachineTokenManager({ serverUrl: "https://mcp.example", clientId: "robot", fetch: mutualTls(robot) });
    expect(await failure(auth.getAccessToken())).toMatchObject(said);
  });

  test("another undici is installed than Node's `fetch` works with: which one to install", async () => {
    const misfit = Object.assign(new Error("invalid onRequestStart method"), { code: "UND_ERR_INVALID_ARG" });
    const dispatch = () => {
      throw misfit;
    };
    vi.doMock("undici", () => ({
      Agent: class {
        dispatch = dispatch;
      },
    }));
    onTestFinished(() => void vi.doUnmock("undici"));
    const error = await failure(mutualTls(robot)("https://mcp.example"));
    expect(error).toMatchObject({
      code: "invalid_option",
      message: expect.stringMatching(/does not fit/),
      hint: expect.stringMatching(/npm install undici@7/),
    });
  });

  test("where `fetch` would leave the certificate out without a word", () => {
    vi.stubGlobal("navigator", { userAgent: "Cloudflare-Workers" });
    expect(() => mutualTls(robot)).toThrow(
      expect.objectContaining({
        code: "invalid_option",
        message: expect.stringMatching(/needs Node/),
        hint: expect.stringMatching(/`fetch` of your own/),
      }),
    );
  });
});

describe("what goes wrong at the connection: network_error that says so", () => {
  test.each<[string, ClientCertificate, RegExp]>([
    ["the server refuses the certificate", { ...otherCa.client({ name: "robot" }), ...trusted }, /may refuse the client certificate/],
    ["the server's own is of nobody known", robot, /not to be trusted \(SELF_SIGNED_CERT_IN_CHAIN\).* as `ca`/],
    ["the server's own is of another authority", { ...robot, ca: otherCa.cert }, /not to be trusted/],
  ])("%s", async (_what, certificate, message) => {
    const server = await guardedServer();
    const error = await failure(mutualTls(certificate)(server.url));
    expect(error).toMatchObject({ code: "network_error" });
    expect(String(error)).toMatch(message);
    expect(error.message).toContain(server.origin);
    expectSecretsAbsent(error, String(certificate.key));
  });

  test.each([
    ["-tls1_2", /refuses the client certificate.*unknown ca/i],
    // Here a client believes itself connected before the server has looked at the certificate.
    ["-tls1_3", /ended the connection, and may refuse the client certificate/],
  ])("a server of OpenSSL's, with %s", async (version, message) => {
    const folder = mkdtempSync(join(tmpdir(), "mcp-client-auth-"));
    const own = ca.server();
    for (const [name, text] of Object.entries({ ca: ca.cert, cert: own.cert, key: own.key })) writeFileSync(join(folder, name), text);
    const options = [
      version,
      "-accept",
      "127.0.0.1:0",
      "-Verify",
      "1",
      "-verify_return_error",
      "-CAfile",
      "ca",
      "-cert",
      "cert",
      "-key",
      "key",
    ];
    const server = spawn("openssl", ["s_server", ...options], { cwd: folder, stdio: ["pipe", "pipe", "ignore"] });
    onTestFinished(() => {
      server.kill();
      rmSync(folder, { recursive: true });
    });
    const port = await new Promise<string>((resolve) => {
      let printed = "";
      server.stdout.on("data", (data) => {
        printed += data;
        const [, found] = /ACCEPT 127\.0\.0\.1:(\d+)/.exec(printed) ?? [];
        if (found) resolve(found);
      });
    });
    const error = await failure(mutualTls({ ...otherCa.client({ name: "robot" }), ...trusted })(`https://127.0.0.1:${port}/`));
    expect(error).toMatchObject({ code: "network_error", message: expect.stringMatching(message) });
  });

  test("the server's certificate is for another host", async () => {
    const server = await startMcpServer({ tls: ca, clientCertificates: "required", host: "::1" });
    onTestFinished(() => server.close());
    const error = await failure(mutualTls({ ...robot, ...trusted })(server.url));
    expect(error).toMatchObject({
      code: "network_error",
      message: expect.stringMatching(/not to be trusted \(ERR_TLS_CERT_ALTNAME_INVALID\)\.$/),
    });
  });

  test("the certificate has expired meanwhile: credential_expired", async () => {
    const server = await guardedServer();
    const clock = new ManualClock();
    clock.time = Date.now();
    const fetch = mutualTls({ ...otherCa.client({ name: "robot" }), ...trusted }, { clock });
    expect((await failure(fetch(server.url))).code).toBe("network_error");
    clock.time += 3 * 86_400_000;
    expect((await failure(fetch(server.url))).code).toBe("credential_expired");
  });

  test("nobody listens: what Node says", async () => {
    const server = await startAuthorizationServer({ tls: ca });
    await server.close();
    await expect(mutualTls({ ...robot, ...trusted })(server.origin)).rejects.toMatchObject({ cause: { code: "ECONNREFUSED" } });
  });
});

describe("a certificate that is renewed on disk", () => {
  /** A folder in which a certificate lies, and a `fetch` that reads it there. */
  function onDisk() {
    const folder = mkdtempSync(join(tmpdir(), "mcp-client-auth-"));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const write = (certificate: Partial<ClientCertificate>) => {
      for (const [name, text] of Object.entries(certificate)) writeFileSync(join(folder, name), String(text));
    };
    const clock = new ManualClock();
    clock.time = Date.now();
    let reads = 0;
    const fetch = mutualTls(
      async () => {
        reads++;
        return { cert: readFileSync(join(folder, "cert")), key: readFileSync(join(folder, "key")), ca: ca.cert };
      },
      { clock },
    );
    return { write, clock, fetch, reads: () => reads };
  }

  test("is read again after a minute, once for all requests, and not before", async () => {
    const server = await guardedServer();
    const { write, clock, fetch, reads } = onDisk();
    write(robot);
    expect(await Promise.all([seenAs(fetch, server.url), seenAs(fetch, server.url)])).toEqual(["CN=robot", "CN=robot"]);
    write(ca.client({ name: "robot-2" }));
    clock.time += 59_999;
    expect(await seenAs(fetch, server.url)).toBe("CN=robot");
    expect(reads()).toBe(1);
    clock.time += 1;
    expect(await Promise.all([seenAs(fetch, server.url), seenAs(fetch, server.url)])).toEqual(["CN=robot-2", "CN=robot-2"]);
    expect(reads()).toBe(2);
    // A clock that was put back keeps no old one for longer.
    clock.time -= 3_600_000;
    await seenAs(fetch, server.url);
    expect(reads()).toBe(3);
  });

  test("one that is half written does not end the old one's service before that expires", async () => {
    const server = await guardedServer();
    const { write, clock, fetch } = onDisk();
    write(robot);
    expect(await seenAs(fetch, server.url)).toBe("CN=robot");
    write({ cert: mallory.cert });
    clock.time += 60_000;
    expect(await seenAs(fetch, server.url)).toBe("CN=robot");
    clock.time += 3 * 86_400_000;
    expect(await failure(fetch(server.url))).toMatchObject({
      code: "invalid_option",
      message: expect.stringMatching(/`key` does not belong/),
    });
  });

  test("one that is not there yet is looked for by the next request", async () => {
    const server = await guardedServer();
    const { write, fetch } = onDisk();
    expect(await failure(fetch(server.url))).toMatchObject({ code: "credential_unavailable", cause: { code: "ENOENT" } });
    write(robot);
    expect(await seenAs(fetch, server.url)).toBe("CN=robot");
  });

  test("connections are kept while the certificate stays the same", async () => {
    const server = await guardedServer();
    const { write, clock, fetch } = onDisk();
    write(robot);
    const ports = new Set<number | undefined>();
    server.intercept((_request, response) => {
      ports.add(response.socket?.remotePort);
      return false;
    });
    for (let i = 0; i < 6; i++) {
      await seenAs(fetch, server.url);
      clock.time += 60_000;
    }
    // Two take turns.
    expect(ports.size).toBeLessThanOrEqual(2);
  });
});
