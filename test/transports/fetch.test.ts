/** `authFetch` sends as the caller's `fetch` would, with credentials for one origin only, and repeats what was refused. */
import { describe, expect, test } from "vitest";
import { authFetch, type Credential, McpAuthError, TokenManager } from "../../src/index.ts";
import { MachineTokenManager } from "../../src/machine/index.ts";
import { codeOf } from "../storm/support.ts";
import { type Answer, countingCredential, plainServer, status, wantsSecondToken } from "./support.ts";

const isStamped = (error: unknown) => (error as Record<symbol, unknown>)[Symbol.for("mcp.authSeamEscape")] === true;
const seconds = (headers: { authorization?: string | undefined }) => headers.authorization;

describe("where the headers go", () => {
  test("REQ-TOK-01: to the protected server, on every request, whatever the method and path", async () => {
    const server = await plainServer(status(200));
    const fetch = authFetch(countingCredential(), server.url);
    for (const method of ["GET", "POST", "DELETE"]) await fetch(`${server.origin}/other/path`, { method });
    expect(server.received.map(({ headers }) => seconds(headers))).toEqual(Array(3).fill("Bearer token-1"));
  });

  test("REQ-TOK-02: to no other origin: such a request goes out as it came", async () => {
    const server = await plainServer(status(200));
    const other = await plainServer(status(401));
    const credential = countingCredential();
    const fetch = authFetch(credential, server.url);
    const response = await fetch(other.url, { method: "POST", body: "x", headers: { "x-own": "1" } });
    expect(response.status).toBe(401);
    expect(other.received).toMatchObject([{ method: "POST", body: "x", headers: { "x-own": "1" } }]);
    expect(other.received[0]?.headers.authorization).toBeUndefined();
    expect(credential.headers).not.toHaveBeenCalled();
    expect(credential.onChallenge).not.toHaveBeenCalled();
  });

  test("the caller's own headers stay, the credential's win", async () => {
    const server = await plainServer(status(200));
    const fetch = authFetch(countingCredential(), server.url);
    await fetch(server.url, { headers: { Authorization: "Bearer theirs", "X-Own": "1" } });
    expect(server.received[0]?.headers).toMatchObject({ authorization: "Bearer token-1", "x-own": "1" });
  });

  test("the credential's own sender is used where it has one, else the option's, else the global one of the moment", async () => {
    const seen: string[] = [];
    const sender =
      (name: string): typeof globalThis.fetch =>
      async () => {
        seen.push(name);
        return new Response();
      };
    const credential = countingCredential();
    await authFetch({ ...credential, send: sender("credential") }, "https://mcp.example", { fetch: sender("option") })(
      "https://mcp.example",
    );
    await authFetch(credential, "https://mcp.example", { fetch: sender("option") })("https://mcp.example");
    const late = authFetch(credential, "https://mcp.example");
    const { fetch } = globalThis;
    globalThis.fetch = sender("global");
    await late("https://mcp.example").finally(() => {
      globalThis.fetch = fetch;
    });
    expect(seen).toEqual(["credential", "option", "global"]);
  });
});

test.each<[string, (options: { serverUrl: string; fetch: typeof globalThis.fetch }) => Credential & AsyncDisposable]>([
  ["a user's manager", (options) => new TokenManager(options)],
  ["a program's manager", (options) => new MachineTokenManager({ ...options, clientId: "c", clientSecret: "s" })],
])("%s is sent with what it was given, unless the app passes something else", async (_whose, make) => {
  const seen: string[] = [];
  const sender =
    (name: string): typeof globalThis.fetch =>
    async (input) => {
      seen.push(`${name} ${new URL(input instanceof Request ? input.url : input).pathname}`);
      return new Response("{}", { status: 404, headers: { "content-type": "application/json" } });
    };
  await using manager = make({ serverUrl: "https://mcp.example/mcp", fetch: sender("manager") });
  const headers = { headers: async () => ({}) };
  const credential = Object.assign(manager, headers);
  await authFetch(credential, "https://mcp.example/mcp")("https://mcp.example/a");
  await authFetch(credential, "https://mcp.example/mcp", { fetch: sender("option") })("https://mcp.example/b");
  expect(seen).toEqual(["manager /a", "option /b"]);
});

describe("redirects", () => {
  test.each([301, 302, 303, 307, 308])("%i to another origin is returned, not followed; nothing is sent there", async (code) => {
    const other = await plainServer(status(200));
    const server = await plainServer(status(code, "", { location: other.url }));
    const response = await authFetch(countingCredential(), server.url)(server.url, { method: "POST", body: "x" });
    expect([response.status, response.headers.get("location")]).toEqual([code, other.url]);
    expect(other.received).toEqual([]);
  });

  test("another port or scheme is another origin", async () => {
    const server = await plainServer((request, response) =>
      status(307, "", { location: request.path === "/port" ? "http://127.0.0.1:1/" : `https://${request.headers.host}/` })(
        request,
        response,
        undefined as never,
      ),
    );
    const fetch = authFetch(countingCredential(), server.url);
    expect([(await fetch(`${server.origin}/port`)).status, (await fetch(`${server.origin}/scheme`)).status]).toEqual([307, 307]);
  });

  test.each([
    // status, method sent, what arrives at the target
    [301, "POST", "GET", ""],
    [302, "POST", "GET", ""],
    [303, "POST", "GET", ""],
    [307, "POST", "POST", "body"],
    [308, "POST", "POST", "body"],
    [301, "PUT", "PUT", "body"],
    [303, "PUT", "GET", ""],
    [302, "GET", "GET", ""],
  ])("RFC 9110 §15.4: %i within the origin after %s arrives as %s, with credentials", async (code, method, arrivesAs, body) => {
    const server = await plainServer((request, response, raw) =>
      (request.path === "/mcp" ? status(code, "", { location: "/moved" }) : status(200, "there"))(request, response, raw),
    );
    const response = await authFetch(countingCredential(), server.url)(server.url, { method, body: method === "GET" ? null : "body" });
    expect([response.status, await response.text()]).toEqual([200, "there"]);
    expect(server.received[1]).toMatchObject({ path: "/moved", method: arrivesAs, body, headers: { authorization: "Bearer token-1" } });
    expect(server.received[1]?.headers["content-type"] !== undefined).toBe(body !== "");
  });

  test.each([301, 302])("a %i that only adds the final slash leaves a POST as it is", async (code) => {
    const server = await plainServer((request, response, raw) =>
      (request.path === "/mcp" ? status(code, "", { location: "/mcp/" }) : status(200, "there"))(request, response, raw),
    );
    const response = await authFetch(countingCredential(), server.url)(server.url, { method: "POST", body: "body" });
    expect([response.status, await response.text()]).toEqual([200, "there"]);
    expect(server.received[1]).toMatchObject({ path: "/mcp/", method: "POST", body: "body" });
  });

  test("a refusal at the target of a redirect is answered from the start, with new credentials", async () => {
    const server = await plainServer((request, response, raw) =>
      (request.path === "/mcp" ? status(307, "", { location: "/moved" }) : wantsSecondToken)(request, response, raw),
    );
    const response = await authFetch(countingCredential(), server.url)(server.url, { method: "POST", body: "text" });
    expect([response.status, await response.text()]).toEqual([200, "text"]);
    expect(server.received.map(({ path, headers }) => [path, headers.authorization])).toEqual([
      ["/mcp", "Bearer token-1"],
      ["/moved", "Bearer token-1"],
      ["/mcp", "Bearer token-2"],
      ["/moved", "Bearer token-2"],
    ]);
  });

  test("a loop ends: the redirect is the answer", async () => {
    const server = await plainServer(status(302, "", { location: "/mcp" }));
    const response = await authFetch(countingCredential(), server.url)(server.url);
    expect(response.status).toBe(302);
    expect(server.received.length).toBeLessThan(10);
  });

  test("`redirect: manual` returns it, `redirect: error` fails, as `fetch` does", async () => {
    const server = await plainServer(status(302, "", { location: "/moved" }));
    const fetch = authFetch(countingCredential(), server.url);
    expect((await fetch(server.url, { redirect: "manual" })).status).toBe(302);
    expect((await fetch(new Request(server.url, { redirect: "manual" }))).status).toBe(302);
    await expect(fetch(server.url, { redirect: "error" })).rejects.toThrow(TypeError);
    await expect(fetch(new Request(server.url, { redirect: "error" }))).rejects.toThrow(TypeError);
    expect(server.received.map(({ path }) => path)).toEqual(Array(4).fill("/mcp"));
  });

  test("a Request object's 307 is followed within the origin; what would turn it into a GET is returned", async () => {
    const server = await plainServer((request, response, raw) =>
      (request.path === "/moved" ? status(200, "there") : status(Number(request.path.slice(1)), "", { location: "/moved" }))(
        request,
        response,
        raw,
      ),
    );
    const fetch = authFetch(countingCredential(), server.url);
    const sent = (code: number) => fetch(new Request(`${server.origin}/${code}`, { method: "POST", body: "body" }));
    expect(await (await sent(307)).text()).toBe("there");
    expect(server.received[1]).toMatchObject({ method: "POST", body: "body", headers: { authorization: "Bearer token-1" } });
    expect((await sent(303)).status).toBe(303);
  });
});

describe("a refused request is repeated with its body", () => {
  const form = () => {
    const data = new FormData();
    data.set("field", "value");
    return data;
  };
  test.each<[string, () => BodyInit | null, string | RegExp]>([
    ["no body", () => null, ""],
    ["a string", () => "text", "text"],
    ["bytes", () => new TextEncoder().encode("bytes"), "bytes"],
    ["a part of a buffer", () => new TextEncoder().encode("xxbytes").subarray(2), "bytes"],
    ["an ArrayBuffer", () => new TextEncoder().encode("buffer").buffer as ArrayBuffer, "buffer"],
    ["URLSearchParams", () => new URLSearchParams({ a: "1" }), "a=1"],
    ["FormData", form, /name="field"\r\n\r\nvalue\r\n/],
    ["a Blob", () => new Blob(["blob"]), "blob"],
  ])("%s", async (_kind, body, expected) => {
    const server = await plainServer(wantsSecondToken);
    const init = { method: "POST", body: body() };
    for (const [input, options] of [
      [server.url, init],
      [new URL(server.url), init],
      [new Request(server.url, { ...init, body: body() }), undefined],
    ] as const) {
      server.received.length = 0;
      const fetch = authFetch(countingCredential(), server.url);
      const response = await fetch(input, options);
      expect(response.status).toBe(200);
      expect(await response.text()).toMatch(expected instanceof RegExp ? expected : new RegExp(`^${expected}$`));
      expect(server.received).toHaveLength(2);
      expect(server.received[1]?.headers["content-type"]?.replace(/boundary=.*/, "")).toBe(
        server.received[0]?.headers["content-type"]?.replace(/boundary=.*/, ""),
      );
    }
  });

  test("a Request with `init` on top: the init's method, headers and body count", async () => {
    const server = await plainServer(wantsSecondToken);
    const fetch = authFetch(countingCredential(), server.url);
    const response = await fetch(new Request(server.url, { headers: { a: "1" } }), { method: "POST", body: "late", headers: { b: "2" } });
    expect(await response.text()).toBe("late");
    expect(server.received[1]).toMatchObject({ method: "POST", headers: { b: "2", authorization: "Bearer token-2" } });
    expect(server.received[1]?.headers.a).toBeUndefined();
  });

  test("a stream cannot be sent again: `body_not_replayable`, and the new credentials serve the next request", async () => {
    const server = await plainServer(wantsSecondToken);
    const credential = countingCredential();
    const fetch = authFetch(credential, server.url);
    const stream = () =>
      new ReadableStream({
        start(controller) {
          controller.enqueue(new TextEncoder().encode("part"));
          controller.close();
        },
      });
    const init = () => ({ method: "POST", body: stream(), duplex: "half" }) as RequestInit;
    const error = await fetch(server.url, init()).catch((reason: unknown) => reason);
    expect(codeOf(error)).toBe("body_not_replayable");
    expect(isStamped(error)).toBe(true);
    expect(server.received).toHaveLength(1);
    const response = await fetch(server.url, init());
    expect([response.status, await response.text()]).toEqual([200, "part"]);
    expect(credential.onChallenge).toHaveBeenCalledTimes(1);
  });

  test("a stream that the server refuses for good: its answer, untouched", async () => {
    const server = await plainServer(status(401, "for good"));
    const fetch = authFetch(
      countingCredential(() => "give-up"),
      server.url,
    );
    const body = new Blob(["part"]).stream();
    const response = await fetch(server.url, { method: "POST", body, duplex: "half" } as RequestInit);
    expect([response.status, await response.text()]).toEqual([401, "for good"]);
  });

  test("a stream is not sent after a redirect that wants the body again: the redirect is the answer", async () => {
    const server = await plainServer(status(307, "", { location: "/moved" }));
    const body = new Blob(["part"]).stream();
    const response = await authFetch(countingCredential(), server.url)(server.url, { method: "POST", body, duplex: "half" } as RequestInit);
    expect([response.status, server.received.length]).toEqual([307, 1]);
  });
});

describe("what is a refusal", () => {
  test.each<[number, string, boolean]>([
    [401, "", true],
    [401, 'Bearer error="invalid_token"', true],
    [401, "Basic realm=x", true],
    [403, 'Bearer error="insufficient_scope", scope="a"', true],
    [403, 'Basic realm="x", bearer ERROR=insufficient_scope', true],
    [403, 'DPoP error="insufficient_scope"', true],
    [403, "", false],
    [403, 'Bearer error="invalid_token"', true],
    [400, 'Bearer realm="x", error="invalid_token"', true],
    [404, 'DPoP error="invalid_token"', true],
    [503, 'Bearer error="invalid_token"', false],
    [200, 'Bearer error="invalid_token"', false],
    [403, 'Basic error="insufficient_scope"', false],
    [400, 'Bearer error="insufficient_scope"', false],
    [200, 'Bearer error="insufficient_scope"', false],
    [500, "", false],
  ])("%i with %j: %s", async (code, header, isRefusal) => {
    const server = await plainServer(status(code, "body", header ? { "www-authenticate": header } : {}));
    const credential = countingCredential(() => "give-up");
    const response = await authFetch(credential, server.url)(server.url, { method: "POST", body: "x" });
    expect([response.status, await response.text()]).toEqual([code, "body"]);
    expect(credential.onChallenge).toHaveBeenCalledTimes(isRefusal ? 1 : 0);
    expect(credential.onResponse).toHaveBeenCalledTimes(isRefusal ? 0 : 1);
  });

  test("the credential is told which headers were refused, and for which call", async () => {
    const server = await plainServer(wantsSecondToken);
    const credential = countingCredential();
    const fetch = authFetch(credential, server.url);
    await fetch(server.url, { method: "POST", body: JSON.stringify({ method: "tools/call", params: { name: "add" } }) });
    const [challenge, used, request] = credential.onChallenge.mock.calls[0] ?? [];
    expect(challenge?.status).toBe(401);
    expect(used).toEqual({ authorization: "Bearer token-1" });
    expect(request).toMatchObject({ method: "POST", operation: "tools/call add" });
    expect(request?.url.href).toBe(server.url);
    expect(credential.onResponse.mock.calls.map(([, headers]) => headers)).toEqual([{ authorization: "Bearer token-2" }]);
  });

  test.each([
    ['{"method":"tools/list"}', "tools/list"],
    ['{"method":"prompts/get","params":{"name":"x"}}', "prompts/get x"],
    ['[{"method":"tools/list"}]', undefined],
    ["not json", undefined],
    ["null", undefined],
    ['{"method":7}', undefined],
  ])("the call of body %s is %s", async (body, operation) => {
    const server = await plainServer(wantsSecondToken);
    const credential = countingCredential();
    await authFetch(credential, server.url)(server.url, { method: "POST", body });
    expect(credential.onChallenge.mock.calls[0]?.[2].operation).toBe(operation);
  });
});

describe("an end to repeating", () => {
  test("a server that refuses everything is asked twelve times, then its answer is returned", async () => {
    const server = await plainServer(status(401, "never"));
    const credential = countingCredential();
    const response = await authFetch(credential, server.url)(server.url, { method: "POST", body: "x" });
    expect([response.status, await response.text()]).toEqual([401, "never"]);
    expect(server.received).toHaveLength(12);
    expect(new Set(server.received.map(({ headers }) => headers.authorization)).size).toBe(12);
  });

  test("`give-up` returns the server's answer untouched", async () => {
    const server = await plainServer(status(403, "why", { "www-authenticate": 'Bearer error="insufficient_scope"', "x-detail": "1" }));
    const response = await authFetch(
      countingCredential(() => "give-up"),
      server.url,
    )(server.url);
    expect([response.status, response.headers.get("x-detail"), await response.text()]).toEqual([403, "1", "why"]);
    expect(server.received).toHaveLength(1);
  });

  test("what the credential throws is thrown, the same object, stamped for the SDK's version probe", async () => {
    const server = await plainServer(status(401));
    const refusal = new McpAuthError("authorization_denied");
    const byChallenge = countingCredential(() => Promise.reject(refusal));
    const byHeaders = { ...countingCredential(), headers: () => Promise.reject(refusal) };
    for (const credential of [byChallenge, byHeaders]) {
      const error = await authFetch(credential, server.url)(server.url, { method: "POST", body: "x" }).catch((reason: unknown) => reason);
      expect(error).toBe(refusal);
      expect(isStamped(error)).toBe(true);
      expect(Object.keys(error as object)).not.toContain("mcp.authSeamEscape");
    }
  });

  test("a network failure is the caller's TypeError, not repeated", async () => {
    const server = await plainServer((_request, response) => void response.destroy());
    const credential = countingCredential();
    await expect(authFetch(credential, server.url)(server.url, { method: "POST", body: "x" })).rejects.toThrow(TypeError);
    expect(server.received).toHaveLength(1);
    expect(credential.onChallenge).not.toHaveBeenCalled();
  });
});

describe("a GET of an event stream", () => {
  const get = { headers: { accept: "text/event-stream" } };

  test("gets the server's 401 in place of an error from `onChallenge`", async () => {
    const server = await plainServer(status(401, "no"));
    const credential = countingCredential(() => Promise.reject(new McpAuthError("login_required")));
    const response = await authFetch(credential, server.url)(server.url, get);
    expect([response.status, await response.text()]).toEqual([401, "no"]);
    expect(server.received).toHaveLength(1);
  });

  test("is sent without credentials when there are none, so that the refusal is the server's", async () => {
    const server = await plainServer(status(401, "no"));
    const credential = {
      headers: () => Promise.reject(new McpAuthError("login_required")),
      onChallenge: () => Promise.reject(new McpAuthError("login_required")),
    };
    const response = await authFetch(credential, server.url)(server.url, get);
    expect([response.status, await response.text()]).toEqual([401, "no"]);
    expect(server.received[0]?.headers.authorization).toBeUndefined();
  });

  test("fails by a fault that passes: it is worth a reconnect", async () => {
    const server = await plainServer(status(401));
    const credential = { ...countingCredential(), headers: () => Promise.reject(new McpAuthError("network_error")) };
    expect(codeOf(await authFetch(credential, server.url)(server.url, get).catch((reason: unknown) => reason))).toBe("network_error");
    expect(server.received).toEqual([]);
  });

  test("a GET of anything else is no stream: it gets the error", async () => {
    const server = await plainServer(status(401));
    const credential = countingCredential(() => Promise.reject(new McpAuthError("login_required")));
    expect(codeOf(await authFetch(credential, server.url)(server.url).catch((reason: unknown) => reason))).toBe("login_required");
  });
});

describe("the caller's AbortSignal", () => {
  const reason = new Error("the caller's reason");

  test("aborted before: nothing is sent", async () => {
    const server = await plainServer(status(200));
    const fetch = authFetch(countingCredential(), server.url);
    await expect(fetch(server.url, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    await expect(fetch(new Request(server.url, { signal: AbortSignal.abort(reason) }))).rejects.toThrow();
    expect(server.received).toEqual([]);
  });

  test("aborted while the server answers: `fetch` ends", async () => {
    const arrived = Promise.withResolvers<void>();
    const server = await plainServer(() => arrived.resolve());
    const end = new AbortController();
    const call = authFetch(countingCredential(), server.url)(server.url, { signal: end.signal });
    await arrived.promise;
    end.abort(reason);
    await expect(call).rejects.toBe(reason);
  });

  test.each(["string", "Request"])(
    "aborted while the credential decides (%s): never sent again, although the credential says retry",
    async (kind) => {
      const server = await plainServer(status(401));
      const asked = Promise.withResolvers<void>();
      const decision = Promise.withResolvers<"retry">();
      const credential = countingCredential(() => {
        asked.resolve();
        return decision.promise;
      });
      const end = new AbortController();
      const init = { method: "POST", body: "x", signal: end.signal };
      const call = authFetch(
        credential,
        server.url,
      )(...((kind === "string" ? [server.url, init] : [new Request(server.url, init)]) as [string, RequestInit]));
      call.catch(() => {});
      await asked.promise;
      end.abort(reason);
      decision.resolve("retry");
      await expect(call).rejects.toThrow(reason.message);
      expect(server.received).toHaveLength(1);
      expect(credential.onChallenge.mock.calls[0]?.[2].signal?.aborted).toBe(true);
    },
  );

  test("aborted while a stream's answer arrives: the body ends with the caller's reason", async () => {
    const server = await plainServer((_request, response) => void response.writeHead(200).write("first"));
    const end = new AbortController();
    const response = await authFetch(countingCredential(), server.url)(server.url, { signal: end.signal });
    end.abort(reason);
    await expect(response.text()).rejects.toBe(reason);
  });
});

describe("bodies and connections", () => {
  test("an answer's first part arrives before its end", async () => {
    const rest = Promise.withResolvers<void>();
    const server = await plainServer(async (_request, response) => {
      response.writeHead(200).write("first");
      await rest.promise;
      response.end("last");
    });
    const response = await authFetch(countingCredential(), server.url)(server.url);
    const reader = (response.body as ReadableStream<Uint8Array>).getReader();
    expect(new TextDecoder().decode((await reader.read()).value)).toBe("first");
    rest.resolve();
    expect(new TextDecoder().decode((await reader.read()).value)).toBe("last");
  });

  test("a request's stream flows while the server reads it", async () => {
    const first = Promise.withResolvers<string>();
    const server = await plainServer(
      (_request, response, raw) => {
        raw.once("data", (chunk) => first.resolve(String(chunk)));
        raw.once("end", () => response.end("done"));
      },
      { early: true },
    );
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
    const writer = writable.getWriter();
    const call = authFetch(countingCredential(), server.url)(server.url, { method: "POST", body: readable, duplex: "half" } as RequestInit);
    await writer.write(new TextEncoder().encode("one"));
    expect(await first.promise).toBe("one");
    await writer.close();
    expect(await (await call).text()).toBe("done");
  });

  test("the answers of refused tries give their connections up, however large they are", async () => {
    const large = "x".repeat(4 * 1024 * 1024);
    const server = await plainServer((request, response, raw) =>
      (request.headers.authorization === "Bearer token-3" ? status(200, "ok") : status(401, large))(request, response, raw),
    );
    for (let call = 0; call < 5; call++) {
      const response = await authFetch(countingCredential(), server.url)(server.url, { method: "POST", body: "x" });
      expect(await response.text()).toBe("ok");
    }
    // What is not read to its end is closed; what was is kept alive for the next.
    await expect.poll(() => server.connections).toBeLessThanOrEqual(1);
  });

  test("so does the answer in whose place an error is thrown", async () => {
    const server = await plainServer(status(401, "x".repeat(4 * 1024 * 1024)));
    const credential = countingCredential(() => Promise.reject(new McpAuthError("login_required")));
    const error = await authFetch(credential, server.url)(server.url, { method: "POST", body: "x" }).catch((reason: unknown) => reason);
    expect(codeOf(error)).toBe("login_required");
    await expect.poll(() => server.connections).toBe(0);
  });

  test.each(["retry", "throw"])("a refusal whose connection breaks while a user logs in does not matter (%s)", async (outcome) => {
    const broken = Promise.withResolvers<void>();
    const refuse: Answer = (_request, response) => {
      response.writeHead(401).write("part");
      response.once("close", broken.resolve);
      void asked.promise.then(() => response.destroy());
    };
    const asked = Promise.withResolvers<void>();
    const server = await plainServer((request, response, raw) =>
      (request.headers.authorization === "Bearer token-2" ? status(200, "ok") : refuse)(request, response, raw),
    );
    const credential = countingCredential(async (): Promise<"retry"> => {
      asked.resolve();
      await broken.promise;
      // The client learns of it in one of the event loop's next turns.
      await new Promise((resolve) => setTimeout(resolve, 20));
      if (outcome === "throw") throw new McpAuthError("login_required");
      return "retry";
    });
    const call = authFetch(credential, server.url)(server.url, { method: "POST", body: "x" });
    if (outcome === "retry") expect(await (await call).text()).toBe("ok");
    else expect(codeOf(await call.catch((reason: unknown) => reason))).toBe("login_required");
  });

  test("steady state: one request, one call of `headers`, the answer is the sender's own object", async () => {
    const answer = new Response("x");
    const credential = countingCredential();
    const fetch = authFetch(credential, "https://mcp.example/mcp", { fetch: async () => answer });
    expect(await fetch("https://mcp.example/mcp", { method: "POST", body: "x" })).toBe(answer);
    expect(credential.headers).toHaveBeenCalledTimes(1);
  });
});
