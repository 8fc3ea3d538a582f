import { describe, expect, test } from "vitest";
import { systemClock } from "../../src/clock.ts";
import type { Challenge } from "../../src/discovery/challenge.ts";
import { discoverProtectedResource, findProtectedResource, type ResourceSearch, speculate } from "../../src/discovery/resource-metadata.ts";
import { createHttp } from "../../src/http/http.ts";
import { type Answer, eagerClock, failure, ManualClock, never, world } from "./support.ts";

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

  test("the URL that the challenge names is the only one asked, also on another host", async () => {
    serve({ "https://meta.example/prm?x=1": sound, [pathForm]: { ...sound, authorization_servers: ["https://other.example"] } });
    const found = await find(server, naming("https://meta.example/prm?x=1"));
    expect(found).toMatchObject({ authorizationServers: ["https://as.example"], metadataUrl: "https://meta.example/prm?x=1" });
    expect(asked).toEqual(["https://meta.example/prm?x=1"]);
  });

  test.each<[rule: string, url: string, answer: Answer, code: string]>([
    ["nothing there", "https://meta.example/prm", 404, "invalid_resource_metadata"],
    ["no JSON", "https://meta.example/prm", () => new Response("{"), "invalid_resource_metadata"],
    ["no authorization server", "https://meta.example/prm", { resource: server }, "invalid_resource_metadata"],
    ["another resource", "https://meta.example/prm", { ...sound, resource: "https://evil.example" }, "resource_mismatch"],
    ["a failing server", "https://meta.example/prm", 503, "server_error"],
    ["plain http", "http://meta.example/prm", sound, "insecure_url"],
    ["a script", "javascript:alert(1)", sound, "invalid_url"],
    ["no URL", "prm", sound, "invalid_url"],
    ["redirected elsewhere", "https://meta.example/prm", () => Response.redirect("https://evil.example/"), "redirect_refused"],
  ])("a named URL is final: %s", async (_, url, answer, code) => {
    serve({ [url]: answer, [pathForm]: sound });
    expect((await failure(find(server, naming(url)))).code).toBe(code);
    expect(asked).not.toContain(pathForm);
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
