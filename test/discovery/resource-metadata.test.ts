import { describe, expect, test } from "vitest";
import { systemClock } from "../../src/clock.ts";
import type { Challenge } from "../../src/discovery/challenge.ts";
import { discoverProtectedResource, findProtectedResource, type ResourceSearch, speculate } from "../../src/discovery/resource-metadata.ts";
import { createHttp } from "../../src/http/http.ts";
import { type Answer, eagerClock, failure, ManualClock, never, recorded, world } from "./support.ts";

const { asked, serve } = world();
const http = createHttp();

const server = "https://mcp.example/v1/mcp";
const pathForm = "https://mcp.example/.well-known/oauth-protected-resource/v1/mcp";
const rootForm = "https://mcp.example/.well-known/oauth-protected-resource";
const sound = { resource: server, authorization_servers: ["https://as.example"] };

const naming = (resourceMetadata: string): Challenge => ({ status: 401, challenges: [], resourceMetadata });
const find = (url: string, challenge?: Challenge) => discoverProtectedResource(url, { http, clock: eagerClock(), challenge });

describe("REQ-DISC-02 where the document is looked for", () => {
  test("the path form wins over the root form, and both are asked at once", async () => {
    const order: string[] = [];
    const both = Promise.withResolvers<void>();
    const answer = (body: object) => async (request: Request) => {
      order.push(request.url);
      if (order.length === 2) both.resolve();
      await both.promise;
      return Response.json(body);
    };
    serve({ [pathForm]: answer(sound), [rootForm]: answer({ ...sound, authorization_servers: ["https://other.example"] }) });
    expect(await find(server)).toMatchObject({ authorizationServers: ["https://as.example"], metadataUrl: pathForm });
    expect(order.sort()).toEqual([rootForm, pathForm]);
  });

  test.each([
    ["https://mcp.example", [rootForm]],
    ["https://mcp.example/", [rootForm]],
    ["https://mcp.example/v1/mcp?tenant=1#part", [pathForm, rootForm]],
    ["https://mcp.example/v1/mcp/", [`${pathForm}/`, pathForm, rootForm]],
  ])("%s", async (url, places) => {
    expect(await find(url)).toBeUndefined();
    expect(new Set(asked)).toEqual(new Set(places));
  });

  test("the URL that the challenge names is the only one asked where it has a document, also on another host", async () => {
    serve({ "https://meta.example/prm?x=1": sound, [pathForm]: { ...sound, authorization_servers: ["https://other.example"] } });
    const found = await find(server, naming("https://meta.example/prm?x=1"));
    expect(found).toMatchObject({ authorizationServers: ["https://as.example"], metadataUrl: "https://meta.example/prm?x=1" });
    expect(asked).toEqual(["https://meta.example/prm?x=1"]);
  });

  test("the protocol version goes along; where a browser's CORS policy refuses it, it is left out", async () => {
    const versions: (string | null)[] = [];
    serve({
      [rootForm]: (request) => {
        versions.push(request.headers.get("mcp-protocol-version"));
        return versions.at(-1) ? Response.error() : Response.json({ ...sound, resource: "https://mcp.example" });
      },
    });
    expect(await find("https://mcp.example")).toBeDefined();
    expect(versions).toEqual([expect.any(String), null]);
  });
});

describe("a challenge whose URL leads to no valid document", () => {
  const named = "https://meta.example/prm";
  const html = () => new Response("<!doctype html>", { headers: { "content-type": "text/html" } });

  /** [what is wrong, the URL, what it answers, its flaw in the message, what the hint says it must be] */
  const flaws: [rule: string, url: string, answer: Answer, flaw: string, must: string][] = [
    ["nothing there", named, 404, "names https://meta.example/prm (", "a valid document"],
    ["itself protected", named, 401, "names https://meta.example/prm (", "a valid document"],
    ["HTML", named, html, "names https://meta.example/prm (", "a valid document"],
    ["JSON that is cut off", named, () => new Response("{"), "names https://meta.example/prm (", "a valid document"],
    ["JSON of something else", named, { status: "ok" }, "names https://meta.example/prm (", "a valid document"],
    ["no authorization server", named, { resource: server }, "names https://meta.example/prm (", "a valid document"],
    ["too large", named, () => new Response("x".repeat(1_100_000)), "names https://meta.example/prm (", "a valid document"],
    ["redirected elsewhere", named, () => Response.redirect("https://evil.example/"), "https://meta.example/prm (", "a valid document"],
    ["plain http", "http://meta.example/prm", sound, "names http://meta.example/prm, plain http", "allowInsecure"],
    ["relative", "/.well-known/prm", sound, "names /.well-known/prm, which is relative", "an absolute URL"],
    ["relative, without slash", "prm", sound, "names prm, which is relative", "an absolute URL"],
    ["a script", "javascript:alert(1)", sound, "names javascript:alert(1) (", "an https URL"],
    ["with a user name", "https://me:s3cret@meta.example/prm", sound, "names https://meta.example/prm (", "without user name"],
    ["with a secret in its query", `${named}?key=s3cret`, 404, "names https://meta.example/prm (", "a valid document"],
    ["with control characters", "pr\u001b[31mm", 404, "names pr\\u001b[31mm", "an absolute URL"],
  ];

  test.each(flaws)("%s: the well-known places count, and an event says so", async (_, url, answer) => {
    serve({ [url]: answer, [rootForm]: { ...sound, resource: "https://mcp.example" } });
    const { events, emit } = recorded();
    const found = await discoverProtectedResource(server, { http, clock: eagerClock(), challenge: naming(url), onEvent: emit });
    expect(found).toMatchObject({ metadataUrl: rootForm, authorizationServers: ["https://as.example"] });
    expect(events).toEqual([expect.objectContaining({ type: "discovery.concession", concession: "resource-metadata-url" })]);
    expect(JSON.stringify(events)).not.toContain("s3cret");
  });

  test.each(flaws)("%s, and nothing at the well-known places: it says which URL, and what to tell the operator", async (...flaw) => {
    const [, url, answer, message, must] = flaw;
    serve({ [url]: answer });
    const error = await failure(find(server, naming(url)));
    expect(error).toMatchObject({ code: "invalid_resource_metadata", party: "server", serverUrl: server });
    expect(error.message).toContain(message);
    expect(error.hint).toMatch(/^Tell the operator of the server/);
    expect(error.hint).toContain(must);
    for (const unwanted of ["s3cret", "\u001b"]) expect(`${error.message}${error.hint}`).not.toContain(unwanted);
  });

  test.each<[answer: Answer, code: string]>([
    [503, "server_error"],
    [429, "rate_limited"],
    ["unreachable", "network_error"],
  ])("%s for the moment: the well-known places are asked; with nothing there, that is the error", async (answer, code) => {
    serve({ [named]: answer });
    expect(await failure(find(server, naming(named)))).toMatchObject({ code, transient: true });
    serve({ [pathForm]: sound });
    expect(await find(server, naming(named))).toMatchObject({ metadataUrl: pathForm });
  });

  test("a well-known place that fails for the moment is the error, whatever was wrong with the URL", async () => {
    serve({ [named]: 404, [pathForm]: 503 });
    expect((await failure(find(server, naming(named)))).code).toBe("server_error");
  });

  test("another server's document at the URL ends the search: no other place is asked", async () => {
    serve({ [named]: { ...sound, resource: "https://evil.example" }, [pathForm]: sound });
    expect((await failure(find(server, naming(named)))).code).toBe("resource_mismatch");
    expect(asked).toEqual([named]);
  });

  test("a URL that is a well-known place is not asked twice", async () => {
    serve({ [rootForm]: { ...sound, resource: "https://mcp.example" } });
    expect(await find(server, naming(`${pathForm}`))).toMatchObject({ metadataUrl: rootForm });
    expect(asked).toEqual([pathForm, rootForm]);
  });

  test("what has been fetched beside the first request is used: nothing is asked twice", async () => {
    serve({ [named]: 404, [pathForm]: sound });
    const speculation = speculate(new URL(server), { http, clock: systemClock });
    await Promise.allSettled(speculation.values());
    asked.length = 0;
    expect(await findProtectedResource(server, { http, clock: eagerClock(), challenge: naming(named), speculation })).toMatchObject({
      value: { metadataUrl: pathForm },
    });
    expect(asked).toEqual([named]);
  });

  test("an abort while the URL hangs asks no other place", async () => {
    serve({ [named]: never, [pathForm]: sound });
    const controller = new AbortController();
    const found = discoverProtectedResource(server, { http, clock: eagerClock(), challenge: naming(named), signal: controller.signal });
    await expect.poll(() => asked.length).toBe(1);
    controller.abort("enough");
    await expect(found).rejects.toBe("enough");
    expect(asked).toEqual([named]);
  });
});

describe("REQ-DISC-04 whose document it is", () => {
  test.each<[server: string, resource: unknown, accepted: boolean]>([
    ["https://h.example/mcp", "https://h.example/mcp", true],
    ["https://h.example/mcp", "https://h.example/mcp/", true],
    ["https://h.example/mcp/", "https://h.example/mcp", true],
    ["https://h.example/mcp", "https://h.example", true],
    ["https://h.example/mcp", "https://h.example/", true],
    ["https://h.example/a/b/mcp", "https://h.example/a", true],
    ["https://h.example/mcp?tenant=1", "https://h.example/mcp", true],
    ["https://h.example/mcp?tenant=1", "https://h.example/mcp?tenant=1", true],
    ["https://h.example:443/mcp", "https://H.example/mcp", true],
    ["https://h.example/mcp", "https://h.example/mcp?tenant=1", false],
    ["https://h.example/mcp2", "https://h.example/mcp", false],
    ["https://h.example/mcp", "https://h.example/mcp/deeper", false],
    ["https://h.example/mcp", "https://h.example/other", false],
    ["https://h.example/mcp", "https://h.example/MCP", false],
    ["https://h.example/mcp", "https://h.example/other/../mcp", true],
    ["https://h.example/a/mcp", "https://h.example/a/..%2fa", false],
    ["https://h.example/arn%3Aaws%3aruntime/mcp", "https://h.example/arn%3aaws%3Aruntime/mcp", true],
    ["https://h.example/arn%3Aaws/mcp", "https://h.example/arn:aws/mcp", false],
    ["https://h.example/mcp", "https://evil.example/mcp", false],
    ["https://h.example/mcp", "https://h.example.evil.example/mcp", false],
    ["https://h.example/mcp", "https://sub.h.example/mcp", false],
    ["https://h.example/mcp", "https://h.example:8443/mcp", false],
    ["https://h.example/mcp", "http://h.example/mcp", false],
    ["https://h.example/mcp", "https://user@h.example/mcp", false],
    ["https://h.example/mcp", "https://h.example/mcp#part", false],
    ["https://h.example/mcp", "urn:h:mcp", false],
    ["https://h.example/mcp", "", false],
  ])("%s, resource %s: accepted %s", async (url, resource, accepted) => {
    serve({ "https://h.example/.well-known/oauth-protected-resource": { ...sound, resource } });
    if (accepted) expect((await find(url))?.resource).toBe(resource);
    else expect(await failure(find(url))).toMatchObject({ code: "resource_mismatch" });
  });

  test("a handler that ignores the path answers for another server: the root form is used", async () => {
    serve({ [pathForm]: { ...sound, resource: "https://mcp.example/v2" }, [rootForm]: { ...sound, resource: "https://mcp.example" } });
    expect(await find(server)).toMatchObject({ resource: "https://mcp.example", metadataUrl: rootForm });
  });

  test("the error names the mismatch where none is valid, without control characters or the server's query", async () => {
    serve({ [pathForm]: 404, [rootForm]: { ...sound, resource: "https://evil.example/\u001b[31m" } });
    const error = await failure(find(`${server}?key=s3cret`));
    expect(error).toMatchObject({ code: "resource_mismatch", serverUrl: server });
    expect(error.message).toContain("https://evil.example/");
    expect(error.message).not.toContain("\u001b");
    expect(error.message).not.toContain("s3cret");
  });
});

describe("REQ-DISC-03, REQ-DISC-06 what counts as a document", () => {
  test.each<[rule: string, answer: Answer]>([
    ["not found", 404],
    ["forbidden", 403],
    ["unauthorized", 401],
    ["gone", 410],
    ["an app's HTML page for every path", () => new Response("<!doctype html>", { headers: { "content-type": "text/html" } })],
    ["truncated JSON", () => new Response('{"resource":"https://mcp', { headers: { "content-type": "application/json" } })],
    ["empty body", () => new Response("")],
    ["JSON that is no object", () => Response.json([sound])],
    ["null", () => Response.json(null)],
    ["a number as resource", { ...sound, resource: 1 }],
    ["several resources", { ...sound, resource: [server, server] }],
    ["no resource", { authorization_servers: ["https://as.example"] }],
    ["no authorization servers", { resource: server }],
    ["empty list of authorization servers", { ...sound, authorization_servers: [] }],
    ["a string as list", { ...sound, authorization_servers: "https://as.example" }],
    ["a login page by redirect", () => Response.redirect("https://sso.example/login")],
    ["a huge body", () => new Response("x".repeat(1_100_000))],
  ])("none: %s", async (_, answer) => {
    serve({ [pathForm]: answer, [rootForm]: answer });
    expect(await find(server)).toBeUndefined();
  });

  test("JSON of a wrong content type, and members of wrong types, are read", async () => {
    const body = JSON.stringify({ ...sound, authorization_servers: [1, "https://as.example", null], scopes_supported: "a b", more: {} });
    serve({ [pathForm]: () => new Response(body, { headers: { "content-type": "text/plain" } }) });
    expect(await find(server)).toEqual({
      resource: server,
      authorizationServers: ["https://as.example"],
      scopesSupported: undefined,
      metadataUrl: pathForm,
    });
  });

  test("scopes are handed on", async () => {
    serve({ [pathForm]: { ...sound, scopes_supported: ["mcp:read", "mcp:write"] } });
    expect((await find(server))?.scopesSupported).toEqual(["mcp:read", "mcp:write"]);
  });
});

describe("a server that fails for the moment", () => {
  test.each<[rule: string, answers: Answer[], waits: number[]]>([
    ["5xx once", [503, sound], [250]],
    ["5xx twice", [500, 502, sound], [250, 1000]],
    ["429 with Retry-After", [() => new Response(null, { status: 429, headers: { "retry-after": "1" } }), sound], [1000]],
    [
      "429 with a long Retry-After is not waited for so long",
      [() => new Response(null, { status: 429, headers: { "retry-after": "600" } }), sound],
      [2000],
    ],
    ["network failure", ["unreachable", sound], []],
    ["network failure twice", ["unreachable", "unreachable", sound], [1000]],
  ])("%s, then success", async (_, answers, waits) => {
    serve({ "https://meta.example/": answers });
    const clock = eagerClock();
    expect(await discoverProtectedResource(server, { http, clock, challenge: naming("https://meta.example/") })).toMatchObject({
      resource: server,
    });
    expect(clock.slept).toEqual(waits);
  });

  test.each<[answer: Answer, code: string]>([
    [503, "server_error"],
    [429, "rate_limited"],
    ["unreachable", "network_error"],
  ])("%s that lasts is an error, never a server of 2025-03-26", async (answer, code) => {
    for (const answers of [
      { [pathForm]: answer, [rootForm]: 404 },
      { [pathForm]: 404, [rootForm]: answer },
    ]) {
      asked.length = 0;
      serve(answers);
      const error = await failure(find(server));
      expect(error.code).toBe(code);
      expect(error.transient).toBe(true);
      expect(asked).toHaveLength(4); // three tries, and the 404
    }
  });

  test("a hanging path form is waited for 2 s, then the root form is used and not cached", async () => {
    const clock = new ManualClock();
    serve({ [pathForm]: never, [rootForm]: { ...sound, resource: "https://mcp.example" } });
    const found = findProtectedResource(server, { http, clock });
    expect(await clock.next()).toBe(2000);
    expect(await found).toMatchObject({ cacheable: false, value: { metadataUrl: rootForm } });
    expect(clock.sleepers).toEqual([]);
  });

  test("a path form that hangs without anything valid beside it is a timeout, asked once", async () => {
    serve({ [pathForm]: never });
    const bounded = createHttp({ requestTimeout: 50 });
    expect(await failure(discoverProtectedResource(server, { http: bounded, clock: eagerClock() }))).toMatchObject({ code: "timeout" });
    expect(asked.filter((url) => url === pathForm)).toHaveLength(1);
  });

  test.each(["while a request hangs", "while a repeat is waited for"])("an abort %s ends it with its reason", async (when) => {
    const clock = new ManualClock();
    const controller = new AbortController();
    serve({ [pathForm]: when === "while a request hangs" ? never : 503, [rootForm]: 404 });
    const found = discoverProtectedResource(server, { http, clock, signal: controller.signal });
    const reason = new Error("enough");
    if (when === "while a request hangs") await new Promise((resolve) => setImmediate(resolve));
    else await expect.poll(() => clock.sleepers.length).toBe(1);
    controller.abort(reason);
    await expect(found).rejects.toBe(reason);
    expect(clock.sleepers).toEqual([]);
  });
});

describe("speculation", () => {
  const search = async (more: Partial<ResourceSearch>) =>
    (await findProtectedResource(server, { http, clock: eagerClock(), ...more }))?.value;

  test("starts the well-known requests and nothing else; they are used, not repeated", async () => {
    serve({ [pathForm]: { ...sound, authorization_servers: ["https://as.example"] } });
    const speculation = speculate(new URL(server), { http, clock: systemClock });
    await expect.poll(() => asked.length).toBe(2);
    expect(await search({ speculation })).toMatchObject({ resource: server });
    expect(asked.sort()).toEqual([rootForm, pathForm].sort());
  });

  test("a challenge that names one of the guessed URLs uses that answer alone", async () => {
    serve({ [pathForm]: 503, [rootForm]: { ...sound, resource: "https://mcp.example" } });
    const speculation = speculate(new URL(server), { http, clock: systemClock });
    const clock = eagerClock();
    const found = await search({ clock, speculation, challenge: naming(rootForm) });
    expect(found).toMatchObject({ metadataUrl: rootForm });
    expect(asked).toHaveLength(2);
    expect(clock.slept).toEqual([]);
  });

  test("a challenge that names another URL is followed", async () => {
    serve({ [pathForm]: sound, "https://meta.example/": { ...sound, authorization_servers: ["https://named.example"] } });
    const speculation = speculate(new URL(server), { http, clock: systemClock });
    const found = await search({ speculation, challenge: naming("https://meta.example/") });
    expect(found?.authorizationServers).toEqual(["https://named.example"]);
  });

  test("a failed guess is only the first try", async () => {
    serve({ [pathForm]: ["unreachable", sound] });
    const speculation = speculate(new URL(server), { http, clock: systemClock });
    expect(await search({ speculation })).toMatchObject({ metadataUrl: pathForm });
  });

  test("nobody looks at it: no unhandled rejection", async () => {
    serve({ [pathForm]: "unreachable", [rootForm]: "unreachable" });
    const speculation = speculate(new URL(server), { http, clock: systemClock });
    await Promise.allSettled(speculation.values());
    expect(asked).toHaveLength(2); // test/setup.ts fails the test if a rejection was not handled
  });

  test("an abort ends the waiting for a guess that hangs", async () => {
    serve({ [pathForm]: never });
    const controller = new AbortController();
    const speculation = speculate(new URL(server), { http: createHttp({ requestTimeout: 200 }), clock: systemClock });
    const found = search({ speculation, signal: controller.signal });
    controller.abort("enough");
    await expect(found).rejects.toBe("enough");
    await Promise.allSettled(speculation.values());
  });
});
