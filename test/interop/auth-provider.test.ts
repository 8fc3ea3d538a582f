/** `authProvider(auth)` in the official SDKs' transports: what it can do there, and what the SDKs make impossible. */
import { describe, expect, test } from "vitest";
import { answer, gate, type LoggedRequest, recordingFetch, toolCall, when } from "../fixture/index.ts";
import {
  allKinds,
  type Kind,
  kinds,
  later,
  managerFor,
  providerFor,
  rejection,
  type Sdk,
  startServer,
  streamState,
  tokenRequests,
} from "./support.ts";

async function created(kind: Kind, options = {}) {
  const server = await startServer();
  const { auth, behaviour } = managerFor(kind, server, options);
  const fetch = recordingFetch();
  const authProvider = providerFor(kind, auth);
  const sdk = kind.create(auth.serverUrl, { authProvider, fetch });
  return { server, auth, behaviour, authProvider, sdk, sent: fetch.log };
}

async function connected(kind: Kind) {
  const parts = await created(kind);
  await parts.sdk.connect();
  return parts;
}

/** A stream that is closed (2) stays so; every other state reconnects. */
function expectNoReconnect({ sse }: Kind, sdk: Sdk): void {
  if (sse) expect(streamState(sdk)).toBe(2);
}

const twenty = <T>(work: (id: string) => Promise<T>) => Array.from({ length: 20 }, (_, id) => work(String(id)));

describe.each(allKinds)("%s", (_name, kind) => {
  test("login, an expired token under 20 calls, a token that looked valid: one token request each, all of them ours", async () => {
    const { server, auth, behaviour, sdk, sent } = await connected(kind);
    const { mcpServer: mcp, authorizationServer: as } = server;
    expect(await sdk.call("whoami")).toMatchObject({ sub: "alice", scopes: ["mcp:read"] });
    expect(tokenRequests(server)).toEqual(["authorization_code 200"]);

    later(301);
    expect(await Promise.all(twenty((id) => sdk.call("count", { id })))).toEqual(Array(20).fill(1));
    expect(tokenRequests(server).slice(1)).toEqual(["refresh_token 200"]);

    later(60);
    mcp.revokeAll();
    expect(await sdk.call("add", { a: 1, b: 2 })).toBe(3);
    expect(tokenRequests(server).slice(2)).toEqual(["refresh_token 200"]);
    expect([behaviour.logins, as.liveLogins, auth.lastError]).toEqual([1, 1, undefined]);

    // What the SDK itself sends goes to the protected server, or is the answer that was here already.
    const elsewhere = sent.filter(({ url }) => url.origin !== mcp.origin);
    expect(new Set(elsewhere.map(({ url }) => url.protocol))).toEqual(new Set(kind.sdk === "v1" ? ["data:"] : []));
    const token = await auth.getAccessToken();
    const secrets = as.tokenRequests().flatMap(({ form }) => ["refresh_token", "code", "code_verifier"].map((name) => form.get(name)));
    for (const { url } of elsewhere) {
      const answer = decodeURIComponent(url.href);
      expect(answer).toContain("managed-by-mcp-client-auth");
      for (const secret of [token, ...secrets]) if (secret) expect(answer).not.toContain(secret);
    }
  });

  test("nobody can be asked: connect fails, nothing is sent to the authorization server", async () => {
    const { server, auth, sdk } = await created(kind, { interactive: false });
    const error = await rejection(sdk.connect());
    expect(error).toBe(auth.lastError);
    expect(error).toMatchObject({ code: "login_required" });
    expectNoReconnect(kind, sdk);
    expect(server.authorizationServer.requests).toEqual([]);
  });

  test("the user says no: connect fails, and the user is not asked again at once", async () => {
    const { server, auth, behaviour, sdk } = await created(kind);
    behaviour.deny = true;
    const error = await rejection(sdk.connect());
    expect(error).toBe(auth.lastError);
    expect(error).toMatchObject({ code: "authorization_denied" });
    expectNoReconnect(kind, sdk);
    expect([behaviour.logins, tokenRequests(server)]).toEqual([1, []]);
  });

  test("a server that wants no token is just used", async () => {
    const { server, behaviour, sdk } = await created(kind);
    server.mcpServer.auth = false;
    server.mcpServer.resourceMetadata = "none";
    await sdk.connect();
    expect(await sdk.call("whoami")).toMatchObject({ sub: "anonymous" });
    expect([behaviour.logins, server.authorizationServer.requests]).toEqual([0, []]);
  });
});

/** All calls have reached the server with the old token before it refuses the first. */
async function refusedTogether(kind: Kind) {
  const parts = await connected(kind);
  later(60);
  const { mcpServer: mcp } = parts.server;
  const held = gate(toolCall("count"));
  mcp.intercept(held.hook);
  mcp.revokeAll();
  const calls = Promise.allSettled(twenty((id) => parts.sdk.call("count", { id })));
  await held.reached(20);
  held.open();
  return { ...parts, outcomes: await calls };
}

describe("20 calls refused together", () => {
  test.each(allKinds.filter(([, { sdk }]) => sdk === "v2"))("%s: one token request, no failed call", async (_name, kind) => {
    const { server, outcomes } = await refusedTogether(kind);
    expect(outcomes).toEqual(Array(20).fill({ status: "fulfilled", value: 1 }));
    expect(tokenRequests(server)).toEqual(["authorization_code 200", "refresh_token 200"]);
  });

  // The limit that the docstring names; `fetch` has none.
  test("v1 Streamable HTTP: one token request and the login lives, but the SDK fails the calls that come second", async () => {
    const { server, sdk } = await connected(kinds["v1 Streamable HTTP"]);
    later(60);
    const held = gate(toolCall("count"));
    server.mcpServer.intercept(held.hook);
    server.mcpServer.revokeAll();
    const failures: string[] = [];
    const calls = twenty((id) =>
      sdk.call("count", { id }).catch((error: unknown) => {
        failures.push(String(error));
      }),
    );
    // The first one is refused, logs in, and is sent again; until that is answered the others are refused.
    await held.reached(20);
    held.open(1);
    await held.reached(20);
    held.open(19);
    await expect.poll(() => failures.length).toBe(19);
    held.open();
    for (const failure of failures) expect(failure).toContain("Server returned 401 after successful authentication");
    expect((await Promise.all(calls)).filter((count) => count === 1)).toHaveLength(1);
    expect(tokenRequests(server)).toEqual(["authorization_code 200", "refresh_token 200"]);
    expect(server.authorizationServer.liveLogins).toBe(1);
    expect(await sdk.call("add", { a: 1, b: 2 })).toBe(3);
  });

  test("v1 SSE: one token request, no failed call", async () => {
    const { server, outcomes } = await refusedTogether(kinds["v1 SSE"]);
    expect(outcomes).toEqual(Array(20).fill({ status: "fulfilled", value: 1 }));
    expect(tokenRequests(server)).toEqual(["authorization_code 200", "refresh_token 200"]);
  });
});

describe("step-up cannot be had here", () => {
  test.each(allKinds)("%s: the SDK's own error, no login page", async (_name, kind) => {
    const { behaviour, sdk } = await connected(kind);
    const error = await rejection(sdk.call("write_note", { text: "hi" }));
    expect(String(error)).toMatch(/403|insufficient[_ ]scope/i);
    expect(behaviour.logins).toBe(1);
    expect(await sdk.call("add", { a: 1, b: 2 })).toBe(3);
  });

  test("authorize() with the scopes is the way out", async () => {
    const { auth, sdk } = await connected(kinds["v2 Streamable HTTP, pinned"]);
    await rejection(sdk.call("write_note", { text: "hi" }));
    await auth.authorize({ scopes: ["mcp:write"] });
    expect(await sdk.call("write_note", { text: "hi" })).toBe(1);
  });
});

// The limit that the docstring names: it is the SDK that asks on and on, here until the server gives in.
test("v1 SSE, a stream that is always refused: requests without end, but one token request", async () => {
  const { server, sdk, authProvider } = await created(kinds["v1 SSE"]);
  const refusals = 50;
  const isStream = ({ method, path }: LoggedRequest) => method === "GET" && path === "/sse";
  await sdk.connect();
  later(60);
  server.mcpServer.intercept(when(isStream, answer(401), refusals));
  const again = kinds["v1 SSE"].create(new URL(server.mcpServer.sseUrl), { authProvider });
  await again.connect();
  expect(server.mcpServer.requests.filter(isStream).filter(({ status }) => status === 401)).toHaveLength(refusals);
  expect(tokenRequests(server)).toEqual(["authorization_code 200", "refresh_token 200"]);
});
