/** A call whose sender has given up while a user was logging in is never sent: the sender may have repeated it. */
import { Client as ClientV2, StreamableHTTPClientTransport as TransportV2 } from "@modelcontextprotocol/client";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport } from "@modelcontextprotocol/sdk/client/sse.js";
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js";
import { describe, expect, onTestFinished, test } from "vitest";
import { authFetch } from "../../src/index.ts";
import { gate, startMcpServer, tokenRequest, toolCall } from "../fixture/index.ts";
import { codeOf, connect, manager, minutes, seeded, userAtHand } from "../storm/support.ts";
import { countingCredential, plainServer, status } from "./support.ts";

/** Far below what a user needs, far above what a call takes here. In ms. */
const timeout = 150;

type Call = (tool: string, args: Record<string, unknown>, options?: { timeout: number }) => Promise<unknown>;

/** The official clients, one after the other in time. */
const clients: Record<string, (url: string, sseUrl: string, fetch: typeof globalThis.fetch) => Promise<Call>> = {
  "SDK v1, Streamable HTTP": async (url, _sse, fetch) => {
    const client = await connect(url, fetch);
    return (name, args, options) => client.callTool({ name, arguments: args }, undefined, options);
  },
  "SDK v1, SSE": async (_url, sse, fetch) => {
    const client = new Client({ name: "test", version: "1" });
    onTestFinished(() => client.close());
    await client.connect(new SSEClientTransport(new URL(sse), { fetch }) as Transport);
    return (name, args, options) => client.callTool({ name, arguments: args }, undefined, options);
  },
  "SDK v2, legacy protocol": async (url, _sse, fetch) => {
    const client = new ClientV2({ name: "test", version: "1" });
    onTestFinished(() => client.close());
    await client.connect(new TransportV2(new URL(url), { fetch }));
    return (name, args, options) => client.callTool({ name, arguments: args }, options);
  },
  "SDK v2, modern protocol": async (url, _sse, fetch) => {
    const client = new ClientV2({ name: "test", version: "1" }, { versionNegotiation: { mode: { pin: "2026-07-28" } } });
    onTestFinished(() => client.close());
    await client.connect(new TransportV2(new URL(url), { fetch }));
    return (name, args, options) => client.callTool({ name, arguments: args }, options);
  },
};

/** A login that will not do any more, and a user who takes their time. */
async function waitingUser() {
  const parts = await seeded();
  const handler = userAtHand();
  const decision = Promise.withResolvers<void>();
  handler.until = decision.promise;
  const { auth } = manager(parts.server, { store: parts.store, clock: parts.clock, loginHandler: handler });
  return { ...parts, auth, handler, decide: () => decision.resolve() };
}

describe.each(Object.keys(clients))("%s", (name) => {
  const connectBy = clients[name] as (typeof clients)[string];

  test("a call that timed out while a user was logging in is never sent, although the login succeeds", async () => {
    const { server, as, mcp, auth, handler, decide } = await waitingUser();
    const call = await connectBy(server.url, mcp.sseUrl, auth.fetch);
    as.endLogins();
    mcp.revokeAll();

    await expect(call("count", { id: "parked" }, { timeout })).rejects.toThrow(/timed out/i);
    await expect.poll(() => handler.opened).toBe(1);
    decide();
    await auth.authorize();
    await call("count", { id: "next" });
    expect(Object.fromEntries(mcp.tools.counts)).toEqual({ next: 1 });
    // Each was sent once: the first with the old token, which was refused.
    expect(mcp.calls("count").map(({ status: code }) => code === 401)).toEqual([true, false]);
    expect(mcp.calls("notifications/cancelled")).toEqual([]);
    expect(handler.opened).toBe(1);
  });

  test("a call that timed out while more scopes were asked for is never sent", async () => {
    const { server, as, mcp, auth, handler, decide } = await waitingUser();
    const call = await connectBy(server.url, mcp.sseUrl, auth.fetch);
    await expect(call("write_note", { text: "parked" }, { timeout })).rejects.toThrow(/timed out/i);
    decide();
    await expect.poll(() => as.tokenRequests("authorization_code").length).toBe(1);
    await call("write_note", { text: "next" });
    expect(mcp.tools.notes).toEqual(["next"]);
    expect(handler.opened).toBe(1);
  });

  test("a call that timed out while its refusal was still on the way is not repeated", async () => {
    const { server, as, mcp, auth, handler, decide } = await waitingUser();
    const call = await connectBy(server.url, mcp.sseUrl, auth.fetch);
    as.endLogins();
    mcp.revokeAll();
    const refusal = gate(toolCall("count"), "after");
    mcp.intercept(refusal.hook);
    await expect(call("count", { id: "parked" }, { timeout })).rejects.toThrow(/timed out/i);
    await refusal.reached(1);
    refusal.open();
    decide();
    await auth.authorize();
    await call("count", { id: "next" });
    expect(Object.fromEntries(mcp.tools.counts)).toEqual({ next: 1 });
    expect(handler.opened).toBeLessThanOrEqual(1);
  });

  test("a call that timed out while it waited for a refresh is never sent", async () => {
    const { server, as, mcp, auth, clock } = await waitingUser();
    const call = await connectBy(server.url, mcp.sseUrl, auth.fetch);
    const refresh = gate(tokenRequest("refresh_token"));
    as.intercept(refresh.hook);
    clock.shift(minutes(6));
    await expect(call("count", { id: "parked" }, { timeout })).rejects.toThrow(/timed out/i);
    refresh.open();
    await auth.getAccessToken();
    await call("count", { id: "next" });
    expect(Object.fromEntries(mcp.tools.counts)).toEqual({ next: 1 });
    expect(mcp.calls("count")).toHaveLength(1);
    expect(as.tokenRequests()).toHaveLength(1);
  });
});

test("two transports share one manager and count their requests alike: the one's timeout does not cancel the other's call", async () => {
  const { server, as, mcp, auth, handler, decide } = await waitingUser();
  const [impatient, patient] = await Promise.all([connect(server.url, auth.fetch), connect(server.url, auth.fetch)]);
  as.endLogins();
  mcp.revokeAll();
  const second = patient.callTool({ name: "count", arguments: { id: "patient" } });
  await expect.poll(() => handler.opened).toBe(1);
  const first = impatient.callTool({ name: "count", arguments: { id: "impatient" } }, undefined, { timeout });
  await expect(first).rejects.toThrow(/timed out/i);
  const [one, other] = mcp.calls("count").map(({ json }) => (json as { id: number }).id);
  expect(one).toBe(other);
  decide();
  await second;
  expect(Object.fromEntries(mcp.tools.counts)).toEqual({ patient: 1 });
});

describe("a notification of cancellation", () => {
  const body = (message: object) => ({ method: "POST", body: JSON.stringify(message) });
  const cancelled = (requestId: number) => body({ jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId } });
  const request = (id: number) => body({ jsonrpc: "2.0", id, method: "tools/call", params: { name: "x" } });

  async function parkedCall(init: RequestInit) {
    const decision = Promise.withResolvers<"retry">();
    const server = await plainServer((received, response, raw) =>
      status(received.headers.authorization === "Bearer token-1" && received.body.includes("tools/call") ? 401 : 200)(
        received,
        response,
        raw,
      ),
    );
    const credential = countingCredential(() => decision.promise);
    const fetch = authFetch(credential, server.url);
    const call = fetch(server.url, { ...request(1), ...init });
    call.catch(() => {});
    await expect.poll(() => credential.onChallenge.mock.calls.length).toBe(1);
    server.received.length = 0;
    return { server, fetch, call, decide: () => decision.resolve("retry") };
  }
  const { signal } = new AbortController();

  test("ends the waiting of the call with its ID and signal: `login_pending`, and is itself accepted without being sent", async () => {
    const { server, fetch, call, decide } = await parkedCall({ signal });
    const response = await fetch(server.url, { ...cancelled(1), signal });
    expect([response.status, await response.text()]).toEqual([202, ""]);
    expect(codeOf(await call.catch((reason: unknown) => reason))).toBe("login_pending");
    decide();
    expect(server.received).toEqual([]);
  });

  test.each<[string, RequestInit]>([
    ["another ID", { ...cancelled(2), signal }],
    ["another transport's signal", { ...cancelled(1), signal: new AbortController().signal }],
    ["no signal", cancelled(1)],
    ["text that only mentions it", { ...body({ id: 5, method: "tools/call", params: { text: "notifications/cancelled" } }), signal }],
    ["a broken message", { method: "POST", body: '{"method":"notifications/cancelled"', signal }],
  ])("with %s is sent like any other message, and cancels nothing", async (_what, init) => {
    const { server, fetch, call, decide } = await parkedCall({ signal });
    const sent = fetch(server.url, init);
    decide();
    expect((await sent).status).toBe(200);
    expect((await call).status).toBe(200);
    expect(server.received).toHaveLength(2);
  });
});

test("a server without authorization gets every message, cancellations too", async () => {
  const mcp = await startMcpServer();
  onTestFinished(() => mcp.close());
  const { auth } = manager(mcp);
  const client = await connect(mcp.url, auth.fetch);
  await expect(client.callTool({ name: "slow", arguments: {} }, undefined, { timeout })).rejects.toThrow(/timed out/i);
  await expect.poll(() => mcp.calls("notifications/cancelled").length).toBe(1);
});
