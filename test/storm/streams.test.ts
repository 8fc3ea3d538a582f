/** Long-lived streams: they come back with a fresh token, never with a browser, and nothing disturbs an answer under way. */
import { describe, expect, test } from "vitest";
import { gate, tokenRequest } from "../fixture/index.ts";
import { callTool, connect, manager, minutes, post, seeded, toolRequest, userAtHand, watchStreams } from "./support.ts";

const streamRequest: RequestInit = { headers: { accept: "text/event-stream" } };

describe("a GET stream that reconnects", () => {
  test.each([
    ["expired while it was open", "expiry"],
    ["refused when it comes back", "revocation"],
  ])("after its token %s, it comes back with a fresh token and without a browser", async (_what, cause) => {
    const { server, as, mcp, store, clock } = await seeded();
    const handler = userAtHand();
    const { auth } = manager(server, { store, clock, loginHandler: handler });
    const fetch = watchStreams(auth.fetch);
    const client = await connect(server.url, fetch);
    await expect.poll(() => fetch.statuses).toEqual([200]);
    const before = mcp.requests.find(({ method }) => method === "GET")?.tokenJti;

    if (cause === "expiry") clock.shift(minutes(6));
    else mcp.revokeAll();
    mcp.requests.length = 0;
    mcp.closeStreams();
    await expect.poll(() => fetch.statuses, { timeout: 45_000 }).toEqual([200, 200]);
    const accepted = mcp.requests.filter(({ method, path, status }) => method === "GET" && path === "/mcp" && status !== 401);
    expect(accepted).toHaveLength(1);
    expect(accepted[0]?.tokenJti).not.toBe(before);
    expect(as.tokenRequests().map(({ status }) => status)).toEqual([200]);
    expect(handler.started).toBe(0);
    expect(await callTool(client, "add", { a: 1, b: 2 })).toBe(3);
  });

  test("with a dead login it gets the server's 401 with its body, no error and no browser, and `lastError` says why", async () => {
    const { server, as, mcp, store, clock } = await seeded();
    const handler = userAtHand();
    const { auth } = manager(server, { store, clock, loginHandler: handler });
    expect(await post(auth)).toBe(200);
    as.endLogins();
    mcp.revokeAll();
    for (let time = 0; time < 5; time++) {
      const response = await auth.fetch(auth.serverUrl, streamRequest);
      expect([response.status, await response.json()]).toEqual([401, expect.objectContaining({ error: expect.any(String) })]);
    }
    expect(auth.lastError?.code).toBe("login_required");
    expect(handler.started).toBe(0);
    // What is finally refused is not sent again and again.
    expect(as.tokenRequests()).toHaveLength(1);
  });

  test("without any login it gets the server's 401, and no browser", async () => {
    const { server, mcp } = await seeded();
    const handler = userAtHand();
    const { auth } = manager(server, { loginHandler: handler });
    const response = await auth.fetch(auth.serverUrl, streamRequest);
    expect(response.status).toBe(401);
    expect(response.headers.get("www-authenticate")).toContain("Bearer");
    await response.body?.cancel();
    expect(auth.lastError?.code).toBe("login_required");
    expect(handler.started).toBe(0);
    expect(mcp.requests.filter(({ method, path }) => method === "GET" && path === "/mcp")).toHaveLength(1);
  });

  test("a dead login and a transport that reconnects: a bounded number of requests, and no browser", async () => {
    const { server, as, mcp, store, clock } = await seeded();
    const handler = userAtHand();
    const { auth } = manager(server, { store, clock, loginHandler: handler });
    const fetch = watchStreams(auth.fetch);
    await connect(server.url, fetch);
    await expect.poll(() => fetch.statuses).toEqual([200]);
    as.endLogins();
    mcp.revokeAll();
    mcp.closeStreams();
    await expect.poll(() => fetch.statuses).toEqual([200, 401, 401]);
    expect(handler.started).toBe(0);
    expect(as.tokenRequests()).toHaveLength(1);
  });

  test("a stream that is aborted while it waits for a token rejects with the caller's reason", async () => {
    const { server, as, store, clock } = await seeded();
    const { auth } = manager(server, { store, clock });
    const refresh = gate(tokenRequest());
    as.intercept(refresh.hook);
    clock.shift(minutes(6));
    const end = new AbortController();
    const stream = auth.fetch(auth.serverUrl, { ...streamRequest, signal: end.signal });
    await refresh.reached(1);
    end.abort(new Error("closed"));
    await expect(stream).rejects.toThrow("closed");
    refresh.open();
  });

  test("a stream that is aborted while its refusal is dealt with rejects with the caller's reason", async () => {
    const { server, as, mcp, store, clock } = await seeded();
    const { auth } = manager(server, { store, clock });
    expect(await post(auth)).toBe(200);
    mcp.revokeAll();
    const refresh = gate(tokenRequest());
    as.intercept(refresh.hook);
    const end = new AbortController();
    const stream = auth.fetch(auth.serverUrl, { ...streamRequest, signal: end.signal });
    await refresh.reached(1);
    end.abort(new Error("closed"));
    await expect(stream).rejects.toThrow("closed");
    refresh.open();
  });
});

describe("a POST whose answer is still streaming", () => {
  test.each([
    ["the token expires and is refreshed", "expiry"],
    ["the token is revoked and another call is refused", "revocation"],
  ])("is not disturbed when %s", async (_what, cause) => {
    const { server, as, mcp, store, clock } = await seeded();
    const { auth } = manager(server, { store, clock });
    const client = await connect(server.url, auth.fetch);
    const seen: number[] = [];
    const slow = client.callTool({ name: "slow", arguments: { id: "long", steps: 3 } }, undefined, {
      onprogress: ({ progress }) => void seen.push(progress),
    });
    await mcp.tools.reached(1);
    await expect.poll(() => seen).toEqual([1, 2, 3]);

    if (cause === "expiry") clock.shift(minutes(6));
    else mcp.revokeAll();
    expect(await callTool(client, "add", { a: 1, b: 2 })).toBe(3);
    expect(as.tokenRequests()).toHaveLength(1);
    mcp.tools.release();
    expect((await slow).content).toEqual([{ type: "text", text: '"done"' }]);
    expect(mcp.calls("slow")).toHaveLength(1);
  });

  test("its first part arrives before its end", async () => {
    const { server, mcp, store } = await seeded();
    const { auth } = manager(server, { store });
    const init = toolRequest("slow", { id: "x", steps: 1 });
    const body = JSON.parse(init.body as string) as { params: { _meta: Record<string, unknown> } };
    body.params._meta.progressToken = 7;
    const response = await auth.fetch(auth.serverUrl, { ...init, body: JSON.stringify(body) });
    const reader = (response.body as ReadableStream<Uint8Array>).getReader();
    const { value } = await reader.read();
    expect(new TextDecoder().decode(value)).toContain("notifications/progress");
    expect(mcp.tools.waiting).toBe(1);
    mcp.tools.release();
    let rest = "";
    for (let part = await reader.read(); !part.done; part = await reader.read()) rest += new TextDecoder().decode(part.value);
    expect(rest).toContain("done");
  });
});
