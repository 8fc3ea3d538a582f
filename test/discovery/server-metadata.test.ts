import { describe, expect, test } from "vitest";
import {
  type AuthorizationServerMetadata,
  discoverAuthorizationServer,
  findAuthorizationServer,
  isSameIssuer,
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
    ["https://as.example/t1", [oauth, inserted, appended]],
    ["https://as.example/t1/", [oauth, inserted, appended]],
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
    expect(isSameIssuer(a, b, true)).toBe(a === b);
  });
});

describe("REQ-ASM-04 endpoints", () => {
  test.each<[rule: string, more: Record<string, unknown>, reason: string | undefined]>([
    ["http token endpoint", { token_endpoint: "http://as.example/token" }, "insecure_url"],
    ["http authorization endpoint", { authorization_endpoint: "http://as.example/authorize" }, "insecure_url"],
    ["http registration endpoint", { registration_endpoint: "http://as.example/register" }, "insecure_url"],
    ["http revocation endpoint", { revocation_endpoint: "http://as.example/revoke" }, "insecure_url"],
    ["http alias for client certificates", { mtls_endpoint_aliases: { token_endpoint: "http://as.example/token" } }, "insecure_url"],
    ["script as authorization endpoint (CVE-2025-6514)", { authorization_endpoint: "javascript:alert(1)" }, "invalid_url"],
    ["command as authorization endpoint (CVE-2025-6514)", { authorization_endpoint: "file:/c:/windows/system32/calc.exe" }, "invalid_url"],
    ["user information", { token_endpoint: "https://a:b@as.example/token" }, "invalid_url"],
    ["relative token endpoint", { token_endpoint: "/token" }, "invalid_url"],
    ["no token endpoint", { token_endpoint: undefined }, "discovery_failed"],
    ["number as token endpoint", { token_endpoint: 1 }, "discovery_failed"],
    ["no authorization endpoint, as for machines", { authorization_endpoint: undefined }, undefined],
    ["loopback endpoints", { token_endpoint: "http://127.0.0.1:9/token", authorization_endpoint: "http://localhost:9/a" }, undefined],
    ["endpoints on other hosts", { token_endpoint: "https://tokens.example/" }, undefined],
    ["null for an endpoint that is not needed", { registration_endpoint: null }, undefined],
  ])("%s", async (_, more, reason) => {
    serve({ [oauth]: metadata(issuer, more) });
    if (reason === undefined) expect((await find(issuer)).issuer).toBe(issuer);
    else expect(reasons(await failure(find(issuer)))).toEqual([reason, "discovery_failed", "discovery_failed"]);
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
    ["5xx and 404", [500, 404, 404], "discovery_failed", false],
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
