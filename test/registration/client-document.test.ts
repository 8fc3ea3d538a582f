/** Client ID metadata documents: what they say, and what is wrong with one. */
import { describe, expect, test } from "vitest";
import { checkClientMetadataDocument, clientMetadataDocument, clientMetadataHandler, publicKeySet } from "../../src/hosted/index.ts";

const url = "https://app.example/oauth/client.json";
const redirectUris = ["https://app.example/mcp/callback"];
const generated = async (algorithm: EcKeyGenParams | RsaHashedKeyGenParams | { name: "Ed25519" }, kid = "a") => {
  const { privateKey } = (await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"])) as CryptoKeyPair;
  return { ...(await crypto.subtle.exportKey("jwk", privateKey)), kid };
};
const ec = await generated({ name: "ECDSA", namedCurve: "P-256" });
const okp = await generated({ name: "Ed25519" }, "b");
const rsaOptions = { name: "RSASSA-PKCS1-v1_5", publicExponent: new Uint8Array([1, 0, 1]), hash: "SHA-256" };
const rsa = await generated({ ...rsaOptions, modulusLength: 2048 }, "c");
const short = await generated({ ...rsaOptions, modulusLength: 1024 }, "d");
const jwks = publicKeySet(ec);

describe("a document that is made", () => {
  test("of a public client", () => {
    expect(clientMetadataDocument({ clientMetadataUrl: url, clientName: "Acme", redirectUris })).toEqual({
      application_type: "web",
      client_id: url,
      client_name: "Acme",
      redirect_uris: redirectUris,
      grant_types: ["authorization_code", "refresh_token"],
      response_types: ["code"],
      token_endpoint_auth_method: "none",
    });
  });

  test("of one with keys: their public halves alone", () => {
    const document = clientMetadataDocument({ clientMetadataUrl: url, clientName: "Acme", redirectUris, jwks: publicKeySet(ec, okp, rsa) });
    expect(document).toMatchObject({ token_endpoint_auth_method: "private_key_jwt" });
    expect(document.jwks?.keys).toEqual([
      { kty: "EC", crv: "P-256", x: ec.x, y: ec.y, kid: "a" },
      { kty: "OKP", crv: "Ed25519", x: okp.x, kid: "b", ...(okp.alg && { alg: okp.alg }) },
      { kty: "RSA", n: rsa.n, e: rsa.e, kid: "c", alg: "RS256" },
    ]);
    expect(checkClientMetadataDocument(document, url)).toEqual([]);
  });

  test("further members are the app's, but for those that the document rests on", () => {
    const clientMetadata = { client_uri: "https://app.example", client_id: "other", redirect_uris: ["https://evil.example/"] };
    const document = clientMetadataDocument({ clientMetadataUrl: url, clientName: "Acme", redirectUris, clientMetadata });
    expect(document).toMatchObject({ client_uri: "https://app.example", client_id: url, redirect_uris: redirectUris });
  });

  test.each([
    ["a URL without path", { clientMetadataUrl: "https://app.example/" }, "`client_id` must be an https URL with a path"],
    ["no redirect URI", { redirectUris: [] }, "`redirect_uris` must list"],
    ["a private key", { jwks: { keys: [ec] } }, "`jwks.keys[0].d` is secret"],
    ["a secret", { clientMetadata: { client_secret: "hush-hush" } }, "`client_secret` must not be there"],
  ])("is refused with %s", (_what, options, message) => {
    const made = () => clientMetadataDocument({ clientMetadataUrl: url, clientName: "Acme", redirectUris, ...options });
    expect(made).toThrow(expect.objectContaining({ code: "invalid_option", message: expect.stringContaining(message) }));
    expect(made).not.toThrow(/hush-hush/);
  });

  test("a symmetric key has no public half", () => {
    expect(() => publicKeySet({ kty: "oct", k: "hush-hush" })).toThrow(expect.objectContaining({ code: "invalid_option" }));
  });
});

describe("what is wrong with a document", () => {
  const good = { ...clientMetadataDocument({ clientMetadataUrl: url, clientName: "Acme", redirectUris, jwks }) };
  const with_ = (members: object) => ({ ...good, ...members });
  const key = (members: object) => with_({ jwks: { keys: [{ ...jwks.keys[0], ...members }] } });

  test.each<[rule: string, document: unknown, members: string[]]>([
    ["nothing", good, []],
    ["nothing: without optional members", { ...good, grant_types: undefined, response_types: undefined, application_type: undefined }, []],
    ["nothing: keys by URL", with_({ jwks: undefined, jwks_uri: "https://app.example/jwks" }), []],
    ["nothing: http on loopback, for development", with_({ redirect_uris: ["http://127.0.0.1:3000/callback"] }), []],
    ["it is no object", "document", ["document"]],
    ["… nor an array", [good], ["document"]],
    ["… nor `null`", null, ["document"]],
    ["`client_id` is missing", with_({ client_id: undefined }), ["client_id"]],
    ["`client_id` is another URL", with_({ client_id: "https://app.example/oauth/other.json" }), ["client_id"]],
    ["`client_id` is the same URL, written otherwise", with_({ client_id: "https://APP.example/oauth/client.json" }), ["client_id"]],
    ["… with a port that says nothing", with_({ client_id: "https://app.example:443/oauth/client.json" }), ["client_id"]],
    ["… with a final slash", with_({ client_id: `${url}/` }), ["client_id"]],
    ["no name for the user", with_({ client_name: "" }), ["client_name"]],
    ["redirect URIs are missing", with_({ redirect_uris: undefined }), ["redirect_uris"]],
    ["… or none", with_({ redirect_uris: [] }), ["redirect_uris"]],
    ["… or no list", with_({ redirect_uris: redirectUris[0] }), ["redirect_uris"]],
    ["a redirect URI with plain http", with_({ redirect_uris: [...redirectUris, "http://app.example/cb"] }), ["redirect_uris[1]"]],
    ["a redirect URI with a fragment", with_({ redirect_uris: ["https://app.example/cb#x"] }), ["redirect_uris[0]"]],
    ["a redirect URI with a scheme of its own", with_({ redirect_uris: ["acme:callback"] }), ["redirect_uris[0]"]],
    ["a redirect URI that is a number", with_({ redirect_uris: [1] }), ["redirect_uris[0]"]],
    ["no code is asked for", with_({ grant_types: ["refresh_token"], response_types: ["token"] }), ["grant_types", "response_types"]],
    ["a secret", with_({ client_secret: "hush" }), ["client_secret"]],
    ["when a secret expires", with_({ client_secret_expires_at: 0 }), ["client_secret_expires_at"]],
    ["the method is missing", with_({ token_endpoint_auth_method: undefined }), ["token_endpoint_auth_method"]],
    ["the method needs a secret", with_({ token_endpoint_auth_method: "client_secret_basic" }), ["token_endpoint_auth_method"]],
    ["… or a shared one", with_({ token_endpoint_auth_method: "client_secret_jwt" }), ["token_endpoint_auth_method"]],
    ["no keys for `private_key_jwt`", with_({ jwks: undefined }), ["jwks"]],
    ["keys in two places", with_({ jwks_uri: "https://app.example/jwks" }), ["jwks_uri"]],
    ["keys by plain http", with_({ jwks: undefined, jwks_uri: "http://app.example/jwks" }), ["jwks_uri"]],
    ["a key set without keys", with_({ jwks: { keys: [] } }), ["jwks"]],
    ["a key set that is a list", with_({ jwks: jwks.keys }), ["jwks"]],
    ["a private EC key", with_({ jwks: { keys: [ec] } }), ["jwks.keys[0].d"]],
    ["a private Ed25519 key", with_({ jwks: { keys: [okp] } }), ["jwks.keys[0].d"]],
    ["a private RSA key", with_({ jwks: { keys: [rsa] } }), ["d", "p", "q", "dp", "dq", "qi"].map((name) => `jwks.keys[0].${name}`)],
    ["a symmetric key", with_({ jwks: { keys: [{ kty: "oct", k: "hush" }] } }), ["jwks.keys[0].k", "jwks.keys[0].kty"]],
    ["a key without its point", key({ x: undefined }), ["jwks.keys[0].x"]],
    ["a key of an unknown kind", key({ kty: "XYZ" }), ["jwks.keys[0].kty"]],
    ["a key for encryption", key({ use: "enc" }), ["jwks.keys[0].use"]],
    ["a short RSA key", with_({ jwks: publicKeySet(short) }), ["jwks.keys[0].n"]],
    ["two keys without names", with_({ jwks: { keys: [{ ...jwks.keys[0], kid: undefined }, publicKeySet(okp).keys[0]] } }), ["jwks.keys"]],
    ["two keys of one name", with_({ jwks: publicKeySet(ec, { ...okp, kid: "a" }) }), ["jwks.keys"]],
    ["a link with plain http", with_({ logo_uri: "http://app.example/logo.png" }), ["logo_uri"]],
    ["a link that runs", with_({ client_uri: "javascript:alert(1)" }), ["client_uri"]],
    ["it is longer than servers read", with_({ note: "x".repeat(6000) }), ["document"]],
  ])("%s", (_rule, document, members) => {
    const found = checkClientMetadataDocument(document, url);
    expect(found.map(({ member }) => member)).toEqual(members);
    expect(JSON.stringify(found)).not.toMatch(/hush/);
  });

  test.each([
    "http://app.example/client.json",
    "https://app.example",
    "https://app.example/",
    "https://user@app.example/client.json",
    "https://app.example/client.json#part",
    "https://app.example/a/../client.json",
    "client.json",
    "",
  ])("its URL cannot be a client ID: %j", (place) => {
    const [problem] = checkClientMetadataDocument({ ...good, client_id: place }, place);
    expect(problem).toMatchObject({ member: "client_id", problem: expect.stringContaining("https URL with a path") });
  });
});

describe("a document that is served", () => {
  const document = clientMetadataDocument({ clientMetadataUrl: url, clientName: "Acme", redirectUris, jwks });
  const serve = clientMetadataHandler(document);

  test("is JSON that may be kept for a while, and is right as it arrives", async () => {
    const response = await serve(new Request(url));
    expect(response.status).toBe(200);
    expect(Object.fromEntries(response.headers)).toEqual({
      "content-type": "application/json",
      "cache-control": "public, max-age=600",
      "x-content-type-options": "nosniff",
      "access-control-allow-origin": "*",
    });
    expect(checkClientMetadataDocument(await response.json(), url)).toEqual([]);
  });

  test.each([
    ["HEAD", 200],
    ["POST", 405],
  ])("%s is answered %i, without a body", async (method, status) => {
    const response = await serve(new Request(url, { method }));
    expect([response.status, await response.text()]).toEqual([status, ""]);
  });

  test("one with a private key never is", () => {
    expect(() => clientMetadataHandler({ ...document, jwks: { keys: [ec] } })).toThrow(/jwks\.keys\[0\]\.d` is secret/);
  });
});
