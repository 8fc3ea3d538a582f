import { describe, expect, onTestFinished, test } from "vitest";
import { createMcpAuth } from "../../src/node/index.ts";
import { person, recordingFetch, startProtectedServer } from "../fixture/index.ts";
import { failure, manager, post, startServer, userAtHand } from "../storm/support.ts";

const wellKnown = "/.well-known/oauth-protected-resource";

test.each([
  ["default: every place, beside the first request", "authorize()", undefined, ["/mcp", `${wellKnown}/mcp`, wellKnown]],
  ["default: every place, beside the first request", "a call", undefined, ["/mcp", `${wellKnown}/mcp`, wellKnown]],
  ["off: only the place that the refusal names, after it (REQ-DISC-02)", "authorize()", false, ["/mcp", `${wellKnown}/mcp`]],
  ["off: only the place that the refusal names, after it (REQ-DISC-02)", "a call", false, ["/mcp", `${wellKnown}/mcp`]],
] as const)("metadata of the resource, `speculate` %s, by %s", async (_name, way, speculate, asked) => {
  await using server = await startProtectedServer();
  const fetch = recordingFetch();
  const auth = createMcpAuth(server.url, {
    speculate,
    fetch,
    interactive: true,
    openBrowser: async (url) => void person(url),
    print: () => {},
  });
  onTestFinished(() => auth.dispose());
  if (way === "authorize()") expect(await auth.authorize()).toBe("authorized");
  else expect(await post(auth)).toBe(200);
  // The first call is sent again with its token.
  const calls = way === "authorize()" ? [] : ["/mcp"];
  const requests = fetch.log.filter(({ url }) => url.origin === server.mcpServer.origin);
  expect(requests.map(({ url }) => url.pathname).sort()).toEqual([...asked, ...calls].sort());
  const refused = requests.find(({ url }) => url.pathname === "/mcp")?.end ?? Number.NaN;
  for (const { url, start } of requests) if (url.pathname !== "/mcp") expect(start < refused).toBe(speculate === undefined);
});

test("nobody can be asked: no metadata is asked for", async () => {
  const server = await startServer();
  const { auth } = manager(server);
  expect((await failure(post(auth))).code).toBe("login_required");
  expect(server.mcpServer.requests.map(({ path }) => path)).toEqual(["/mcp"]);
});

describe("a server that wants no login", () => {
  /** Answers every request as `answer` says, for as long as the server is open. */
  async function openServer(answer: (isMetadata: boolean, signal: AbortSignal) => Response | Promise<Response>) {
    const server = await startServer();
    const state = { open: true, signals: [] as AbortSignal[], asked: 0 };
    const handler = userAtHand();
    const fetch: typeof globalThis.fetch = async (input, init) => {
      if (!state.open) return globalThis.fetch(input, init);
      const isMetadata = String(input).includes("/.well-known/");
      const signal = init?.signal ?? new AbortController().signal;
      if (isMetadata) state.signals.push(signal);
      return answer(isMetadata, signal);
    };
    return { state, handler, ...manager(server, { loginHandler: handler, fetch }) };
  }

  test.each([
    ["asked by `authorize()`", true],
    ["found out by the first call", false],
  ])("and wants one later, %s: what was not there then is looked for again", async (_name, asks) => {
    const { state, handler, auth } = await openServer((isMetadata) => new Response("{}", { status: isMetadata ? 404 : 200 }));
    if (asks) expect(await auth.authorize()).toBe("not-required");
    expect([await post(auth), await post(auth)]).toEqual([200, 200]);
    state.open = false;
    expect(await post(auth)).toBe(200);
    expect(handler.opened).toBe(1);
  });

  test("and wants one later, `authorize()` alone: what was not there then is looked for again", async () => {
    const { state, handler, auth } = await openServer((isMetadata) => new Response("{}", { status: isMetadata ? 404 : 200 }));
    expect(await auth.authorize()).toBe("not-required");
    state.open = false;
    expect(await auth.authorize()).toBe("authorized");
    expect(handler.opened).toBe(1);
  });

  test("is asked for metadata once, and a place that hangs is given up: it would keep the process alive", async () => {
    const hang = (signal: AbortSignal) => new Promise<never>((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    const { state, auth } = await openServer((isMetadata, signal) => (isMetadata ? hang(signal) : new Response("{}")));
    expect([await post(auth), await post(auth)]).toEqual([200, 200]);
    expect(state.signals.map(({ aborted }) => aborted)).toEqual([true, true]);
  });

  test("`dispose()` gives up such a place, too", async () => {
    const hang = (signal: AbortSignal) => new Promise<never>((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    const { state, auth } = await openServer((isMetadata, signal) => (isMetadata ? hang(signal) : new Response(null, { status: 503 })));
    auth.authorize().catch(() => {});
    await expect.poll(() => state.signals.length).toBe(2);
    await auth.dispose();
    expect(state.signals.map(({ aborted }) => aborted)).toEqual([true, true]);
  });
});
