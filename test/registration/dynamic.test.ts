import { describe, expect, test } from "vitest";
import type { AuthorizationServerMetadata } from "../../src/discovery/server-metadata.ts";
import { createHttp } from "../../src/http/http.ts";
import { registerClient } from "../../src/registration/dynamic.ts";
import { type Answer, eagerClock, failure, never, recorded, world } from "../discovery/support.ts";

const { asked, serve } = world();
const endpoint = "https://as.example/register";
const issuer = "https://as.example";
const server: AuthorizationServerMetadata = { issuer, token_endpoint: `${issuer}/token`, registration_endpoint: endpoint };
const ip = "http://127.0.0.1:5000/callback";
const name = "http://localhost:5000/callback";
const now = eagerClock().now();

type Options = Partial<Parameters<typeof registerClient>[0]>;
const register = (options: Options = {}) =>
  registerClient({ server, redirectUris: [ip, name], http: createHttp(), clock: eagerClock(), ...options });

/** Answers by what is asked, and remembers it. */
function serving(answer: (body: Record<string, unknown>) => Response) {
  const bodies: Record<string, unknown>[] = [];
  serve({
    [endpoint]: async (request) => {
      bodies.push((await request.json()) as Record<string, unknown>);
      return answer(bodies.at(-1) ?? {});
    },
  });
  return bodies;
}
const created = (body: object) => Response.json(body, { status: 201 });
const refused = (status: number, error = "invalid_redirect_uri") => Response.json({ error, error_description: "no\u001b[0m" }, { status });

describe("what is asked for (RFC 7591 §2)", () => {
  const first = async (options: Options) => {
    const bodies = serving(() => created({ client_id: "c" }));
    await register(options);
    return bodies[0];
  };

  test("all members", async () => {
    expect(
      await first({
        clientName: "Acme",
        scopes: ["a", "b"],
        clientMetadata: { client_uri: "https://acme.example", redirect_uris: ["https://x"] },
      }),
    ).toEqual({
      application_type: "native",
      client_name: "Acme",
      client_uri: "https://acme.example",
      grant_types: ["authorization_code", "refresh_token"],
      redirect_uris: [ip, name],
      response_types: ["code"],
      scope: "a b",
      token_endpoint_auth_method: "none",
    });
  });

  test.each<[redirectUris: string[], type: string]>([
    [[ip, name], "native"],
    [["http://[::1]:1/cb"], "native"],
    [["https://app.example/cb"], "web"],
  ])("REQ-REG-03 application_type of %s is %s", async (redirectUris, type) => {
    expect(await first({ redirectUris })).toMatchObject({ application_type: type });
  });

  test("the app's own members win", async () => {
    expect(await first({ clientMetadata: { application_type: "web", grant_types: ["authorization_code"] } })).toMatchObject({
      application_type: "web",
      grant_types: ["authorization_code"],
    });
  });

  test.each<[supported: string[] | undefined, method: string]>([
    [undefined, "none"],
    [["client_secret_basic", "none"], "none"],
    [["client_secret_post", "client_secret_basic"], "client_secret_post"],
    [["client_secret_basic", "client_secret_post"], "client_secret_basic"],
    [["client_secret_basic"], "client_secret_basic"],
    [["client_secret_post"], "client_secret_post"],
    [["private_key_jwt", "client_secret_post"], "client_secret_post"],
    [["private_key_jwt"], "none"],
  ])("REQ-REG-07 with %s supported, %s is asked for", async (supported, method) => {
    const more = supported && { token_endpoint_auth_methods_supported: supported };
    expect(await first({ server: { ...server, ...more } })).toMatchObject({ token_endpoint_auth_method: method });
  });

  test.each([
    "http://app.example/cb",
    "com.example.app:/cb",
    "javascript:alert(1)",
    "https://app.example/cb#x",
    "http://127.0.0.1.evil.example/cb",
    "cb",
  ])("REQ-AUTHZ-06 a redirect URI %s is an error of the app, and nothing is sent", async (uri) => {
    expect((await failure(register({ redirectUris: [uri] }))).code).toBe("invalid_option");
    expect(asked).toEqual([]);
  });
});

describe("what is answered", () => {
  const secret = { client_id: "c", client_secret: "s" };
  test.each<[rule: string, answer: Record<string, unknown>, supported: string[] | undefined, expected: Record<string, unknown>]>([
    [
      "a public client",
      { client_id: "c" },
      undefined,
      { clientId: "c", clientSecret: undefined, tokenEndpointAuthMethod: "none", clientSecretExpiresAt: undefined },
    ],
    [
      "the method that is named",
      { ...secret, token_endpoint_auth_method: "client_secret_post" },
      ["client_secret_basic"],
      { clientSecret: "s", tokenEndpointAuthMethod: "client_secret_post" },
    ],
    ["a secret that need not be used", { ...secret, token_endpoint_auth_method: "none" }, undefined, { tokenEndpointAuthMethod: "none" }],
    ["no method: basic by default", secret, undefined, { tokenEndpointAuthMethod: "client_secret_basic" }],
    ["no method: what is supported", secret, ["client_secret_post"], { tokenEndpointAuthMethod: "client_secret_post" }],
    [
      "an unknown method: what is supported",
      { ...secret, token_endpoint_auth_method: "x" },
      ["client_secret_post"],
      { tokenEndpointAuthMethod: "client_secret_post" },
    ],
    [
      "a method that needs a secret, without one",
      { client_id: "c", token_endpoint_auth_method: "client_secret_basic" },
      undefined,
      { tokenEndpointAuthMethod: "none" },
    ],
    ["null as secret", { client_id: "c", client_secret: null }, undefined, { clientSecret: undefined, tokenEndpointAuthMethod: "none" }],
    ["empty secret", { client_id: "c", client_secret: "" }, undefined, { clientSecret: undefined, tokenEndpointAuthMethod: "none" }],
    ["a secret without expiry", secret, undefined, { clientSecretExpiresAt: undefined }],
    ["a secret that never expires", { ...secret, client_secret_expires_at: 0 }, undefined, { clientSecretExpiresAt: undefined }],
    [
      "a secret that expires",
      { ...secret, client_secret_expires_at: 1_800_000_000 },
      undefined,
      { clientSecretExpiresAt: 1_800_000_000_000 },
    ],
    ["expiry as a string", { ...secret, client_secret_expires_at: "1800000000" }, undefined, { clientSecretExpiresAt: 1_800_000_000_000 }],
    ["nonsense as expiry", { ...secret, client_secret_expires_at: "soon" }, undefined, { clientSecretExpiresAt: undefined }],
    [
      "null for everything else",
      { client_id: "c", redirect_uris: null, token_endpoint_auth_method: null, scope: null },
      undefined,
      { clientId: "c", redirectUris: [ip, name] },
    ],
  ])("REQ-REG-07 %s", async (_, answer, supported, expected) => {
    serving(() => created(answer));
    const more = supported && { token_endpoint_auth_methods_supported: supported };
    expect(await register({ server: { ...server, ...more } })).toMatchObject({ issuer, kind: "dynamic", createdAt: now, ...expected });
  });

  test.each<[rule: string, response: () => Response]>([
    ["status 200", () => Response.json({ client_id: "c" })],
    ["a wrong content type", () => new Response('{"client_id":"c"}', { status: 201, headers: { "content-type": "text/html" } })],
  ])("%s is accepted", async (_, response) => {
    serving(response);
    expect((await register()).clientId).toBe("c");
  });

  test.each<[rule: string, answered: unknown, kept: string[], warned: boolean]>([
    ["ours", [ip, name], [ip, name], false],
    ["ours in another order", [name, ip], [ip, name], false],
    ["one of ours", [name], [name], false],
    ["the server's own (mcp-remote #292)", ["https://litellm.example/cb"], [ip, name], true],
    ["ours and foreign ones", ["https://litellm.example/cb", ip], [ip], true],
    ["none", [], [ip, name], false],
    ["no strings", [1, null], [ip, name], true],
    ["no list", "https://x", [ip, name], false],
  ])("redirect URIs in the answer: %s", async (_, answered, kept, warned) => {
    serving(() => created({ client_id: "c", redirect_uris: answered }));
    const { events, emit } = recorded();
    expect((await register({ onEvent: emit })).redirectUris).toEqual(kept);
    expect(events).toEqual(warned ? [{ type: "registration.foreign-redirect-uris", issuer }] : []);
  });
});

describe("REQ-REG-05 127.0.0.1 refused here, localhost there (claude-code #86233, opencode #31033)", () => {
  const having = (body: Record<string, unknown>, text: string) => JSON.stringify(body.redirect_uris).includes(text);

  test.each<[rule: string, given: string[], refuses: (body: Record<string, unknown>) => boolean, tried: string[][]]>([
    ["nothing is refused", [ip, name], () => false, [[ip, name]]],
    ["localhost is refused", [ip, name], (body) => having(body, "localhost"), [[ip, name], [ip]]],
    ["127.0.0.1 is refused", [ip, name], (body) => having(body, "127.0.0.1"), [[ip, name], [ip], [name]]],
    ["two at once are refused", [ip, name], (body) => (body.redirect_uris as string[]).length > 1, [[ip, name], [ip]]],
    ["the preferred one is tried first", [name, ip], (body) => (body.redirect_uris as string[]).length > 1, [[name, ip], [name]]],
    [
      "several ports stay together",
      [ip, `${ip}2`, name],
      (body) => having(body, "localhost"),
      [
        [ip, `${ip}2`, name],
        [ip, `${ip}2`],
      ],
    ],
  ])("%s", async (_, redirectUris, refuses, tried) => {
    const bodies = serving((body) => (refuses(body) ? refused(400) : created({ client_id: "c", redirect_uris: body.redirect_uris })));
    expect((await register({ redirectUris })).redirectUris).toEqual(tried.at(-1));
    expect(bodies.map((body) => body.redirect_uris)).toEqual(tried);
  });

  test.each<[status: number, error: string, description: string, tries: number, detail: RegExp, hint: RegExp]>([
    [400, "invalid_redirect_uri", "no", 3, /redirect URIs were .*127.* and .*localhost/, /`redirectHost` or `redirectUris`.*`clientId`/],
    [400, "invalid_client_metadata", "localhost is not allowed", 3, /redirect URIs were/, /`redirectHost`/],
    [400, "something", "", 3, /redirect URIs were/, /`redirectHost`/],
    [403, "", "", 3, /redirect URIs were/, /`redirectHost`/],
    [401, "invalid_token", "initial access token", 1, /register this client \(/, /not open to everybody.*`clientId`/],
    [403, "access_denied", "not for you", 1, /register this client \(/, /not open to everybody/],
    [403, "unauthorized_client", "client_name must be Acme", 1, /register this client \(/, /Only certain clients/],
    [404, "", "", 1, /register this client \(/, /by hand/],
    [405, "", "", 1, /register this client \(/, /by hand/],
  ])("status %i %s %s: asked %i times, then registration_refused, which says what it may be about", async (...row) => {
    const [status, error, description, tries, detail, hint] = row;
    const bodies = serving(() => Response.json({ error, error_description: description }, { status }));
    const thrown = await failure(register());
    expect(thrown).toMatchObject({ code: "registration_refused", status, issuer });
    expect([thrown.serverError, thrown.serverDescription]).toEqual([error || undefined, description || undefined]);
    expect(thrown.message).toMatch(detail);
    expect(thrown.hint).toMatch(hint);
    expect(bodies).toHaveLength(tries);
  });

  test("what the server says is cleaned", async () => {
    serving(() => refused(400));
    expect((await failure(register())).serverDescription).toBe("no [0m");
  });

  test("a firewall that answers HTML with 403 to 127.0.0.1 gets localhost (AWS WAF)", async () => {
    const page = () => new Response("<html>blocked</html>", { status: 403, headers: { "content-type": "text/html" } });
    serving((body) => (having(body, "127.0.0.1") ? page() : created({ client_id: "c" })));
    expect((await register()).redirectUris).toEqual([name]);
  });

  test("one redirect URI is asked for once", async () => {
    const bodies = serving(() => refused(400));
    await failure(register({ redirectUris: ["https://app.example/cb"] }));
    expect(bodies).toHaveLength(1);
  });
});

describe("scopes that are registered", () => {
  const scopes = ["a", "offline_access"];

  test.each<[rule: string, options: Options, sent: (string | undefined)[], kept: string[] | undefined]>([
    ["those that the login asks for", {}, ["a offline_access"], scopes],
    ["those that the server lists", { server: { ...server, scopes_supported: ["a", "b"] } }, ["a"], ["a"]],
    ["none that the server lists", { server: { ...server, scopes_supported: ["b"] } }, [undefined], []],
    [
      "none, where the server lists nothing but `offline_access`",
      { server: { ...server, scopes_supported: ["openid", "offline_access"] } },
      [undefined],
      [],
    ],
    ["none, where none are asked for", { scopes: [] }, [undefined], []],
    ["what the app says", { clientMetadata: { scope: "x y" } }, ["x y"], ["x", "y"]],
    ["none, as the app says", { clientMetadata: { scope: undefined } }, [undefined], []],
  ])("%s", async (_, options, sent, kept) => {
    const bodies = serving(() => created({ client_id: "c" }));
    const client = await register({ scopes, ...options });
    expect(bodies.map(({ scope }) => scope)).toEqual(sent);
    expect(client.scopes).toEqual(kept);
  });

  test("those of the answer count, too", async () => {
    serving(() => created({ client_id: "c", scope: "a z" }));
    expect((await register({ scopes })).scopes).toEqual(["a", "offline_access", "z"]);
  });

  test.each<[status: number, error: string, description: string, sent: (string | undefined)[]]>([
    [400, "invalid_client_metadata", "unknown scope a", ["a", undefined]],
    [400, "invalid_client_metadata", "", ["a", undefined]],
    [403, "insufficient_scope", "Policy 'Allowed Client Scopes' rejected request", ["a", undefined]],
    [422, "", "", ["a", undefined]],
    [401, "invalid_token", "", ["a", undefined]],
    [403, "", "", ["a", undefined]],
    [404, "", "", ["a"]],
  ])("refused with %i %s %s: sent with scopes %j", async (status, error, description, sent) => {
    const bodies = serving(({ scope }) =>
      scope ? Response.json({ error, error_description: description }, { status }) : created({ client_id: "c" }),
    );
    const client = await register({ scopes: ["a"], redirectUris: [ip] }).catch(() => undefined);
    expect(bodies.map(({ scope }) => scope)).toEqual(sent);
    expect(client && [client.clientId, client.scopes]).toEqual(sent.length > 1 ? ["c", undefined] : undefined);
  });

  test("a redirect URI is refused: asked with the other host, and the same scopes", async () => {
    const bodies = serving(({ redirect_uris }) => ((redirect_uris as string[]).length > 1 ? refused(400) : created({ client_id: "c" })));
    await register({ scopes: ["a"] });
    expect(bodies.map(({ scope }) => scope)).toEqual(["a", "a"]);
  });

  test("refused whatever is asked for: four requests at most, and the error names scopes", async () => {
    const bodies = serving(() => Response.json({ error: "invalid_client_metadata", error_description: "scope" }, { status: 400 }));
    const error = await failure(register({ scopes: ["a"] }));
    expect(bodies.map(({ scope }) => scope)).toEqual(["a", undefined]);
    expect(error.message).toContain("the scopes were a");
    expect(error.hint).toContain("`scopes`");
  });
});

describe("servers that misbehave", () => {
  test.each<[rule: string, answer: Answer, code: string]>([
    ["5xx", 503, "server_error"],
    ["429", () => new Response(null, { status: 429, headers: { "retry-after": "7" } }), "rate_limited"],
    ["unreachable", "unreachable", "network_error"],
    ["HTML with status 200", () => new Response("<!doctype html>"), "registration_refused"],
    ["truncated JSON", () => new Response('{"client_id":"c', { status: 201 }), "registration_refused"],
    ["null", () => Response.json(null, { status: 201 }), "registration_refused"],
    ["no client ID", () => created({ client_secret: "s3cret" }), "registration_refused"],
    ["fraction as client ID", () => created({ client_id: 7.5 }), "registration_refused"],
    ["empty client ID", () => created({ client_id: "" }), "registration_refused"],
    ["redirect", () => new Response(null, { status: 307, headers: { location: "/elsewhere" } }), "redirect_refused"],
    ["huge body", () => created({ client_id: "x".repeat(1_100_000) }), "response_too_large"],
  ])("%s: %s, asked once", async (_, answer, code) => {
    serve({ [endpoint]: answer });
    const error = await failure(register());
    expect(error.code).toBe(code);
    expect(error.message).not.toContain("s3cret");
    expect(asked).toEqual([endpoint]);
  });

  test("a long wait that is asked for is told", async () => {
    serve({ [endpoint]: () => new Response(null, { status: 429, headers: { "retry-after": "7" } }) });
    expect(await failure(register())).toMatchObject({ retryAfterMs: 7000, issuer, status: 429, transient: true });
  });

  test("no registration endpoint", async () => {
    expect((await failure(register({ server: { issuer } }))).code).toBe("registration_unsupported");
  });

  test("an http endpoint is not asked", async () => {
    const plain = { ...server, registration_endpoint: "http://as.example/register" };
    expect((await failure(register({ server: plain }))).code).toBe("insecure_url");
    expect(asked).toEqual([]);
  });

  test("a hanging one ends with the time limit, or the caller's abort", async () => {
    serve({ [endpoint]: never });
    expect((await failure(register({ http: createHttp({ requestTimeout: 30 }) }))).code).toBe("timeout");
    const controller = new AbortController();
    const registering = register({ signal: controller.signal });
    controller.abort("enough");
    await expect(registering).rejects.toBe("enough");
  });
});
