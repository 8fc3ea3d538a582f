import { createPrivateKey } from "node:crypto";
import { decodeJwt, decodeProtectedHeader, exportJWK, generateKeyPair } from "jose";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { machineAuthentication } from "../../src/client-auth/machine-authentication.ts";
import type { MachineClient, PrivateKey } from "../../src/client-auth/machine-client.ts";
import { systemClock } from "../../src/clock.ts";
import { failure } from "../discovery/support.ts";
import { answer, type ProtectedServer, startProtectedServer, tokenRequest, when } from "../fixture/index.ts";
import { expectSecretsAbsent, keyForms, tokenFor, whoami } from "./support.ts";

const algorithms = ["RS256", "PS256", "ES256", "EdDSA", "Ed25519", "ES384", "ES512"];
const signing = "token_endpoint_auth_signing_alg_values_supported";
const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

let server: ProtectedServer;
let keys: Record<string, Awaited<ReturnType<typeof keyForms>>>;
beforeAll(async () => {
  const clientAuthSigningAlgValues = [...algorithms, "RS384", "RS512", "PS384", "PS512"] as "RS256"[];
  server = await startProtectedServer({ authorizationServer: { configuration: { enabledJWA: { clientAuthSigningAlgValues } } } });
  keys = Object.fromEntries(await Promise.all(algorithms.map(async (algorithm) => [algorithm, await keyForms(algorithm)])));
});
afterAll(() => server.close());
beforeEach(() => server.reset());

const register = (clientId: string, jwk: object, algorithm?: string) =>
  server.authorizationServer.addClient({
    client_id: clientId,
    grant_types: ["client_credentials"],
    token_endpoint_auth_method: "private_key_jwt",
    ...(algorithm && { token_endpoint_auth_signing_alg: algorithm as "RS256" }),
    jwks: { keys: [jwk as JsonWebKey & { kty: string }] },
  });

/** What was sent to prove who asks, of each token request. */
const sent = () =>
  server.authorizationServer.tokenRequests().map(({ form, headers }) => {
    const assertion = form.get("client_assertion") ?? "";
    expect(headers.authorization).toBeUndefined();
    expect([form.get("client_assertion_type"), form.has("client_secret")]).toEqual([assertionType, false]);
    return { header: decodeProtectedHeader(assertion), claims: decodeJwt(assertion) };
  });

const keyOf = (algorithm: string, form: string) => (keys[algorithm]?.forms as Record<string, PrivateKey> | undefined)?.[form] as PrivateKey;
const forms = [
  "PEM",
  "PEM with line breaks as text",
  "PEM with Windows line breaks and text around it",
  "JWK",
  "JWK as text",
  "CryptoKey",
  "CryptoKey that cannot be exported",
  "Signer",
];

describe.each(algorithms)("REQ-CC-02 private_key_jwt with %s at a real server, and a real tool call", (algorithm) => {
  test.each(forms)("%s", async (form) => {
    const clientId = `robot ${algorithm}`;
    await register(clientId, keys[algorithm]?.publicJwk ?? {}, algorithm);
    const client = { clientId, privateKey: keyOf(algorithm, form), signingAlgorithm: algorithm };
    expect(await whoami(server, client)).toMatchObject({ sub: clientId, scopes: ["mcp:read"] });
    expect(sent()).toMatchObject([{ header: { alg: algorithm } }]);
  });
});

describe("REQ-CC-03 the assertion", () => {
  const client = () => ({ clientId: "robot", privateKey: keyOf("ES256", "JWK") });
  beforeEach(() => register("robot", keys.ES256?.publicJwk ?? {}));

  test("iss = sub = client ID, aud = the issuer, 60 seconds, a jti of its own each time", async () => {
    const before = Math.floor(Date.now() / 1000);
    for (let i = 0; i < 3; i++) await tokenFor(server, client());
    const assertions = sent();
    for (const { header, claims } of assertions) {
      expect(header).toEqual({ alg: "ES256", typ: "JWT" });
      const { iss, sub, aud, iat = 0, exp = 0, jti, ...rest } = claims;
      expect({ iss, sub, aud, rest }).toEqual({ iss: "robot", sub: "robot", aud: server.authorizationServer.issuer, rest: {} });
      expect(exp - iat).toBe(60);
      expect(iat).toBeGreaterThanOrEqual(before);
      expect(jti).toMatch(/^[\w-]{22,}$/);
    }
    expect(new Set(assertions.map(({ claims }) => claims.jti)).size).toBe(3);
  });

  test("the audience of an option, for servers that want the token endpoint", async () => {
    const clientAssertionAudience = `${server.authorizationServer.issuer}/token`;
    await tokenFor(server, { ...client(), clientAssertionAudience });
    expect(sent()).toMatchObject([{ claims: { aud: clientAssertionAudience } }]);
    const error = await failure(tokenFor(server, { ...client(), clientAssertionAudience: "https://else.example" }));
    expect(error.code).toBe("invalid_client");
  });

  test("kid: the option's, else the JWK's, else the signer's", async () => {
    await register("robot", { ...keys.ES256?.publicJwk, kid: "of the jwk" });
    const jwk = { ...(keyOf("ES256", "JWK") as JsonWebKey), kid: "of the jwk" };
    const signer = { ...(keyOf("ES256", "Signer") as object), keyId: "of the jwk" } as PrivateKey;
    for (const privateKey of [jwk, JSON.stringify(jwk), signer]) await tokenFor(server, { clientId: "robot", privateKey });
    await tokenFor(server, { ...client(), keyId: "of the jwk" });
    expect(sent().map(({ header }) => header.kid)).toEqual(Array(4).fill("of the jwk"));
    await failure(tokenFor(server, { clientId: "robot", privateKey: jwk, keyId: "of nobody" }));
    expect(sent().at(-1)?.header.kid).toBe("of nobody");
  });

  test("time is the clock's", async () => {
    const clock = { ...systemClock, now: () => Date.parse("2031-01-01T00:00:00.900Z") };
    const body = new URLSearchParams();
    const issuer = "https://as.example";
    await machineAuthentication(client(), { issuer }, clock)({ issuer }, { client_id: "robot" }, body, new Headers());
    const at = Date.parse("2031-01-01T00:00:00Z") / 1000;
    expect(decodeJwt(body.get("client_assertion") ?? "")).toMatchObject({ iat: at, exp: at + 60 });
  });

  test("a replayed assertion is refused: the server believes each once", async () => {
    await tokenFor(server, client());
    const [request] = server.authorizationServer.tokenRequests();
    const again = await fetch(`${server.authorizationServer.issuer}/token`, { method: "POST", body: request?.form ?? null });
    expect([again.status, await again.json()]).toMatchObject([401, { error: "invalid_client" }]);
  });

  test("the key of somebody else: invalid_client, and neither key nor assertion in the error", async () => {
    const other = await keyForms("ES256");
    const error = await failure(tokenFor(server, { clientId: "robot", privateKey: other.forms.PEM }));
    expect(error).toMatchObject({ code: "invalid_client", status: 401 });
    const assertion = server.authorizationServer.tokenRequests().at(-1)?.form.get("client_assertion") ?? "";
    expectSecretsAbsent(error, other.forms.PEM, ...assertion.split("."));
  });

  test("a server that repeats the assertion in its error: it is removed", async () => {
    const repeat = when(tokenRequest(), (request, response) =>
      answer(400, { error: "invalid_client", error_description: `bad: ${request.form.get("client_assertion")}` })(request, response),
    );
    server.authorizationServer.intercept(repeat);
    const error = await failure(tokenFor(server, client()));
    const assertion = server.authorizationServer.tokenRequests().at(-1)?.form.get("client_assertion") ?? "";
    expect(error.serverDescription).toBe("bad: [removed]");
    expectSecretsAbsent(error, assertion, ...assertion.split("."));
  });
});

describe("the algorithm is the first that the key can do and the server lists, unless it is given", () => {
  test.each<[string, string[] | undefined, string | undefined, string]>([
    // key of, the server's list, signingAlgorithm: the algorithm
    ["RS256", undefined, undefined, "RS256"],
    ["RS256", [], undefined, "RS256"],
    ["RS256", ["ES256", "PS256", "RS256"], undefined, "RS256"],
    ["RS256", ["ES256", "PS256"], undefined, "PS256"],
    ["RS256", ["PS512"], undefined, "PS512"],
    ["RS256", ["RS256"], "PS256", "PS256"],
    ["RS256", undefined, "RS384", "RS384"],
    ["ES256", ["RS256", "ES256"], undefined, "ES256"],
    ["ES384", ["RS256", "ES256", "ES384"], undefined, "ES384"],
    ["EdDSA", ["Ed25519", "EdDSA"], undefined, "EdDSA"],
    ["EdDSA", ["Ed25519"], undefined, "Ed25519"],
    ["EdDSA", undefined, "Ed25519", "Ed25519"],
  ])("key of %s, listed %j, given %s: %s", async (keyAlgorithm, listed, signingAlgorithm, expected) => {
    await register("chooser", keys[keyAlgorithm]?.publicJwk ?? {});
    server.authorizationServer.metadataPatch = { [signing]: listed };
    await tokenFor(server, { clientId: "chooser", privateKey: keyOf(keyAlgorithm, "PEM"), signingAlgorithm });
    expect(sent()).toMatchObject([{ header: { alg: expected } }]);
  });

  test.each<[string, MachineClient["signingAlgorithm"], string[] | undefined, RegExp]>([
    ["ES256", undefined, ["RS256", "PS256"], /the server lists RS256, PS256; `privateKey` can do ES256/],
    ["ES256", undefined, ["HS256"], /the server lists HS256; `privateKey` can do ES256/],
    ["ES256", "RS256", undefined, /`signingAlgorithm` is RS256; `privateKey` can do ES256/],
    ["RS256", "HS256", undefined, /`signingAlgorithm` is HS256; `privateKey` can do RS256, PS256, RS384/],
    ["RS256", "none", undefined, /`signingAlgorithm` is none/],
  ])("key of %s, given %s, listed %j: invalid_option, and no request", async (keyAlgorithm, signingAlgorithm, listed, detail) => {
    server.authorizationServer.metadataPatch = { [signing]: listed };
    for (const form of ["PEM", "JWK"]) {
      const privateKey = keyOf(keyAlgorithm, form);
      const error = await failure(tokenFor(server, { clientId: "chooser", privateKey, signingAlgorithm }));
      expect(error).toMatchObject({ code: "invalid_option" });
      expect(String(error)).toMatch(detail);
    }
    expect(server.authorizationServer.tokenRequests()).toEqual([]);
  });

  test("a JWK and a CryptoKey say themselves what they are for", async () => {
    const jwk = { ...(keyOf("RS256", "JWK") as JsonWebKey), alg: "PS256" };
    await register("chooser", keys.RS256?.publicJwk ?? {});
    for (const privateKey of [jwk, keyOf("RS256", "CryptoKey")]) await tokenFor(server, { clientId: "chooser", privateKey });
    expect(sent().map(({ header }) => header.alg)).toEqual(["PS256", "RS256"]);
    const error = await failure(tokenFor(server, { clientId: "chooser", privateKey: jwk, signingAlgorithm: "RS256" }));
    expect(error.message).toMatch(/`signingAlgorithm` is RS256; `privateKey` can do PS256/);
  });
});

describe("a key that cannot be used: invalid_option that says why, holds nothing of the key, and nothing is sent", async () => {
  const { forms } = await keyForms("ES256");
  const jwk = forms.JWK as Record<string, string>;
  const node = createPrivateKey(forms.PEM);
  const rsa = createPrivateKey((await keyForms("RS256")).forms.PEM);
  const { privateKey: ecdh } = (await crypto.subtle.generateKey({ name: "ECDH", namedCurve: "P-256" }, true, [
    "deriveBits",
  ])) as CryptoKeyPair;
  const { publicKey } = await generateKeyPair("ES256", { extractable: true });
  const { d: _, ...publicJwk } = jwk;
  const weak = await crypto.subtle.generateKey(
    { name: "RSASSA-PKCS1-v1_5", modulusLength: 1024, publicExponent: new Uint8Array([1, 0, 1]), hash: "SHA-256" },
    true,
    ["sign", "verify"],
  );
  const pemOf = (type: "pkcs1" | "sec1", key = type === "pkcs1" ? rsa : node) => key.export({ type, format: "pem" }).toString();
  const openssl = /openssl pkcs8 -topk8 -nodes/;

  test.each<[string, unknown, RegExp]>([
    ["PKCS #1", pemOf("pkcs1"), openssl],
    ["SEC 1", pemOf("sec1"), openssl],
    [
      "SEC 1 after its parameters",
      `-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n${pemOf("sec1")}`,
      openssl,
    ],
    ["encrypted", node.export({ type: "pkcs8", format: "pem", cipher: "aes-256-cbc", passphrase: "passphrase-0123" }).toString(), openssl],
    [
      "of OpenSSH",
      "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjE=\n-----END OPENSSH PRIVATE KEY-----",
      /ssh-keygen -p -m PKCS8/,
    ],
    ["a public PEM", forms.PEM.replaceAll("PRIVATE", "PUBLIC"), /neither a PEM with a private key nor a JWK/],
    ["half a PEM", forms.PEM.slice(0, 100), /neither a PEM with a private key nor a JWK/],
    ["a damaged PEM", forms.PEM.replace(/[A-Za-z]{4}\n/, "AAAA\n").replace(/MI/, "MM"), /is damaged/],
    ["a path", "/run/secrets/robot-key.pem", /neither a PEM/],
    ["empty text", "", /`privateKey` must be a PEM, a JWK/],
    ["a public JWK", publicJwk, /public JWK, without `d`/],
    ["a public JWK as text", JSON.stringify(publicJwk), /public JWK, without `d`/],
    ["a symmetric JWK", { kty: "oct", k: "c2VjcmV0LXNlY3JldC1zZWNyZXQ" }, /must be a PEM, a JWK/],
    ["a set of JWKs", { keys: [jwk] }, /must be a PEM, a JWK/],
    ["damaged JSON", `${JSON.stringify(jwk).slice(0, -10)}`, /must be a PEM, a JWK/],
    ["a JWK with half a `d`", { ...jwk, d: jwk.d?.slice(0, 20) }, /is damaged/],
    ["a JWK for verifying", { ...jwk, key_ops: ["verify"] }, /is damaged, or of a kind that cannot sign/],
    ["a JWK for an algorithm of another kind", { ...jwk, alg: "RS256" }, /is damaged, or of a kind that cannot sign/],
    ["a JWK for an algorithm that nobody has", { ...jwk, alg: "ECDH-ES" }, /is damaged, or of a kind that cannot sign/],
    ["a public CryptoKey", publicKey, /cannot sign: public, ECDSA, usages verify/],
    ["a CryptoKey for something else", ecdh, /cannot sign: private, ECDH, usages deriveBits/],
    ["a short RSA key", weak.privateKey, /has 1024 bits/],
    ["a short RSA key as JWK", await exportJWK(weak.privateKey), /has 1024 bits/],
    ["a KeyObject", node, /must be a PEM, a JWK/],
    ["null", null, /must be a PEM, a JWK/],
    ["bytes", new TextEncoder().encode(forms.PEM), /must be a PEM, a JWK/],
  ])("%s", async (_what, privateKey, detail) => {
    const error = await failure(tokenFor(server, { clientId: "robot", privateKey: privateKey as PrivateKey }));
    expect(error).toMatchObject({ code: "invalid_option" });
    expect(String(error)).toMatch(detail);
    expect(error.cause).toBeUndefined();
    expectSecretsAbsent(
      error,
      ...(typeof privateKey === "string" ? [privateKey] : []),
      ...Object.values(jwk),
      "c2VjcmV0LXNlY3JldC1zZWNyZXQ",
    );
    expect(server.authorizationServer.tokenRequests()).toEqual([]);
  });
});

test("the key is imported once, however many requests there are", async () => {
  let imports = 0;
  const { importKey } = crypto.subtle;
  crypto.subtle.importKey = function (this: SubtleCrypto, ...args: Parameters<typeof importKey>) {
    imports++;
    return Reflect.apply(importKey, crypto.subtle, args);
  } as typeof importKey;
  try {
    const issuer = "https://as.example";
    const authentication = machineAuthentication({ clientId: "robot", privateKey: keyOf("ES256", "PEM") }, { issuer });
    const prove = () => authentication({ issuer }, { client_id: "robot" }, new URLSearchParams(), new Headers());
    await Promise.all([prove(), prove()]);
    const once = imports;
    await prove();
    expect([once > 0, imports]).toEqual([true, once]);
  } finally {
    crypto.subtle.importKey = importKey;
  }
});
