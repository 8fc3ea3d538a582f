/** What each trait changes, seen by requests made by hand. */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { ProtectedServer, TraitName } from "./fixture/index.ts";
import { logInByHand, person, refreshByHand, registerByHand, startProtectedServer, traits } from "./fixture/index.ts";
import { toolRequest } from "./fixture/tool-request.ts";

let server: ProtectedServer;
beforeAll(async () => {
  server = await startProtectedServer({ slowness: 1 / 100 });
});
afterAll(() => server.close());
beforeEach(() => server.reset());

/** Traits that a test here has looked at; the last test compares. */
const seen = new Set<TraitName>();
const give = (...names: TraitName[]) => {
  for (const name of names) seen.add(name);
  server.setTraits(names);
};

type Json = Record<string, unknown>;
const verifier = "a-verifier-that-is-long-enough-for-the-specification";
const post = async (path: string, body: BodyInit, headers: Record<string, string> = {}) => {
  const response = await fetch(server.authorizationServer.issuer + path, { method: "POST", body, headers });
  const text = await response.text();
  const { status } = response;
  return { status, text, headers: response.headers, json: (text.startsWith("{") ? JSON.parse(text) : {}) as Json };
};
const client = { client_name: "By hand", application_type: "native", redirect_uris: ["http://127.0.0.1:1/callback"] };
const register = (metadata: Json) => post("/register", JSON.stringify({ ...client, ...metadata }), { "content-type": "application/json" });
const document = async (form: string): Promise<Json> =>
  (await (await fetch(`${server.authorizationServer.issuer}/.well-known/${form}`)).json()) as Json;

const authorizeUrl = (parameters: Record<string, string>) => {
  const code_challenge = createHash("sha256").update(verifier).digest("base64url");
  const query = { response_type: "code", redirect_uri: client.redirect_uris[0] as string, state: "s", scope: "mcp:read", code_challenge };
  const more = { code_challenge_method: "S256", resource: server.mcpServer.resource, ...parameters };
  return `${server.authorizationServer.issuer}/authorize?${new URLSearchParams({ ...query, ...more })}`;
};
const authorize = async (parameters: Record<string, string>) => {
  const { callbackUrl, page, status } = await person(authorizeUrl(parameters), { followCallback: false });
  const answered: Record<string, string> = Object.fromEntries(callbackUrl?.searchParams ?? []);
  return { status, page, ...answered } as { status: number; page: string; code?: string; error?: string };
};
const exchange = async (clientId: string, body: Record<string, string>, headers: Record<string, string> = {}) => {
  const { code = "" } = await authorize({ client_id: clientId });
  const form = { grant_type: "authorization_code", code, code_verifier: verifier, redirect_uri: client.redirect_uris[0] as string };
  return post("/token", new URLSearchParams({ ...form, resource: server.mcpServer.resource, ...body }), headers);
};
const basic = (id: unknown, secret: unknown) => ({ authorization: `Basic ${Buffer.from(`${id}:${secret}`).toString("base64")}` });
const login = () => logInByHand(server.authorizationServer, { resource: server.mcpServer.resource, scope: "mcp:read" });
const call = async (token?: string, url = server.url) => {
  const request = toolRequest("add", { a: 1, b: 2 });
  const headers = { ...(request.headers as Record<string, string>), ...(token !== undefined && { authorization: `Bearer ${token}` }) };
  const response = await fetch(url, { ...request, headers, redirect: "manual" });
  return {
    status: response.status,
    challenge: response.headers.get("www-authenticate"),
    headers: response.headers,
    text: await response.text(),
  };
};

describe("metadata", () => {
  const methods = "code_challenge_methods_supported";
  test.each<[TraitName, string, string, unknown]>([
    ["s256-not-listed", "oauth-authorization-server", methods, undefined],
    ["s256-not-listed", "openid-configuration", methods, undefined],
    ["first-metadata-incomplete", "oauth-authorization-server", "token_endpoint", undefined],
    ["first-metadata-incomplete", "openid-configuration", "token_endpoint", expect.stringMatching(/\/token$/)],
    ["first-metadata-without-s256", "oauth-authorization-server", methods, undefined],
    ["first-metadata-without-s256", "openid-configuration", methods, ["S256"]],
    ["unneeded-endpoints-empty", "oauth-authorization-server", "userinfo_endpoint", ""],
    ["unneeded-endpoints-relative", "oauth-authorization-server", "introspection_endpoint", "/introspect"],
    ["unneeded-endpoints-http", "openid-configuration", "end_session_endpoint", "http://inner.example/logout"],
    [
      "none-not-listed",
      "oauth-authorization-server",
      "token_endpoint_auth_methods_supported",
      ["client_secret_post", "client_secret_basic"],
    ],
    ["client-secret-post-only", "oauth-authorization-server", "token_endpoint_auth_methods_supported", undefined],
    ["metadata-documents-without-none", "oauth-authorization-server", "client_id_metadata_document_supported", true],
    [
      "metadata-documents-without-none",
      "oauth-authorization-server",
      "token_endpoint_auth_methods_supported",
      ["client_secret_post", "client_secret_basic"],
    ],
  ])("%s: %s has this `%s`", async (trait, form, member, value) => {
    const before = await document(form);
    give(trait);
    const { [member]: found, ...rest } = await document(form);
    expect(found).toEqual(value);
    expect(rest.issuer).toBe(before.issuer);
    expect(rest.authorization_endpoint).toBe(before.authorization_endpoint);
  });

  test("first-server-incomplete: the first that is listed has no endpoints, the second is the right one", async () => {
    give("first-server-incomplete");
    const { origin } = server.mcpServer;
    const resource = (await (await fetch(`${origin}/.well-known/oauth-protected-resource/mcp`)).json()) as Json;
    expect(resource.authorization_servers).toEqual([`${origin}/elsewhere`, server.authorizationServer.issuer]);
    const first = await fetch(`${origin}/.well-known/oauth-authorization-server/elsewhere`);
    expect([first.status, await first.json()]).toEqual([200, { issuer: `${origin}/elsewhere` }]);
  });

  test("first-place-locked: no URL in the challenge, 403 at the path's place, the document at the root's", async () => {
    give("first-place-locked");
    const place = `${server.mcpServer.origin}/.well-known/oauth-protected-resource`;
    expect((await call()).challenge).not.toContain("resource_metadata");
    expect((await fetch(`${place}/mcp`)).status).toBe(403);
    expect(await (await fetch(place)).json()).toMatchObject({ resource: server.mcpServer.resource });
  });

  test("without traits the documents list S256 and `none`", async () => {
    const found = await document("oauth-authorization-server");
    expect(found.code_challenge_methods_supported).toEqual(["S256"]);
    expect(found.token_endpoint_auth_methods_supported).toContain("none");
  });
});

describe("how clients prove themselves", () => {
  test.each<TraitName>(["none-not-listed", "metadata-documents-without-none"])("%s: public clients are refused", async (trait) => {
    give(trait);
    expect(await register({ token_endpoint_auth_method: "none" })).toMatchObject({
      status: 400,
      json: { error: "invalid_client_metadata" },
    });
    expect((await register({ token_endpoint_auth_method: "client_secret_post" })).status).toBe(201);
  });

  test("none-not-listed: Basic wants `client_id` in the body as well", async () => {
    give("none-not-listed");
    const { client_id, client_secret } = (await register({ token_endpoint_auth_method: "client_secret_basic" })).json;
    const headers = basic(client_id, client_secret);
    const alone = await exchange(String(client_id), {}, headers);
    expect(alone).toMatchObject({ status: 401, json: { error: "invalid_client" } });
    expect((await exchange(String(client_id), { client_id: String(client_id) }, headers)).status).toBe(200);
  });

  test("client-secret-post-only: the method is not named, and Basic and none are refused", async () => {
    give("client-secret-post-only");
    const { status, json } = await register({ token_endpoint_auth_method: "none" });
    expect(status).toBe(201);
    expect(json).not.toHaveProperty("token_endpoint_auth_method");
    const client_id = String(json.client_id);
    const client_secret = String(json.client_secret);
    expect((await exchange(client_id, {}, basic(client_id, client_secret))).json.error).toBe("invalid_client");
    expect((await exchange(client_id, { client_id })).json.error).toBe("invalid_client");
    expect((await exchange(client_id, { client_id, client_secret })).status).toBe(200);
  });

  test("metadata-documents-without-none: the consent is given, then the client is refused", async () => {
    const id = "https://app.example/client.json";
    const document = { ...client, client_id: id, token_endpoint_auth_method: "none", grant_types: ["authorization_code"] };
    server.authorizationServer.clientMetadataDocuments = { [id]: document };
    expect((await exchange(id, { client_id: id })).status).toBe(200);
    give("metadata-documents-without-none");
    expect((await authorize({ client_id: id })).code).toBeTruthy();
    expect(await exchange(id, { client_id: id })).toMatchObject({ status: 401, json: { error: "invalid_client" } });
  });

  test("metadata-documents-refused: users come back without a code, other clients' users with one", async () => {
    give("metadata-documents-refused");
    expect(await document("oauth-authorization-server")).toMatchObject({ client_id_metadata_document_supported: true });
    const refused = await authorize({ client_id: "https://app.example/client.json" });
    expect(refused).toMatchObject({ error: "invalid_client", state: "s", iss: server.authorizationServer.issuer });
    expect((await authorize({ client_id: await registerByHand(server.authorizationServer) })).code).toBeTruthy();
  });
});

describe("registration", () => {
  const asPublic = { token_endpoint_auth_method: "none" };

  test("without traits scopes may be named, and others be asked for", async () => {
    const { status, json } = await register({ ...asPublic, scope: "mcp:read" });
    expect(status).toBe(201);
    expect((await authorize({ client_id: String(json.client_id), scope: "mcp:read mcp:write" })).code).toBeTruthy();
  });

  test("scopes-must-be-registered: others end in `invalid_scope`", async () => {
    give("scopes-must-be-registered");
    const named = await register({ ...asPublic, scope: "mcp:read" });
    expect(named).toMatchObject({ status: 201, json: { scope: "mcp:read" } });
    const client_id = String(named.json.client_id);
    expect((await authorize({ client_id })).code).toBeTruthy();
    expect(await authorize({ client_id, scope: "mcp:read mcp:write" })).toMatchObject({ error: "invalid_scope", state: "s" });
    const unnamed = await register(asPublic);
    expect(await authorize({ client_id: String(unnamed.json.client_id) })).toMatchObject({ error: "invalid_scope" });
  });

  test.each<[TraitName, number, string]>([
    ["registration-refuses-unknown-scopes", 400, "invalid_client_metadata"],
    ["registration-forbids-scopes", 403, "insufficient_scope"],
  ])("%s: %i %s, without scopes 201", async (trait, status, error) => {
    give(trait);
    expect(await register({ ...asPublic, scope: "mcp:read" })).toMatchObject({ status, json: { error } });
    expect((await register(asPublic)).status).toBe(201);
  });

  test.each<[TraitName, string, number, string]>([
    ["forgotten-invalid-client", "invalid_client", 401, "invalid_client"],
    ["forgotten-unauthorized-client", "unauthorized_client", 400, "unauthorized_client"],
    ["forgotten-error-page", "", 401, "invalid_client"],
  ])("%s: a forgotten client is told '%s' at the callback, %i %s at the token endpoint", async (trait, atCallback, status, error) => {
    give(trait);
    const client_id = await registerByHand(server.authorizationServer);
    expect((await exchange(client_id, { client_id })).status).toBe(200);
    server.authorizationServer.forgetClients();
    const told = await authorize({ client_id });
    if (atCallback) expect(told).toMatchObject({ error: atCallback, state: "s" });
    else expect(told).toEqual({ status: 200, page: expect.stringContaining("Something went wrong") });
    const refresh = new URLSearchParams({ grant_type: "refresh_token", refresh_token: "r", client_id });
    expect(await post("/token", refresh)).toMatchObject({ status, json: { error } });
  });
});

describe("challenges", () => {
  const named = (challenge: string | null) => /resource_metadata="([^"]*)"/.exec(challenge ?? "")?.[1] ?? "";

  test.each<[TraitName, number, string]>([
    ["challenge-url-dead", 404, "not_found"],
    ["challenge-url-401", 401, "unauthorized"],
    ["challenge-url-html", 200, "<h1>"],
    ["challenge-url-other-json", 200, '"status":"ok"'],
  ])("%s: the URL answers %i, the well-known place is right", async (trait, status, body) => {
    give(trait);
    const { status: refused, challenge } = await call();
    expect(refused).toBe(401);
    const answer = await fetch(named(challenge));
    expect(answer.status).toBe(status);
    expect(await answer.text()).toContain(body);
    expect((await fetch(`${server.mcpServer.origin}/.well-known/oauth-protected-resource/mcp`)).status).toBe(200);
  });

  test.each<[TraitName, string]>([
    ["challenge-url-relative", "/.well-known/oauth-protected-resource/mcp"],
    ["challenge-url-http", "http://inner.example/.well-known/oauth-protected-resource/mcp"],
  ])("%s: names %s", async (trait, url) => {
    give(trait);
    expect(named((await call()).challenge)).toBe(url);
  });

  test("challenge-of-another-scheme: Cloudflare-Access, with the metadata's place", async () => {
    give("challenge-of-another-scheme");
    const { challenge } = await call();
    expect(challenge).toMatch(/^Cloudflare-Access resource_metadata="http/);
    expect(challenge).not.toContain("Bearer");
  });
});

describe("a token that is over", () => {
  test.each<[TraitName, number, { challenge?: string; location?: RegExp; body?: string }]>([
    ["refused-told-400", 400, { challenge: 'error="invalid_token"' }],
    ["refused-told-403", 403, { challenge: 'error="invalid_token"' }],
    ["refused-told-insufficient-scope", 403, { challenge: 'error="insufficient_scope", scope="mcp:read"' }],
    ["refused-told-redirect", 302, { location: /^http:\/\/127\.0\.0\.1:\d+\/login/ }],
    ["refused-told-foreign-redirect", 302, { location: /^https:\/\/team\.cloudflareaccess\.example\// }],
    ["refused-told-page", 200, { body: "<h1>Log in</h1>" }],
  ])("%s: %i", async (trait, status, { challenge = "", location = /^$/, body = "" }) => {
    give(trait);
    const { accessToken } = await login();
    expect((await call(accessToken)).status).toBe(200);
    server.mcpServer.revokeAll();
    const refused = await call(accessToken);
    expect(refused.status).toBe(status);
    expect(refused.challenge ?? "").toContain(challenge);
    expect(refused.headers.get("location") ?? "").toMatch(location);
    expect(refused.text).toContain(body);
    // Who has none is challenged as everywhere.
    expect(await call()).toMatchObject({ status: 401, challenge: expect.stringContaining("resource_metadata") });
    expect((await call((await login()).accessToken)).status).toBe(200);
  });
});

describe("token answers", () => {
  test("token-type-of-its-own: `user`, and the token works", async () => {
    give("token-type-of-its-own");
    const client_id = await registerByHand(server.authorizationServer);
    const { json } = await exchange(client_id, { client_id });
    expect(json.token_type).toBe("user");
    expect((await call(String(json.access_token))).status).toBe(200);
  });

  test("no-expires-in: the token alone says it", async () => {
    give("no-expires-in");
    const { expiresIn, accessToken } = await login();
    expect(expiresIn).toBeUndefined();
    expect(JSON.parse(Buffer.from(accessToken.split(".")[1] ?? "", "base64url").toString()).exp).toBeGreaterThan(Date.now() / 1000);
  });

  test.each<[TraitName, number]>([
    ["slow-12-s", 12_000],
    ["slow-25-s", 25_000],
  ])("%s: %i ms, here a hundredth of it", async (trait, ms) => {
    give(trait);
    const start = performance.now();
    await refreshByHand(server.authorizationServer, { refreshToken: "r", clientId: "c" });
    expect(performance.now() - start).toBeGreaterThanOrEqual(ms / 100 - 5);
    await registerByHand(server.authorizationServer);
    expect(performance.now() - start).toBeGreaterThanOrEqual((2 * ms) / 100 - 10);
  });

  test("fresh-token-refused: 401 for a moment, then never again", async () => {
    give("fresh-token-refused");
    const { accessToken } = await login();
    const start = performance.now();
    expect(await call(accessToken)).toMatchObject({ status: 401, challenge: expect.stringContaining("invalid_token") });
    await expect.poll(async () => (await call(accessToken)).status).toBe(200);
    expect(performance.now() - start).toBeGreaterThan(200);
  });

  test("answers-without-state: the code comes alone", async () => {
    give("answers-without-state");
    const answer = await authorize({ client_id: await registerByHand(server.authorizationServer) });
    expect(answer.code).toBeTruthy();
    expect(answer).not.toHaveProperty("state");
  });

  test.each<[TraitName, number, string]>([
    ["dead-refresh-invalid-request", 400, '"invalid_request"'],
    ["dead-refresh-unauthorized-client", 403, '"unauthorized_client"'],
    ["dead-refresh-200", 200, '"bad_refresh_token"'],
    ["dead-refresh-invalid-token", 401, '"invalid_token"'],
    ["dead-refresh-empty", 400, ""],
    ["dead-refresh-500", 500, "Server Error"],
  ])("%s: %i %s; a live one works", async (trait, status, body) => {
    give(trait);
    const { refreshToken = "", clientId } = await login();
    const refresh = (token: string) =>
      post("/token", new URLSearchParams({ grant_type: "refresh_token", refresh_token: token, client_id: clientId }));
    const alive = await refresh(refreshToken);
    expect(alive.status).toBe(200);
    server.authorizationServer.endLogins();
    const dead = await refresh(String(alive.json.refresh_token));
    expect(dead.status).toBe(status);
    expect(dead.text).toContain(body);
    if (body === "") expect(dead.text).toBe("");
  });
});

test("resources-by-query: a token for one is refused by the other, and each has metadata of its own", async () => {
  give("resources-by-query");
  const [a, b] = [`${server.url}?project=a`, `${server.url}?project=b`] as const;
  const { challenge } = await call(undefined, a);
  const place = /resource_metadata="([^"]*)"/.exec(challenge ?? "")?.[1] ?? "";
  expect(((await (await fetch(place)).json()) as Json).resource).toBe(a);
  const { accessToken } = await logInByHand(server.authorizationServer, { resource: a, scope: "mcp:read" });
  expect((await call(accessToken, a)).status).toBe(200);
  expect((await call(accessToken, b)).status).toBe(401);
  expect((await call(accessToken)).status).toBe(401);
});

test("traits combine", async () => {
  give("s256-not-listed", "none-not-listed", "no-expires-in", "challenge-of-another-scheme", "refused-told-403");
  const found = await document("oauth-authorization-server");
  expect(found).not.toHaveProperty("code_challenge_methods_supported");
  expect(found.token_endpoint_auth_methods_supported).toEqual(["client_secret_post", "client_secret_basic"]);
  const { client_id, client_secret } = (await register({ token_endpoint_auth_method: "client_secret_post" })).json as Record<
    string,
    string
  >;
  const { json } = await exchange(String(client_id), { client_id: String(client_id), client_secret: String(client_secret) });
  expect(json).not.toHaveProperty("expires_in");
  server.mcpServer.revokeAll();
  const { status, challenge } = await call(String(json.access_token));
  expect(status).toBe(403);
  expect(challenge).toMatch(/^Cloudflare-Access error="invalid_token"/);
});

test("`reset()` takes traits back that were not there at the start", async () => {
  give("s256-not-listed");
  server.reset();
  expect(await document("oauth-authorization-server")).toHaveProperty("code_challenge_methods_supported");
});

test("a browser that prefetches asks for the callback twice", async () => {
  const asked: (string | null)[] = [];
  const send: typeof fetch = async (input, init) => {
    if (!String(input).startsWith(client.redirect_uris[0] as string)) return fetch(input, init);
    asked.push(new Headers(init?.headers).get("sec-purpose"));
    return new Response("done");
  };
  const client_id = await registerByHand(server.authorizationServer);
  const { page } = await person(authorizeUrl({ client_id }), { prefetch: true, fetch: send });
  expect(asked).toEqual(["prefetch", null]);
  expect(page).toBe("done");
});

test("every trait has a test", () => {
  expect([...seen].sort()).toEqual(Object.keys(traits).sort());
});

test("the README lists every trait", async () => {
  const readme = await readFile(new URL("fixture/README.md", import.meta.url), "utf8");
  for (const [name, { like, does }] of Object.entries(traits)) expect(readme).toContain(`| \`${name}\` | ${like} | ${does} |`);
});
