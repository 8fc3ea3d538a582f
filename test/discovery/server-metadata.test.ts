import { describe, expect, test } from "vitest";
import { systemClock } from "../../src/clock.ts";
import { isSameIssuer } from "../../src/discovery/issuer-names.ts";
import {
  type AuthorizationServerMetadata,
  discoverAuthorizationServer,
  findAuthorizationServer,
  type Need,
  requirePkce,
} from "../../src/discovery/server-metadata.ts";
import { createHttp } from "../../src/http/http.ts";
import { type Answer, eagerClock, failure, ManualClock, never, reasons, recorded, world } from "./support.ts";

const { asked, serve } = world();
const http = createHttp();

const issuer = "https://as.example/t1";
const [oauth, inserted, appended] = [
  "https://as.example/.well-known/oauth-authorization-server/t1",
  "https://as.example/.well-known/openid-configuration/t1",
  "https://as.example/t1/.well-known/openid-configuration",
] as const;

const root = "https://as.example/.well-known/oauth-authorization-server";

const metadata = (of: string, more: Record<string, unknown> = {}) => ({
  issuer: of,
  authorization_endpoint: "https://as.example/authorize",
  token_endpoint: "https://as.example/token",
  ...more,
});
const sound = metadata(issuer);
const find = (of: string, options: { strictIssuer?: boolean } = {}) =>
  discoverAuthorizationServer(of, { http, clock: eagerClock(), ...options });

describe("REQ-ASM-01 where metadata is looked for", () => {
  test.each([
    ["https://as.example/t1", [oauth, inserted, appended, root]],
    ["https://as.example/t1/", [oauth, inserted, appended, root]],
    [
      "https://as.example",
      ["https://as.example/.well-known/oauth-authorization-server", "https://as.example/.well-known/openid-configuration"],
    ],
    [
      "https://as.example/",
      ["https://as.example/.well-known/oauth-authorization-server", "https://as.example/.well-known/openid-configuration"],
    ],
    [
      "https://as.example:8443/a/b",
      [
        "https://as.example:8443/.well-known/oauth-authorization-server/a/b",
        "https://as.example:8443/.well-known/openid-configuration/a/b",
        "https://as.example:8443/a/b/.well-known/openid-configuration",
        "https://as.example:8443/.well-known/oauth-authorization-server",
      ],
    ],
  ])("%s", async (of, places) => {
    const error = await failure(find(of));
    expect(error.code).toBe("discovery_failed");
    expect(new Set(asked)).toEqual(new Set(places));
    expect(asked).toHaveLength(places.length);
  });

  test.each([
    [oauth, [oauth, inserted, appended]],
    [inserted, [inserted, appended]],
    [appended, [appended]], // Keycloak: appended well-known form not tried (ai-dial-core #1685)
  ])("%s wins over those after it", async (winner, places) => {
    serve(
      Object.fromEntries(places.map((url) => [url, metadata(issuer, { token_endpoint: `https://as.example/token?${url === winner}` })])),
    );
    expect((await find(issuer)).token_endpoint).toBe("https://as.example/token?true");
  });

  test("the host's own place comes last, and an event says so; what it says about the host counts for nothing", async () => {
    const { events, emit } = recorded();
    serve({ [root]: sound });
    expect((await discoverAuthorizationServer(issuer, { http, clock: eagerClock(), onEvent: emit })).issuer).toBe(issuer);
    expect(events).toEqual([{ type: "discovery.concession", concession: "metadata-place", issuer, detail: root }]);
    serve({ [root]: metadata("https://as.example") });
    expect(await failure(find(issuer))).toMatchObject({ code: "discovery_failed" });
  });

  test("a host that cannot be reached is not asked for its own place: nobody waits twice", async () => {
    serve({ [oauth]: "unreachable", [inserted]: "unreachable", [appended]: "unreachable", [root]: sound });
    expect(await failure(find(issuer))).toMatchObject({ code: "network_error" });
    expect(asked).not.toContain(root);
  });

  test("all places are asked at once: the last one costs no further round", async () => {
    const all = Promise.withResolvers<void>();
    let open = 0;
    const together = (body?: object) => async () => {
      if (++open === 3) all.resolve();
      await all.promise;
      return body ? Response.json(body) : new Response(null, { status: 404 });
    };
    serve({ [oauth]: together(), [inserted]: together(), [appended]: together(sound) });
    expect((await find(issuer)).issuer).toBe(issuer);
  });

  test("what is not needed any more is aborted", async () => {
    const aborted: string[] = [];
    const fetch: typeof globalThis.fetch = async (url, init) => {
      if (url === oauth) return Response.json(sound);
      return new Promise((_, reject) => {
        init?.signal?.addEventListener("abort", () => {
          aborted.push(String(url));
          reject(init.signal?.reason);
        });
      });
    };
    await discoverAuthorizationServer(issuer, { http: createHttp({ fetch }) });
    expect(aborted).toEqual([inserted, appended]);
  });
});

describe("REQ-ASM-02 whose metadata it is", () => {
  test.each<[asked: string, named: unknown, strict: boolean, outcome: string]>([
    ["https://as.example", "https://as.example", false, "accepted"],
    ["https://as.example", "https://as.example", true, "accepted"],
    ["https://as.example/", "https://as.example", false, "accepted with a warning"], // Google's issuer with and without final slash (copilot-cli #4606)
    ["https://as.example", "https://as.example/", false, "accepted with a warning"],
    ["https://as.example/", "https://as.example", true, "issuer_mismatch"],
    ["https://as.example", "https://as.example/", true, "issuer_mismatch"],
    ["https://as.example/t1", "https://as.example/t1/", false, "issuer_mismatch"],
    ["https://as.example/t1/", "https://as.example/t1", false, "issuer_mismatch"],
    ["https://as.example", "https://as.example//", false, "issuer_mismatch"],
    ["https://as.example", "https://AS.example", false, "issuer_mismatch"],
    ["https://as.example", "https://as.example:443", false, "issuer_mismatch"],
    ["https://as.example", "http://as.example", false, "issuer_mismatch"],
    ["https://as.example", "https://as.example?", false, "issuer_mismatch"],
    ["https://as.example/t1", "https://as.example/%741", false, "issuer_mismatch"],
    ["https://as.example/t1", "https://as.example", false, "issuer_mismatch"],
    ["https://as.example", "https://evil.example", false, "issuer_mismatch"],
    ["https://as.example", undefined, false, "discovery_failed"],
    ["https://as.example", ["https://as.example"], false, "discovery_failed"],
  ])("%s, metadata of %s, strict %s: %s", async (of, named, strictIssuer, outcome) => {
    const path = new URL(of).pathname.replace(/\/$/, "");
    serve({ [`https://as.example/.well-known/oauth-authorization-server${path}`]: metadata(named as string) });
    const { events, emit } = recorded();
    const found = discoverAuthorizationServer(of, { http, clock: eagerClock(), strictIssuer, onEvent: emit });
    if (outcome.startsWith("accepted")) {
      expect((await found).issuer).toBe(named);
      const warning = { type: "discovery.concession", concession: "issuer-final-slash", issuer: named, detail: of };
      expect(events).toEqual(outcome === "accepted" ? [] : [warning]);
    } else {
      expect((await failure(found)).code).toBe(outcome);
      expect(events).toEqual([]);
    }
  });

  test("a mismatching candidate is not used, the next is tried under the same rule (oh-my-pi #3539)", async () => {
    serve({ [oauth]: metadata("https://as.example"), [inserted]: metadata("https://evil.example"), [appended]: sound });
    expect((await find(issuer)).issuer).toBe(issuer);
  });

  test("if none fits the error names the mismatch first, and every place's reason", async () => {
    serve({ [oauth]: 404, [inserted]: "unreachable", [appended]: metadata("https://evil.example\u0007") });
    const error = await failure(find(issuer));
    expect(error).toMatchObject({ code: "issuer_mismatch", issuer });
    expect(reasons(error)).toEqual(["issuer_mismatch", "discovery_failed", "network_error"]);
    expect(error.message).toContain('"https://evil.example?"'.replace("?", "\\u0007"));
    expect(error.message).toContain(`not "${issuer}"`);
    const [first] = (error.cause as AggregateError).errors;
    expect(first.message).toContain(appended);
    expect(first.message).toContain("https://evil.example");
    expect(first.message).not.toContain("\u0007");
  });

  test.each([
    ["https://a", "https://a/", true],
    ["https://a/", "https://a/", true],
    ["https://a/b", "https://a/b/", false],
    ["urn:a", "urn:a/", false],
    ["https://a?", "https://a?/", false],
  ])("%s and %s are the same issuer: %s", (a, b, same) => {
    expect(isSameIssuer(a, b)).toBe(same);
    expect(isSameIssuer(a, b, { strictIssuer: true })).toBe(a === b);
  });
});

describe("REQ-ASM-04 endpoints", () => {
  test.each<[rule: string, value: unknown]>([
    ["plain http", "http://as.example/x"],
    ["a script (CVE-2025-6514)", "javascript:alert(1)"],
    ["a command (CVE-2025-6514)", "file:/c:/windows/system32/calc.exe"],
    ["user information", "https://a:b@as.example/x"],
    ["relative", "/x"],
    ["empty", ""],
    ["a number", 1],
    ["an array", ["https://as.example/x"]],
  ])("one that cannot be used counts as absent, and is named: %s", async (_, value) => {
    serve({ [oauth]: metadata(issuer, { authorization_endpoint: value, revocation_endpoint: value }) });
    const found = await find(issuer);
    expect(found).toEqual({
      issuer,
      token_endpoint: "https://as.example/token",
      unusable_endpoints: ["authorization_endpoint", "revocation_endpoint"],
    });
  });

  test.each<[rule: string, value: unknown, message: string]>([
    ["absent", undefined, "no `token_endpoint`"],
    ["null", null, "no `token_endpoint`"],
    ["plain http", "http://as.example/token", "`token_endpoint` is not usable (plain http)"],
    ["relative", "/token", "`token_endpoint` is not usable"],
    ["empty", "", "`token_endpoint` is not usable"],
    ["a number", 1, "`token_endpoint` is not usable"],
  ])("the token endpoint is needed: %s", async (_, value, message) => {
    serve({ [oauth]: metadata(issuer, { token_endpoint: value }) });
    const error = await failure(find(issuer));
    expect(error).toMatchObject({ code: "discovery_failed", party: "authorization-server" });
    expect(error.message).toContain(`${oauth}: ${message}`);
  });

  test.each<[rule: string, more: Record<string, unknown>, expected: Record<string, unknown>]>([
    ["no authorization endpoint, as for machines", { authorization_endpoint: undefined }, { token_endpoint: "https://as.example/token" }],
    ["loopback", { token_endpoint: "http://127.0.0.1:9/token" }, { token_endpoint: "http://127.0.0.1:9/token" }],
    ["another host", { token_endpoint: "https://tokens.example/" }, { token_endpoint: "https://tokens.example/" }],
    ["a document that names unusable ones itself", { unusable_endpoints: ["token_endpoint"] }, {}],
    [
      "of the aliases for client certificates, those that can be used",
      { mtls_endpoint_aliases: { token_endpoint: "http://as.example/token", revocation_endpoint: "https://mtls.example/", x: 1 } },
      { mtls_endpoint_aliases: { revocation_endpoint: "https://mtls.example/" } },
    ],
  ])("accepted: %s", async (_, more, expected) => {
    serve({ [oauth]: metadata(issuer, more) });
    const found = await find(issuer);
    expect(found).toMatchObject(expected);
    expect(found).not.toHaveProperty("unusable_endpoints");
  });

  test("null is absent, not unusable; aliases that are no object are left out", async () => {
    serve({ [oauth]: metadata(issuer, { registration_endpoint: null, mtls_endpoint_aliases: "https://mtls.example" }) });
    expect(await find(issuer)).toEqual(sound);
  });

  test.each([
    ["http://as.example", "insecure_url"],
    ["as.example", "invalid_url"],
    ["javascript:alert(1)", "invalid_url"],
    ["https://u:p@as.example", "invalid_url"],
  ])("an issuer %s is asked nothing: %s", async (of, code) => {
    expect((await failure(find(of))).code).toBe(code);
    expect(asked).toEqual([]);
  });

  test("members of a wrong type count as absent, unknown ones stay", async () => {
    const more = {
      scopes_supported: ["a", 1],
      code_challenge_methods_supported: "S256",
      registration_endpoint: 7,
      x_extra: { a: 1 },
      client_id_metadata_document_supported: true,
      ["__proto__"]: { token_endpoint: "x" },
    };
    serve({ [oauth]: metadata(issuer, more) });
    const found = await find(issuer);
    expect(found).toMatchObject({ scopes_supported: ["a"], x_extra: { a: 1 }, client_id_metadata_document_supported: true });
    expect(found).not.toHaveProperty("code_challenge_methods_supported");
    expect(found).not.toHaveProperty("registration_endpoint");
  });
});

describe("a document that does not serve the caller", () => {
  const lacks = (server: AuthorizationServerMetadata): Need[] => [
    ...(server.token_endpoint ? [] : (["token_endpoint"] as const)),
    ...(server.authorization_endpoint ? [] : (["authorization_endpoint"] as const)),
    ...(server.code_challenge_methods_supported?.includes("S256") ? [] : (["code_challenge_methods_supported"] as const)),
  ];
  const search = () => findAuthorizationServer(issuer, { http, clock: systemClock, emit: () => {}, lacks });
  const whole = metadata(issuer, { code_challenge_methods_supported: ["S256"] });
  const withoutPkce = metadata(issuer);
  const withoutAuthorization = { ...whole, authorization_endpoint: "" };

  test.each([
    ["without S256", withoutPkce],
    ["without authorization endpoint", withoutAuthorization],
    ["without token endpoint", { ...whole, token_endpoint: null }],
  ])("%s: the next form has its chance, and the choice is certain", async (_, lacking) => {
    serve({ [oauth]: lacking, [appended]: { ...whole, x: "whole" } });
    expect(await search()).toMatchObject({ value: { x: "whole" }, cacheable: true });
  });

  test.each<[rule: string, documents: Record<string, Answer>, code: string, message: string]>([
    ["only S256 is missing", { [oauth]: withoutPkce }, "pkce_unsupported", `${oauth}: no S256`],
    [
      "only S256 in one, more in another",
      { [oauth]: withoutAuthorization, [inserted]: withoutPkce },
      "pkce_unsupported",
      `${inserted}: no S256; ${oauth}: \`authorization_endpoint\` is not usable`,
    ],
    [
      "S256 and more in the same",
      { [oauth]: { ...withoutPkce, token_endpoint: undefined } },
      "discovery_failed",
      `${oauth}: no \`token_endpoint\`, no S256`,
    ],
    [
      "another issuer beside",
      { [oauth]: withoutAuthorization, [inserted]: metadata("https://evil.example") },
      "issuer_mismatch",
      `${inserted} is about "https://evil.example", not "${issuer}"; ${oauth}: \`authorization_endpoint\` is not usable`,
    ],
  ])("none serves, %s: the error names what each lacks", async (_, documents, code, message) => {
    serve(documents);
    const error = await failure(search());
    expect(error.code).toBe(code);
    expect(error.message).toContain(`: ${message} (`);
  });
});

describe("which of two names is accepted", () => {
  const [listed, inside] = ["https://sso.example/x", "https://sso.internal.example/x"];
  const place = "https://sso.example/.well-known/oauth-authorization-server/x";
  const issuerAlias = { expected: listed, found: inside };
  const discoverAs = (of: string, alias?: typeof issuerAlias) => {
    const { events, emit } = recorded();
    return Object.assign(findAuthorizationServer(of, { http, clock: eagerClock(), emit, issuerAlias: alias }), { events });
  };

  test("the pair that the app allows, by its metadata's name, told in an event", async () => {
    serve({ [place]: metadata(inside) });
    expect(await failure(discoverAs(listed))).toMatchObject({ code: "issuer_mismatch" });
    const found = discoverAs(listed, issuerAlias);
    expect((await found).value.issuer).toBe(inside);
    expect(found.events).toEqual([{ type: "discovery.concession", concession: "issuer-alias", issuer: inside, detail: listed }]);
  });

  test.each<[rule: string, alias: typeof issuerAlias]>([
    ["the other way round", { expected: inside, found: listed }],
    ["another found", { ...issuerAlias, found: `${inside}/` }],
    ["another expected", { ...issuerAlias, expected: `${listed}/` }],
  ])("no other pair: %s", async (_, alias) => {
    serve({ [place]: metadata(inside) });
    expect(await failure(discoverAs(listed, alias))).toMatchObject({ code: "issuer_mismatch" });
  });

  test("by the name of its metadata it is found at the place of the other one: a login that is bound to it is refreshed", async () => {
    serve({ [place]: metadata(inside) });
    expect((await discoverAs(inside, issuerAlias)).value.issuer).toBe(inside);
    expect(isSameIssuer(listed, inside, { issuerAlias })).toBe(true);
    expect(isSameIssuer(inside, listed, { issuerAlias, strictIssuer: true })).toBe(true);
    expect(isSameIssuer(inside, "https://evil.example", { issuerAlias })).toBe(false);
  });
});

describe("REQ-ASM-05 servers that misbehave", () => {
  test.each<[rule: string, answer: Answer]>([
    ["404", 404],
    ["403 of a firewall", 403],
    ["HTML with status 200", () => new Response("<!doctype html>", { headers: { "content-type": "text/html" } })],
    ["truncated JSON", () => new Response(JSON.stringify(sound).slice(0, -1), { headers: { "content-type": "application/json" } })],
    ["huge body", () => new Response(`"${"x".repeat(1_100_000)}"`)],
    ["array", () => Response.json([sound])],
    ["redirect to another origin", () => Response.redirect("https://evil.example/")],
    ["endless redirect", (request) => Response.redirect(request.url)],
  ])("%s means: try the next, and the choice is certain", async (_, answer) => {
    serve({ [oauth]: answer, [inserted]: answer, [appended]: sound });
    expect(await findAuthorizationServer(issuer, { http, clock: eagerClock(), emit: () => {} })).toMatchObject({
      value: sound,
      cacheable: true,
    });
  });

  test("JSON of a wrong content type is read; Cache-Control is", async () => {
    serve({
      [oauth]: () =>
        new Response(JSON.stringify(sound), { headers: { "content-type": "text/html", "cache-control": "public, max-age=600" } }),
    });
    expect(await findAuthorizationServer(issuer, { http, clock: eagerClock(), emit: () => {} })).toEqual({
      value: sound,
      cacheable: true,
      maxAgeMs: 600_000,
    });
  });

  test("5xx then success: the higher one wins, if it comes in time", async () => {
    const clock = new ManualClock();
    serve({ [oauth]: [503, 503, metadata(issuer, { x: "higher" })], [inserted]: 404, [appended]: sound });
    const found = findAuthorizationServer(issuer, { http, clock, emit: () => {} });
    // The repeat, and the patience with it.
    expect([await clock.next(2), await clock.next(2)]).toEqual([250, 1000]);
    expect(await found).toMatchObject({ value: { x: "higher" }, cacheable: true });
    expect(clock.sleepers).toEqual([]);
  });

  test("5xx that lasts counts as next, and the choice is not cached", async () => {
    const clock = new ManualClock();
    serve({ [oauth]: 503, [inserted]: 404, [appended]: sound });
    const found = findAuthorizationServer(issuer, { http, clock, emit: () => {} });
    expect([await clock.next(2), await clock.next(2)]).toEqual([250, 1000]);
    expect(await found).toMatchObject({ value: sound, cacheable: false });
    expect(asked.filter((url) => url === oauth)).toHaveLength(3);
  });

  test("a hanging higher one is waited for 2 s after a lower one is valid", async () => {
    const clock = new ManualClock();
    serve({ [oauth]: never, [inserted]: sound, [appended]: sound });
    const found = findAuthorizationServer(issuer, { http, clock, emit: () => {} });
    expect(await clock.next()).toBe(2000);
    expect(await found).toMatchObject({ cacheable: false });
  });

  test("a hanging lower one is not waited for", async () => {
    serve({ [oauth]: sound, [inserted]: never, [appended]: never });
    expect(await findAuthorizationServer(issuer, { http, clock: new ManualClock(), emit: () => {} })).toMatchObject({ cacheable: true });
  });

  test.each<[rule: string, answers: Answer[], code: string, transient: boolean]>([
    ["unreachable everywhere", ["unreachable", "unreachable", "unreachable"], "network_error", true],
    ["5xx everywhere", [500, 502, 503], "server_error", true],
    ["429 everywhere", [429, 429, 429], "rate_limited", true],
    ["5xx and 404", [500, 404, 404], "server_error", true],
    ["5xx, and a place that wants a login", [500, 401, 404], "server_error", true],
    ["nothing anywhere", [404, 404, 404], "discovery_failed", false],
  ])("no metadata, %s", async (_, [a, b, c], code, transient) => {
    serve({ [oauth]: a ?? 404, [inserted]: b ?? 404, [appended]: c ?? 404 });
    const error = await failure(find(issuer));
    expect(error).toMatchObject({ code, transient, issuer });
    expect(reasons(error)).toHaveLength(3);
  });

  test("an abort ends everything with its reason", async () => {
    const clock = new ManualClock();
    serve({ [oauth]: never, [inserted]: 503, [appended]: sound });
    const controller = new AbortController();
    const found = discoverAuthorizationServer(issuer, { http, clock, signal: controller.signal });
    await expect.poll(() => clock.sleepers.length).toBe(2);
    controller.abort("enough");
    await expect(found).rejects.toBe("enough");
    expect(clock.sleepers).toEqual([]);
  });

  test("without options the global fetch is used", async () => {
    serve({ [oauth]: sound });
    expect(await discoverAuthorizationServer(issuer)).toEqual(sound);
  });
});

describe("REQ-ASM-03 PKCE", () => {
  test.each<[methods: string[] | undefined, accepted: boolean]>([
    [["S256"], true],
    [["plain", "S256"], true],
    [["plain"], false],
    [["s256"], false],
    [[], false],
    [undefined, false],
  ])("%s: accepted %s", (methods, accepted) => {
    const server = { issuer, ...(methods && { code_challenge_methods_supported: methods }) } as AuthorizationServerMetadata;
    if (accepted) expect(() => requirePkce(server)).not.toThrow();
    else expect(() => requirePkce(server)).toThrow(expect.objectContaining({ code: "pkce_unsupported", issuer }));
  });
});
