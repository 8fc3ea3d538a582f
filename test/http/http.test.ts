import type { IncomingMessage, ServerResponse } from "node:http";
import { afterEach, describe, expect, test, vi } from "vitest";
import type { McpAuthError } from "../../src/errors.ts";
import { faultOf } from "../../src/http/fault.ts";
import { createHttp } from "../../src/http/http.ts";
import { failure } from "../discovery/support.ts";
import { listen } from "../fixture/http-server.ts";
import { manualClock } from "../storm/support.ts";

const closing: (() => Promise<void>)[] = [];
afterEach(() => Promise.all(closing.splice(0).map((close) => close())));

/** A real server on loopback. */
async function serve(handler: (req: IncomingMessage, res: ServerResponse) => void): Promise<string> {
  const { origin, close } = await listen(handler);
  closing.push(close);
  return origin;
}

const codeOf = (url: string, allowInsecure?: string[]) => {
  try {
    return createHttp({ allowInsecure }).checkUrl(url).href;
  } catch (error) {
    return (error as McpAuthError).code;
  }
};

describe("REQ-ASM-04, REQ-SEC-02 which URLs may be used", () => {
  test.each([
    ["https://as.example/t?q=1", "https://as.example/t?q=1"],
    ["http://127.0.0.1:8080/", "http://127.0.0.1:8080/"],
    ["http://127.9.8.7/", "http://127.9.8.7/"],
    ["http://127.1/", "http://127.0.0.1/"],
    ["http://0x7f000001/", "http://127.0.0.1/"],
    ["http://localhost:1/", "http://localhost:1/"],
    ["http://LOCALHOST/", "http://localhost/"],
    ["http://app.localhost/", "http://app.localhost/"],
    ["http://[::1]:3000/", "http://[::1]:3000/"],
    ["http://[0:0:0:0:0:0:0:1]/", "http://[::1]/"],
    ["http://as.example/", "insecure_url"],
    ["http://127.0.0.1.evil.example/", "insecure_url"],
    ["http://127.evil.example/", "insecure_url"],
    ["http://localhost.evil.example/", "insecure_url"],
    ["http://notlocalhost/", "insecure_url"],
    ["http://128.0.0.1/", "insecure_url"],
    ["http://0.0.0.0/", "insecure_url"],
    ["http://[::2]/", "insecure_url"],
    ["http://[::ffff:127.0.0.1]/", "insecure_url"],
    ["https://user@as.example/", "invalid_url"],
    ["https://:secret@as.example/", "invalid_url"],
    ["javascript:alert(1)", "invalid_url"],
    ["data:application/json,{}", "invalid_url"],
    ["file:///etc/passwd", "invalid_url"],
    ["ftp://as.example/", "invalid_url"],
    ["//as.example/", "invalid_url"],
    ["", "invalid_url"],
  ])("%s: %s", (url, outcome) => expect(codeOf(url)).toBe(outcome));

  test.each([
    ["http://dev.internal:8080/x", ["dev.internal"], "http://dev.internal:8080/x"],
    ["http://dev.internal/", ["DEV.internal"], "http://dev.internal/"],
    ["http://sub.dev.internal/", ["dev.internal"], "insecure_url"],
    ["ftp://dev.internal/", ["dev.internal"], "invalid_url"],
  ])("%s with allowInsecure %s: %s", (url, allowed, outcome) => expect(codeOf(url, allowed)).toBe(outcome));

  test("a refused URL's user information and query are not in the error", async () => {
    for (const url of ["https://user:s3cret@as.example/?key=s3cret", "http://as.example/?key=s3cret", "http://s3cret:s3cret@ bad"]) {
      expect(JSON.stringify([(await failure(createHttp().fetch(url))).message])).not.toContain("s3cret");
    }
  });

  test("nothing is sent to a URL that is refused", async () => {
    const fetch = vi.fn<typeof globalThis.fetch>();
    await expect(createHttp({ fetch }).fetch("http://as.example/")).rejects.toMatchObject({ code: "insecure_url" });
    expect(fetch).not.toHaveBeenCalled();
  });
});

describe("answers", () => {
  test.each([200, 201, 204, 205, 304, 400, 401, 404, 429, 500, 503])(
    "status %i is an answer, with its headers and body",
    async (status) => {
      const origin = await serve((_, res) =>
        res.writeHead(status, { "x-a": "b" }).end(status === 204 || status === 304 ? undefined : "text"),
      );
      const response = await createHttp().fetch(`${origin}/`);
      expect(response.status).toBe(status);
      expect(response.headers.get("x-a")).toBe("b");
      expect(await response.text()).toBe([204, 205, 304].includes(status) ? "" : "text");
    },
  );

  test("method, headers and body go out as given; a 304 or 3xx without location is an answer", async () => {
    const origin = await serve(async (req, res) => {
      let body = "";
      for await (const part of req) body += part;
      res.writeHead(req.method === "POST" ? 200 : 302).end(`${req.method} ${req.headers["x-a"]} ${body}`);
    });
    const answer = await createHttp().fetch(origin, { method: "POST", headers: { "x-a": "1" }, body: "hi" });
    expect(await answer.text()).toBe("POST 1 hi");
    expect((await createHttp().fetch(origin)).status).toBe(302);
  });

  test("the global fetch is looked up at each call; an app's own is used instead", async () => {
    const http = createHttp();
    vi.stubGlobal("fetch", async () => new Response("stubbed"));
    expect(await (await http.fetch("https://a.example/")).text()).toBe("stubbed");
    const own = createHttp({ fetch: async () => new Response("own") });
    expect(await (await own.fetch("https://a.example/")).text()).toBe("own");
  });
});

describe("redirects", () => {
  const chain = (target: (origin: string, step: number) => string) =>
    serve((req, res) => {
      const step = Number(new URL(req.url ?? "", "http://x").searchParams.get("step"));
      const location = target(`http://${req.headers.host}`, step);
      if (location) res.writeHead(302, { location }).end("moved");
      else res.end(`arrived ${step} ${req.headers["x-a"] ?? ""}`);
    });

  test("three within the origin are followed by a GET, relative ones too, with the headers", async () => {
    const origin = await chain((at, step) => (step < 3 ? (step % 2 ? `${at}/?step=${step + 1}` : `/?step=${step + 1}`) : ""));
    const response = await createHttp().fetch(`${origin}/`, { headers: { "x-a": "b" } });
    expect(await response.text()).toBe("arrived 3 b");
  });

  test.each<[rule: string, target: (origin: string, step: number) => string, init: RequestInit]>([
    ["the fourth", (_, step) => `/?step=${step + 1}`, {}],
    ["to another origin", (_, step) => (step ? "" : "https://evil.example/?step=1"), {}],
    ["to another port", () => "http://127.0.0.1:1/?step=1", {}],
    ["to another scheme", (at, step) => (step ? "" : `${at.replace("http:", "https:")}/?step=1`), {}],
    ["to a script", () => "javascript:alert(1)", {}],
    ["to nonsense", () => "http://[", {}],
    ["of a POST", (_, step) => (step ? "" : "/?step=1"), { method: "POST", body: "code=secret" }],
  ])("redirect_refused: %s", async (_, target, init) => {
    const origin = await chain(target);
    const error = await failure(createHttp().fetch(`${origin}/`, init));
    expect(error).toMatchObject({ code: "redirect_refused", status: 302 });
  });

  test.each([
    // status, from, to
    [301, "/token", "/token/"],
    [302, "/token/", "/token"],
    [307, "/token", "/token/"],
    [308, "/token?a=b", "/token/?a=b"],
  ])("a %i of a POST from %s to %s is followed, with method and body", async (status, from, to) => {
    const origin = await serve(async (req, res) => {
      if (req.url === from) return void res.writeHead(status, { location: to }).end();
      const body = await new Response(req as never).text();
      res.end(`${req.method} ${req.url} ${body}`);
    });
    const response = await createHttp().fetch(origin + from, { method: "POST", body: "code=secret" });
    expect(await response.text()).toBe(`POST ${to} code=secret`);
  });

  test.each([
    [303, "/token/"],
    [301, "/"],
    [302, "/token/?a=b"],
    [307, "/moved"],
    [308, "/token/token"],
  ])("a %i of a POST to %s is refused: secrets go to the place that the metadata names", async (status, location) => {
    const origin = await serve((_, res) => res.writeHead(status, { location }).end());
    const sent = createHttp().fetch(`${origin}/token`, { method: "POST", body: "code=secret" });
    await expect(sent).rejects.toMatchObject({ code: "redirect_refused", status });
  });

  test("an https server that says http for its own host, because a proxy before it ends TLS, is asked by https", async () => {
    const asked: string[] = [];
    const fetch = async (url: string | URL | Request) => {
      asked.push(String(url));
      return asked.length === 1 ? new Response(null, { status: 308, headers: { location: "http://a.example/x/" } }) : new Response("there");
    };
    expect(await (await createHttp({ fetch }).fetch("https://a.example/x")).text()).toBe("there");
    expect(asked).toEqual(["https://a.example/x", "https://a.example/x/"]);
  });

  test.each(["http://a.example:8080/x/", "http://other.example/x/"])("… but not %s", async (location) => {
    const fetch = async () => new Response(null, { status: 308, headers: { location } });
    await expect(createHttp({ fetch }).fetch("https://a.example/x")).rejects.toMatchObject({ code: "redirect_refused" });
  });

  test("a refused redirect's connection is given up at once, not when its unread body is collected as garbage", async () => {
    let signal: AbortSignal | null | undefined;
    const fetch: typeof globalThis.fetch = async (_, init) => {
      signal = init?.signal;
      return Response.redirect("https://evil.example/");
    };
    await expect(createHttp({ fetch }).fetch("https://a.example/")).rejects.toMatchObject({ code: "redirect_refused" });
    expect(signal?.aborted).toBe(true);
  });

  test("a target with user information is refused", async () => {
    const origin = await chain((at, step) => (step ? "" : `${at.replace("//", "//user:pw@")}/?step=1`));
    await expect(createHttp().fetch(`${origin}/`)).rejects.toMatchObject({ code: "invalid_url" });
  });

  test("an opaque redirect, all that a browser shows, is refused", async () => {
    const opaque = Object.defineProperty(Response.error(), "type", { value: "opaqueredirect" });
    await expect(createHttp({ fetch: async () => opaque }).fetch("https://a.example/")).rejects.toMatchObject({ code: "redirect_refused" });
  });
});

describe("limits", () => {
  test("a body over maxBytes is refused while it arrives, and its connection closed", async () => {
    const closed = Promise.withResolvers<void>();
    const origin = await serve((_, res) => {
      const more = () => void (res.write("x".repeat(50_000)) && setImmediate(more));
      res.on("drain", more).on("close", () => closed.resolve());
      more();
    });
    const error = await failure(createHttp({ maxBytes: 200_000 }).fetch(`${origin}/big?key=s3cret`));
    expect(error).toMatchObject({ code: "response_too_large", status: 200 });
    expect(error.message).not.toContain("s3cret");
    await closed.promise;
  });

  test("a body of exactly maxBytes is taken", async () => {
    const origin = await serve((_, res) => res.end("x".repeat(1000)));
    expect(await (await createHttp({ maxBytes: 1000 }).fetch(origin)).text()).toHaveLength(1000);
    await expect(createHttp({ maxBytes: 999 }).fetch(origin)).rejects.toMatchObject({ code: "response_too_large" });
  });

  test.each<[rule: string, handler: (req: IncomingMessage, res: ServerResponse) => void]>([
    ["no answer", () => {}],
    ["headers, but no body", (_, res) => res.writeHead(200).flushHeaders()],
    ["a body that never ends", (_, res) => void res.writeHead(200).write("{")],
    ["redirects that take too long", (req, res) => (req.url === "/" ? res.writeHead(302, { location: "/2" }).end() : undefined)],
  ])("timeout: %s", async (_, handler) => {
    const closed = Promise.withResolvers<void>();
    const origin = await serve((req, res) => {
      res.on("close", () => res.writableEnded || closed.resolve());
      handler(req, res);
    });
    await expect(createHttp({ requestTimeout: 100 }).fetch(origin)).rejects.toMatchObject({ code: "timeout" });
    await closed.promise;
  });

  test.each<[rule: string, requestTimeout: number | undefined, init: RequestInit | undefined, ms: number]>([
    ["ten seconds for a request that reads", undefined, undefined, 10_000],
    ["half a minute for one that spends something", undefined, { method: "post" }, 30_000],
    ["what the app says, for either", 12_000, undefined, 12_000],
    ["… also for one that spends something", 12_000, { method: "POST" }, 12_000],
  ])("timeout: %s", async (_rule, requestTimeout, init, ms) => {
    const clock = manualClock();
    const asking = failure(createHttp({ clock, requestTimeout, fetch: () => new Promise(() => {}) }).fetch("https://a.example/", init));
    expect(clock.timers).toEqual([ms]);
    clock.advance(ms);
    expect(await asking).toMatchObject({ code: "timeout", message: expect.stringContaining(`${ms} ms`) });
  });

  test("timeout although the app's fetch ignores its signal", async () => {
    const fetch = () => new Promise<Response>(() => {});
    await expect(createHttp({ requestTimeout: 20, fetch }).fetch("https://a.example/")).rejects.toMatchObject({ code: "timeout" });
  });

  test.each(["before the request", "while it waits", "while the body arrives"])(
    "the caller's abort %s rejects with its reason",
    async (when) => {
      const reason = new Error("enough");
      const controller = new AbortController();
      if (when === "before the request") controller.abort(reason);
      const origin = await serve((_, res) => {
        if (when === "while the body arrives") res.writeHead(200).write("part");
        setImmediate(() => controller.abort(reason));
      });
      await expect(createHttp().fetch(origin, { signal: controller.signal })).rejects.toBe(reason);
    },
  );

  test("an abort after the answer changes nothing", async () => {
    const controller = new AbortController();
    const origin = await serve((_, res) => res.end("whole"));
    const response = await createHttp().fetch(origin, { signal: controller.signal });
    controller.abort();
    expect(await response.text()).toBe("whole");
  });

  test("no timer is left behind, however a request ends", async () => {
    const origin = await serve((req, res) => (req.url === "/cut" ? res.destroy() : res.end("x")));
    const set = vi.spyOn(globalThis, "setTimeout");
    const cleared = vi.spyOn(globalThis, "clearTimeout");
    const http = createHttp({ requestTimeout: 3_600_000, maxBytes: 2 });
    const ends = [`${origin}/`, `${origin}/cut`].map((url) =>
      http.fetch(url).then(
        () => "ok",
        (error: McpAuthError) => error.code,
      ),
    );
    const aborted = http.fetch(origin, { signal: AbortSignal.abort("no") }).catch((reason: unknown) => reason);
    expect(await Promise.all([...ends, aborted])).toEqual(["ok", "network_error", "no"]);
    const ours = set.mock.calls.flatMap(([, ms], index) => (ms === 1000 ? [set.mock.results[index]?.value] : []));
    expect(ours).toHaveLength(2);
    for (const timer of ours) expect(cleared).toHaveBeenCalledWith(timer);
  });
});

describe("network failures", () => {
  test("network_error says what happened, and the URL without its query", async () => {
    const { origin, close } = await listen(() => {});
    await close();
    const error = await failure(createHttp().fetch(`${origin}/path?key=s3cret`));
    expect(error.code).toBe("network_error");
    expect(error.cause).toBeInstanceOf(TypeError);
    expect(error.message).toContain(`: ${origin}/path, ECONNREFUSED.`);
    expect(error.message).not.toContain("s3cret");
  });

  test("an answer that is cut off in its body is a network failure, not a short answer", async () => {
    const origin = await serve((_, res) => {
      res.writeHead(200, { "content-length": "100" });
      res.write('{"access_token":', () => res.destroy());
    });
    await expect(createHttp().fetch(origin)).rejects.toMatchObject({ code: "network_error" });
  });
});

describe("answers that say nothing about the request", () => {
  const now = Date.parse("2026-11-20T12:00:00Z");
  test.each<[status: number, retryAfter: string | undefined, code: string | undefined, ms: number | undefined]>([
    [200, undefined, undefined, undefined],
    [400, "5", undefined, undefined],
    [429, "5", "rate_limited", 5000],
    [429, undefined, "rate_limited", undefined],
    [500, "0", "server_error", 0],
    [503, "Fri, 20 Nov 2026 12:00:30 GMT", "server_error", 30_000],
    [503, "Fri, 20 Nov 2026 11:00:00 GMT", "server_error", 0],
    [503, "soon", "server_error", undefined],
  ])("%i, Retry-After %s: %s, %s ms", (status, retryAfter, code, ms) => {
    const fault = faultOf(new Response(null, { status, headers: retryAfter ? { "retry-after": retryAfter } : {} }), {}, now);
    expect(fault?.code).toBe(code);
    expect(fault?.retryAfterMs).toBe(ms);
  });
});
