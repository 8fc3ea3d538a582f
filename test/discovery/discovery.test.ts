import { describe, expect, test, vi } from "vitest";
import { systemClock } from "../../src/clock.ts";
import { readDiscovery, writeDiscovery } from "../../src/discovery/cache.ts";
import {
  type AuthorizationServerMetadata,
  type DiscoverOptions,
  type Discovery,
  discover,
  speculate,
} from "../../src/discovery/discovery.ts";
import { createHttp } from "../../src/http/http.ts";
import { MemoryStore } from "../../src/stores/memory.ts";
import { type Answer, eagerClock, failure, ManualClock, never, reasons, recorded, world } from "./support.ts";

const { asked, serve } = world();
const http = createHttp();

const server = new URL("https://mcp.example/mcp?key=1#part");
const pathForm = "https://mcp.example/.well-known/oauth-protected-resource/mcp";
const rootForm = "https://mcp.example/.well-known/oauth-protected-resource";
const origin = "https://mcp.example/.well-known/oauth-authorization-server";
const below = `${origin}/mcp`;
const appended = "https://mcp.example/mcp/.well-known/openid-configuration";
const wellKnown = (issuer: string) => `${issuer.replace(/\/$/, "")}/.well-known/oauth-authorization-server`;
const metadata = (issuer: string, more: Record<string, unknown> = {}) => ({
  issuer,
  authorization_endpoint: `${issuer}/authorize`,
  token_endpoint: `${issuer}/token`,
  ...more,
});
const salesforce = new URL("https://api.salesforce.com/platform/mcp");
const testSalesforce = "https://test.salesforce.com/.well-known/oauth-authorization-server";
const resource = (...issuers: string[]) => ({ resource: "https://mcp.example/mcp", authorization_servers: issuers });
const [a, b, c] = ["https://a.example", "https://b.example", "https://c.example"] as const;

const run = (options: Partial<DiscoverOptions> = {}, url = server) => {
  const { events, emit } = recorded();
  return Object.assign(discover(url, { http, clock: eagerClock(), emit, ...options }), { events });
};

describe("a challenge names metadata of the resource that are nowhere", () => {
  const challenge = { status: 401, challenges: [], resourceMetadata: pathForm };

  test("metadata as of 2025-03-26 count, with a concession", async () => {
    serve({ [pathForm]: 401, [rootForm]: 401, [origin]: metadata("https://mcp.example") });
    const running = run({ challenge });
    expect(await running).toMatchObject({ issuer: "https://mcp.example", legacy: true });
    expect(running.events).toContainEqual({ type: "discovery.concession", concession: "resource-metadata-url", detail: pathForm });
  });

  test("so does the issuer that the app names", async () => {
    serve({ [pathForm]: 401, [wellKnown(a)]: metadata(a) });
    expect(await run({ challenge, issuer: a })).toMatchObject({ issuer: a, legacy: true });
  });

  test.each<[rule: string, answers: Record<string, Answer>, code: string]>([
    ["endpoints are not guessed", {}, "invalid_resource_metadata"],
    ["nor is a flawed document used", { [origin]: { issuer: "https://mcp.example" } }, "invalid_resource_metadata"],
    ["what fails for the moment is said", { [pathForm]: 503 }, "server_error"],
    [
      "metadata of another resource end the search",
      { [pathForm]: { ...resource(a), resource: "https://evil.example/" } },
      "resource_mismatch",
    ],
  ])("%s: %s", async (_, answers, code) => {
    serve({ [pathForm]: 401, ...answers });
    expect((await failure(run({ challenge }))).code).toBe(code);
  });
});

describe("from a server's URL to its authorization server", () => {
  test("what is found, and the events", async () => {
    serve({ [pathForm]: { ...resource(a), scopes_supported: ["x"] }, [wellKnown(a)]: metadata(a) });
    const running = run();
    const found = await running;
    expect(found).toEqual({
      serverUrl: "https://mcp.example/mcp",
      resource: "https://mcp.example/mcp",
      resourceMetadataUrl: "https://mcp.example/.well-known/oauth-protected-resource/mcp",
      issuer: a,
      server: metadata(a),
      scopesSupported: ["x"],
      legacy: false,
      fetchedAt: eagerClock().now(),
      validUntil: eagerClock().now() + 86_400_000,
    });
    expect(running.events).toEqual([
      { type: "discovery.started" },
      { type: "discovery.finished", resource: found.resource, issuer: a, legacy: false },
    ]);
  });

  test.each<[rule: string, places: Record<string, Answer>, rounds: number]>([
    ["first places", { [pathForm]: resource(a), [wellKnown(a)]: metadata(a) }, 2],
    ["last places", { [rootForm]: resource(`${a}/t`), [`${a}/t/.well-known/openid-configuration`]: metadata(`${a}/t`) }, 2],
    ["several authorization servers", { [pathForm]: resource(a, b), [wellKnown(b)]: metadata(b) }, 2],
    ["2025-03-26", { [origin]: metadata("https://mcp.example") }, 2],
    ["2025-03-26 without metadata", {}, 2],
    ["2025-03-26 below its path", { [below]: metadata("https://mcp.example/mcp") }, 2],
    ["2025-03-26 with a pointer", { [origin]: metadata(a), [wellKnown(a)]: metadata(a) }, 3],
  ])("sequential rounds, %s", async (_, places, rounds) => {
    // Answers are held back until nobody asks any more: everything asked until then is one round.
    let counted = 0;
    let held: (() => void)[] = [];
    const fetch: typeof globalThis.fetch = async (url) => {
      await new Promise<void>((resolve) => {
        if (held.push(resolve) > 1) return;
        counted++;
        setImmediate(() => {
          const now = held;
          held = [];
          for (const release of now) release();
        });
      });
      const answer = places[String(url)];
      return answer ? Response.json(answer) : new Response(null, { status: 404 });
    };
    await run({ http: createHttp({ fetch }) });
    expect(counted).toBe(rounds);
  });

  test("with a speculation only the authorization server's metadata is left to ask for", async () => {
    serve({ [pathForm]: resource(a), [wellKnown(a)]: metadata(a) });
    const speculation = speculate(server, { http, clock: systemClock });
    await Promise.allSettled(speculation.values());
    asked.length = 0;
    await run({ speculation, challenge: { status: 401, challenges: [], resourceMetadata: pathForm } });
    expect(asked.every((url) => url.startsWith(a))).toBe(true);
  });

  test("Google's issuer with and without final slash (copilot-cli #4606)", async () => {
    serve({
      [pathForm]: resource("https://accounts.google.com/"),
      "https://accounts.google.com/.well-known/openid-configuration": metadata("https://accounts.google.com"),
    });
    const running = run();
    expect(await running).toMatchObject({ issuer: "https://accounts.google.com" });
    expect(running.events).toContainEqual(expect.objectContaining({ type: "discovery.concession", concession: "issuer-final-slash" }));
    expect(await failure(run({ strictIssuer: true }))).toMatchObject({ code: "issuer_mismatch" });
  });

  test("REQ-DISC-04 metadata of another server stops everything before any authorization server is asked", async () => {
    serve({
      [pathForm]: { ...resource(a), resource: "https://evil.example/mcp" },
      [wellKnown(a)]: metadata(a),
      [origin]: metadata("https://mcp.example"),
    });
    expect((await failure(run())).code).toBe("resource_mismatch");
    expect(asked.sort()).toEqual([rootForm, pathForm].sort());
  });

  test("the error of the only authorization server tells every place", async () => {
    serve({ [pathForm]: resource(a), [wellKnown(a)]: metadata(b) });
    const error = await failure(run());
    expect(error).toMatchObject({ code: "issuer_mismatch", issuer: a });
    expect(reasons(error)).toEqual(["issuer_mismatch", "discovery_failed"]);
  });

  test("an abort ends it with its reason", async () => {
    serve({ [pathForm]: resource(a), [wellKnown(a)]: never });
    const controller = new AbortController();
    const running = run({ signal: controller.signal });
    await expect.poll(() => asked.includes(wellKnown(a))).toBe(true);
    controller.abort("enough");
    await expect(running).rejects.toBe("enough");
  });
});

describe("REQ-DISC-03 several authorization servers", () => {
  const all = { [pathForm]: resource(a, b, c), [wellKnown(a)]: metadata(a), [wellKnown(b)]: metadata(b), [wellKnown(c)]: metadata(c) };

  test.each<[rule: string, change: Record<string, Answer>, options: Partial<DiscoverOptions>, issuer: string]>([
    ["the first", {}, {}, a],
    ["the first whose metadata validates", { [wellKnown(a)]: metadata(b) }, {}, b],
    ["the first that there is", { [wellKnown(a)]: 404, [wellKnown(b)]: 404 }, {}, c],
    ["the app's choice", {}, { chooseAuthorizationServer: (issuers) => issuers[1] ?? "" }, b],
    ["the app's choice, later", {}, { chooseAuthorizationServer: async ([, , third]) => third ?? "" }, c],
    ["the configured issuer", {}, { issuer: c }, c],
    ["the configured issuer, with a final slash", {}, { issuer: `${c}/` }, c],
    ["the configured issuer wins over the app's choice", {}, { issuer: c, chooseAuthorizationServer: () => a }, c],
    ["a configured issuer that is not listed does not count", {}, { issuer: "https://d.example" }, a],
  ])("%s", async (_, change, options, issuer) => {
    serve({ ...all, ...change });
    expect((await run(options)).issuer).toBe(issuer);
  });

  test("one that cannot serve the caller is passed over", async () => {
    const withoutPkce = (server: AuthorizationServerMetadata) =>
      server.code_challenge_methods_supported ? [] : (["code_challenge_methods_supported"] as const);
    serve({ ...all, [wellKnown(b)]: metadata(b, { code_challenge_methods_supported: ["S256"] }) });
    expect((await run({ clock: systemClock, lacks: withoutPkce })).issuer).toBe(b);
    serve(all);
    const error = await failure(run({ clock: systemClock, lacks: withoutPkce }));
    expect(error.code).toBe("pkce_unsupported");
    for (const issuer of [a, b, c]) expect(error.message).toContain(`${wellKnown(issuer)}: no S256`);
  });

  test("they are asked two at a time, by order, the first five only, each once", async () => {
    const issuers = Array.from({ length: 9 }, (_, index) => `https://as${index}.example`);
    const listed = issuers.flatMap((issuer) => [issuer, issuer]);
    const running = new Set<string>();
    const log: string[] = [];
    let most = 0;
    const fetch: typeof globalThis.fetch = async (url) => {
      if (url === pathForm) return Response.json(resource(...listed));
      const { origin: issuer } = new URL(String(url));
      if (issuers.includes(issuer) && !log.includes(issuer)) log.push(issuer);
      running.add(issuer);
      most = Math.max(most, running.size);
      await new Promise((resolve) => setImmediate(resolve));
      running.delete(issuer);
      return new Response(null, { status: 404 });
    };
    expect((await failure(run({ http: createHttp({ fetch }) }))).code).toBe("discovery_failed");
    expect(log).toEqual(issuers.slice(0, 5));
    expect(most).toBe(2);
  });

  test("once one serves, none after it is asked", async () => {
    const [d] = ["https://d.example"];
    serve({ ...all, [pathForm]: resource(a, b, c, d), [wellKnown(a)]: 404 });
    expect((await run()).issuer).toBe(b);
    expect(asked.some((url) => url.startsWith(d))).toBe(false);
  });

  test("where the list holds plain http alone, the server's operator is told, not the app", async () => {
    serve({ [pathForm]: resource("http://as.example") });
    const one = await failure(run());
    expect(one).toMatchObject({ code: "insecure_url", party: "server" });
    expect(one.hint).toMatch(/^Tell the operator of the server/);
    serve({ [pathForm]: resource("http://as.example", "http://b.example") });
    const two = await failure(run());
    expect(two).toMatchObject({ code: "discovery_failed", party: "authorization-server" });
    expect(two.message).toContain('"http://as.example" is plain http; "http://b.example" is plain http');
  });

  test("a chooser sees the resource, and is not asked about a single one", async () => {
    serve({ ...all, [pathForm]: resource(a) });
    const never = () => {
      throw new Error("asked");
    };
    expect((await run({ chooseAuthorizationServer: never })).issuer).toBe(a);
    serve(all);
    const choose = vi.fn(() => a);
    await run({ chooseAuthorizationServer: choose });
    expect(choose).toHaveBeenCalledWith([a, b, c], expect.objectContaining({ resource: "https://mcp.example/mcp" }));
  });

  test("a choice that the resource does not name is refused", async () => {
    serve({ ...all, [wellKnown("https://evil.example")]: metadata("https://evil.example") });
    expect((await failure(run({ chooseAuthorizationServer: () => "https://evil.example" }))).code).toBe("invalid_option");
  });

  test("a chosen or configured one that fails is not replaced by another", async () => {
    serve({ ...all, [wellKnown(b)]: 404 });
    expect(await failure(run({ issuer: b }))).toMatchObject({ code: "discovery_failed", issuer: b });
    expect(await failure(run({ chooseAuthorizationServer: () => b }))).toMatchObject({ code: "discovery_failed", issuer: b });
  });

  test("where none validates, the error tells each one's reason, a mismatch first", async () => {
    serve({ ...all, [wellKnown(a)]: 404, [wellKnown(b)]: metadata(a), [wellKnown(c)]: 404 });
    const error = await failure(run());
    expect(error.code).toBe("issuer_mismatch");
    expect(reasons(error)).toEqual(["issuer_mismatch", "discovery_failed", "discovery_failed"]);
  });

  test("an unusable issuer in the list means: the next", async () => {
    serve({ ...all, [pathForm]: resource("javascript:alert(1)", "http://plain.example", b) });
    expect((await run()).issuer).toBe(b);
  });

  test("the others' requests are aborted when the choice is made", async () => {
    const aborted: string[] = [];
    const fetch: typeof globalThis.fetch = async (url, init) => {
      const answers: Record<string, object> = { [pathForm]: resource(a, b), [wellKnown(a)]: metadata(a) };
      const answer = answers[String(url)];
      if (answer) return Response.json(answer);
      return new Promise((_, reject) => {
        init?.signal?.addEventListener("abort", () => {
          aborted.push(String(url));
          reject(init.signal?.reason);
        });
      });
    };
    expect((await run({ http: createHttp({ fetch }) })).issuer).toBe(a);
    expect(aborted).toContain(wellKnown(b));
  });

  test("the first hangs: the second is used after 2 s, and not cached", async () => {
    serve({ ...all, [wellKnown(a)]: never });
    const clock = new ManualClock();
    const running = run({ clock });
    expect(await clock.next()).toBe(2000);
    const found = await running;
    expect(found.issuer).toBe(b);
    expect(found.validUntil).toBe(found.fetchedAt);
  });
});

describe("a server that the app describes", () => {
  const issuer = "https://as.example";
  const metadataUrl = "https://as.example/elsewhere.json";
  const endpoints = { issuer, authorizationEndpoint: `${issuer}/a`, tokenEndpoint: `${issuer}/t` };

  test("endpoints: nothing is asked, nothing is kept, S256 is sent", async () => {
    const found = await run(endpoints);
    expect(found).toMatchObject({
      resource: "https://mcp.example/mcp",
      issuer,
      server: { issuer, authorization_endpoint: `${issuer}/a`, token_endpoint: `${issuer}/t`, code_challenge_methods_supported: ["S256"] },
    });
    expect(found.validUntil).toBe(found.fetchedAt);
    expect(asked).toEqual([]);
  });

  test.each<[rule: string, configured: string | undefined, answer: Answer, outcome: string, party: string]>([
    ["its own word counts", undefined, metadata(issuer), issuer, ""],
    ["with `issuer`, which it confirms", issuer, metadata(issuer), issuer, ""],
    ["with `issuer`, which it contradicts", issuer, metadata("https://b.example"), "issuer_mismatch", "authorization-server"],
    ["without issuer", undefined, { ...metadata(issuer), issuer: undefined }, "discovery_failed", "app"],
    ["nothing there", undefined, 404, "discovery_failed", "app"],
    ["no token endpoint", undefined, metadata(issuer, { token_endpoint: "" }), "discovery_failed", "authorization-server"],
    ["failing", undefined, 503, "server_error", "server"],
  ])("`metadataUrl`: %s", async (_, configured, answer, outcome, party) => {
    serve({ [pathForm]: resource("https://listed.example"), [metadataUrl]: answer });
    const found = await run({ metadataUrl, issuer: configured }).catch((error: unknown) => error);
    if (outcome === issuer) expect(found).toMatchObject({ issuer, resource: "https://mcp.example/mcp", legacy: false });
    else expect(found).toMatchObject({ code: outcome, party });
    expect(asked.filter((url) => !url.startsWith("https://mcp.example/"))).toContain(metadataUrl);
    expect(new Set(asked.filter((url) => !url.startsWith("https://mcp.example/"))).size).toBe(1);
  });

  test("an `issuer` without metadata: the hint names the options that help", async () => {
    const { hint } = await failure(run({ issuer }));
    for (const name of ["`tokenEndpoint`", "`authorizationEndpoint`", "`metadataUrl`"]) expect(hint).toContain(name);
  });
});

describe("REQ-LEG-01, REQ-LEG-02 servers of 2025-03-26", () => {
  test("metadata at the origin", async () => {
    serve({ [origin]: metadata("https://mcp.example") });
    expect(await run()).toMatchObject({
      legacy: true,
      issuer: "https://mcp.example",
      resource: "https://mcp.example/mcp",
      server: metadata("https://mcp.example"),
    });
  });

  test.each<[rule: string, answer: Answer]>([
    ["not found", 404],
    ["HTML for every path", () => new Response("<!doctype html>", { headers: { "content-type": "text/html" } })],
    ["JSON that is no metadata", { error: "not found" }],
  ])("default endpoints: %s", async (_, answer) => {
    serve({ [origin]: answer });
    expect(await run()).toMatchObject({
      legacy: true,
      issuer: "https://mcp.example",
      server: {
        issuer: "https://mcp.example",
        authorization_endpoint: "https://mcp.example/authorize",
        token_endpoint: "https://mcp.example/token",
        registration_endpoint: "https://mcp.example/register",
        code_challenge_methods_supported: ["S256"],
      },
    });
  });

  test.each<[rule: string, answers: Record<string, Answer>, issuer: string, token: string]>([
    ["below its path", { [below]: metadata("https://mcp.example/mcp") }, "https://mcp.example/mcp", "https://mcp.example/mcp/token"],
    [
      "at the path's OpenID form",
      { [appended]: metadata("https://mcp.example/mcp") },
      "https://mcp.example/mcp",
      "https://mcp.example/mcp/token",
    ],
    [
      "below its path before the origin",
      { [below]: metadata("https://mcp.example/mcp"), [origin]: metadata("https://mcp.example") },
      "https://mcp.example/mcp",
      "https://mcp.example/mcp/token",
    ],
    [
      "for the path, about the whole host",
      { [below]: metadata("https://mcp.example", { token_endpoint: "https://mcp.example/t" }) },
      "https://mcp.example",
      "https://mcp.example/t",
    ],
    [
      "one that cannot be used below the path, a whole one at the origin",
      { [below]: metadata("https://mcp.example/mcp", { token_endpoint: "" }), [origin]: metadata("https://mcp.example") },
      "https://mcp.example",
      "https://mcp.example/token",
    ],
    ["a pointer below the path", { [below]: metadata(a), [wellKnown(a)]: metadata(a) }, a, `${a}/token`],
    ["below the path whatever fails", { [below]: 500, [appended]: "unreachable" }, "https://mcp.example", "https://mcp.example/token"],
  ])("metadata %s", async (_, answers, issuer, token) => {
    serve(answers);
    expect(await run({ clock: systemClock })).toMatchObject({ legacy: true, issuer, server: { token_endpoint: token } });
  });

  test("what stands below the path, which may be one customer's, does not speak for the whole host", async () => {
    serve({ [appended]: metadata("https://mcp.example", { token_endpoint: "https://mcp.example/mcp/token" }) });
    expect((await failure(run())).code).toBe("discovery_failed");
  });

  test.each<[rule: string, server: URL, answers: Record<string, Answer>, outcome: string]>([
    ["counts, where it is the same provider's", salesforce, {}, "issuer-published-elsewhere"],
    ["does not count where the issuer publishes something else", salesforce, { [testSalesforce]: metadata(a) }, "issuer_mismatch"],
    ["does not count anywhere else", new URL("https://mcp.example/mcp"), {}, "discovery_failed"],
  ])("a document about an issuer that publishes none %s", async (_, server, answers, outcome) => {
    const place = `${server.origin}/.well-known/oauth-authorization-server${server.pathname}`;
    serve({ [place]: metadata("https://test.salesforce.com"), ...answers });
    const running = run({}, server);
    const found = await running.then(
      () => running.events.flatMap((event) => (event.type === "discovery.concession" ? event.concession : [])).join(),
      ({ code }) => code,
    );
    expect(found).toBe(outcome);
  });

  test("REQ-LEG-03 the protocol version goes along", async () => {
    let version: string | null = null;
    serve({
      [origin]: (request) => {
        version = request.headers.get("mcp-protocol-version");
        return Response.json(metadata("https://mcp.example"));
      },
    });
    await run();
    expect(version).toBe("2026-07-28");
  });

  test("origin metadata names another issuer: that issuer's own metadata decides (atlassian-mcp-server #148)", async () => {
    serve({
      [origin]: metadata("https://cf.mcp.example", { token_endpoint: "https://evil.example/token" }),
      [wellKnown("https://cf.mcp.example")]: metadata("https://cf.mcp.example"),
    });
    const running = run();
    expect(await running).toMatchObject({
      legacy: true,
      issuer: "https://cf.mcp.example",
      server: { token_endpoint: "https://cf.mcp.example/token" },
    });
    expect(running.events).toContainEqual({
      type: "discovery.concession",
      concession: "issuer-pointer",
      issuer: "https://cf.mcp.example",
      detail: "https://mcp.example",
    });
  });

  test.each<[rule: string, answers: Record<string, Answer>, code: string]>([
    [
      "a pointer to an issuer that names a third one",
      { [origin]: metadata(a), [wellKnown(a)]: metadata(b), [wellKnown(b)]: metadata(b) },
      "issuer_mismatch",
    ],
    ["a pointer to nothing", { [origin]: metadata(a) }, "discovery_failed"],
    ["a pointer to plain http", { [origin]: metadata("http://a.example") }, "insecure_url"],
    ["a pointer to a script", { [origin]: metadata("javascript:alert(1)") }, "invalid_url"],
    [
      "endpoints over plain http",
      { [origin]: metadata("https://mcp.example", { token_endpoint: "http://mcp.example/token" }) },
      "discovery_failed",
    ],
    ["no token endpoint", { [origin]: metadata("https://mcp.example", { token_endpoint: undefined }) }, "discovery_failed"],
    ["an issuer of a wrong type", { [origin]: { ...metadata(""), issuer: 1 } }, "discovery_failed"],
    ["a failing origin", { [origin]: 500 }, "server_error"],
    ["an origin that cannot be reached", { [origin]: "unreachable" }, "network_error"],
    ["a redirect to another origin", { [origin]: () => Response.redirect("https://evil.example/") }, "redirect_refused"],
  ])("no default endpoints in place of an error: %s", async (_, answers, code) => {
    serve(answers);
    expect((await failure(run())).code).toBe(code);
  });

  test("the origin's issuer with a final slash is accepted with a warning; where strict, it is a pointer like any other", async () => {
    serve({ [origin]: metadata("https://mcp.example/") });
    const running = run();
    expect((await running).issuer).toBe("https://mcp.example/");
    expect(running.events).toContainEqual(expect.objectContaining({ concession: "issuer-final-slash" }));
    const strict = run({ strictIssuer: true });
    expect((await strict).issuer).toBe("https://mcp.example/");
    expect(strict.events).toContainEqual(expect.objectContaining({ concession: "issuer-pointer" }));
  });

  test.each<Answer>([503, "unreachable"])("resource metadata that fails (%s) never leads here", async (answer) => {
    serve({ [pathForm]: answer, [origin]: metadata("https://mcp.example") });
    await failure(run());
    expect(asked).not.toContain(origin);
  });

  test("REQ-DISC-06 a configured issuer is used as it is", async () => {
    serve({ [origin]: metadata("https://mcp.example"), [wellKnown(a)]: metadata(a) });
    expect(await run({ issuer: a })).toMatchObject({ legacy: true, issuer: a });
    expect(asked).not.toContain(origin);
  });

  test.each([
    ["https://mcp.example", "https://mcp.example"],
    ["https://mcp.example/", "https://mcp.example"],
    ["https://mcp.example/mcp?tenant=1#x", "https://mcp.example/mcp"],
    ["https://mcp.example/mcp/", "https://mcp.example/mcp/"],
  ])("REQ-AUTHZ-02 the resource of %s is %s", async (url, expected) => {
    expect((await run({}, new URL(url))).resource).toBe(expected);
  });
});

describe("how long it is valid", () => {
  const cached = (control?: string) => (body: object) => () =>
    Response.json(body, control ? { headers: { "cache-control": control } } : {});
  const minute = 60_000;
  test.each<[ofResource: string | undefined, ofServer: string | undefined, minutes: number]>([
    [undefined, undefined, 24 * 60],
    ["max-age=3600", undefined, 24 * 60],
    [undefined, "public, max-age=3600", 60],
    ["max-age=7200", "max-age=3600", 60],
    [undefined, "max-age=1", 5],
    ["no-store", "max-age=3600", 60],
    [undefined, "no-cache", 5],
    [undefined, "max-age=31536000", 7 * 24 * 60],
    ["max-age=soon", undefined, 24 * 60],
  ])("resource %s, server %s: %i minutes", async (ofResource, ofServer, minutes) => {
    serve({ [pathForm]: cached(ofResource)(resource(a)), [wellKnown(a)]: cached(ofServer)(metadata(a)) });
    const { fetchedAt, validUntil } = await run();
    expect(validUntil - fetchedAt).toBe(minutes * minute);
  });

  test("a resource found below one that fails for the moment is not kept", async () => {
    serve({ [pathForm]: 503, [rootForm]: { ...resource(a), resource: "https://mcp.example" }, [wellKnown(a)]: metadata(a) });
    const found = await run();
    expect(found.validUntil).toBe(found.fetchedAt);
  });
});

describe("records", () => {
  const discovery: Discovery = {
    serverUrl: "https://mcp.example/mcp",
    resource: "https://mcp.example/mcp",
    issuer: a,
    server: metadata(a),
    scopesSupported: ["x"],
    legacy: false,
    fetchedAt: 1000,
    validUntil: 2000,
  };
  const name = discovery.serverUrl;
  const key = `servers/${name}`;

  test("what is written is read, under the server's name", async () => {
    const store = new MemoryStore();
    await writeDiscovery(store, name, discovery);
    expect(await store.keys("")).toEqual([key]);
    expect(await readDiscovery(store, name)).toEqual(discovery);
    expect(await readDiscovery(store, "https://mcp.example/mcp2")).toBeUndefined();
  });

  test("REQ-ASM-05 what must not be kept is not", async () => {
    const store = new MemoryStore();
    await writeDiscovery(store, name, { ...discovery, validUntil: discovery.fetchedAt });
    expect(await store.keys("")).toEqual([]);
  });

  test.each<[rule: string, record: Record<string, unknown>]>([
    ["newer", { v: 2 }],
    ["older than any", { v: 0 }],
    ["no server", { v: 1, server: undefined }],
    ["null as server", { v: 1, server: null }],
    ["server without token endpoint", { v: 1, server: { issuer: a } }],
    ["server of another issuer", { v: 1, server: metadata(b) }],
    ["no resource", { v: 1, resource: undefined }],
    ["no times", { v: 1, validUntil: "soon" }],
  ])("a record that cannot be understood is none: %s", async (_, change) => {
    const store = new MemoryStore();
    await store.set(key, { v: 0, ...discovery, ...change });
    expect(await readDiscovery(store, discovery.serverUrl)).toBeUndefined();
  });

  test("a store that fails is not silenced", async () => {
    const store = new MemoryStore();
    store.get = () => Promise.reject(new Error("disk"));
    await expect(readDiscovery(store, discovery.serverUrl)).rejects.toThrow("disk");
  });
});
