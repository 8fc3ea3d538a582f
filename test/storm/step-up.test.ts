/** More scopes in the middle of the traffic: one browser, nothing lost, nothing sent twice, and an end to asking. */
import { describe, expect, test } from "vitest";
import { type AuthEvent, InsufficientScopeError } from "../../src/index.ts";
import { answer, gate, toolCall, when } from "../fixture/index.ts";
import { failure, manager, minutes, post, seeded, tally, toolRequest, userAtHand } from "./support.ts";

async function steppedServer() {
  const parts = await seeded();
  const handler = userAtHand();
  return { ...parts, handler, ...manager(parts.server, { store: parts.store, clock: parts.clock, loginHandler: handler }) };
}

const stepUps = (events: readonly AuthEvent[]) => events.filter(({ type }) => type.startsWith("step-up."));

const insufficient = (scope: string) =>
  answer(403, { error: "insufficient_scope" }, { "www-authenticate": `Bearer error="insufficient_scope", scope="${scope}"` });

describe("step-up", () => {
  test("REQ-STEP-02: asks for all scopes that were asked before and the challenge's, and repeats the call once", async () => {
    const { auth, as, mcp, handler, events } = await steppedServer();
    expect(await post(auth)).toBe(200);
    expect(await post(auth, "write_note", { text: "x" })).toBe(200);
    expect(handler.opened).toBe(1);
    const asked = as.requests.find(({ path }) => path === "/authorize")?.query.get("scope");
    expect(asked?.split(" ").sort()).toEqual(["mcp:read", "mcp:write", "offline_access"]);
    expect(mcp.tools.notes).toEqual(["x"]);
    expect(stepUps(events)).toMatchObject([
      { type: "step-up.started", scopes: ["mcp:write"], attempt: 1 },
      { type: "step-up.finished", scopes: ["mcp:read", "mcp:write"] },
    ]);
    // The new login serves both kinds of calls.
    expect(await post(auth)).toBe(200);
    expect(await post(auth, "write_note", { text: "y" })).toBe(200);
    expect(handler.opened).toBe(1);
  });

  test("a call in flight when another one triggers it is neither lost nor sent twice", async () => {
    const { auth, mcp, handler } = await steppedServer();
    const held = gate(toolCall("count"), "after");
    mcp.intercept(held.hook);
    const counted = Array.from({ length: 20 }, (_, n) => post(auth, "count", { id: `c${n}` }));
    await held.reached(20);
    expect(await post(auth, "write_note", { text: "x" })).toBe(200);
    held.open();
    expect(await tally(counted)).toEqual({ 200: 20 });
    expect([...mcp.tools.counts.values()]).toEqual(Array(20).fill(1));
    expect(handler.opened).toBe(1);
  });

  test("calls that begin while the user is asked go on with the old token", async () => {
    const { auth, mcp, handler } = await steppedServer();
    const decision = Promise.withResolvers<void>();
    handler.until = decision.promise;
    const write = post(auth, "write_note", { text: "x" });
    await expect.poll(() => handler.opened).toBe(1);
    expect(await post(auth)).toBe(200);
    expect(mcp.tools.notes).toEqual([]);
    decision.resolve();
    expect(await write).toBe(200);
    expect(mcp.tools.notes).toEqual(["x"]);
  });

  test("many at once: one browser, each call done once", async () => {
    const { auth, as, mcp, handler } = await steppedServer();
    const writes = Array.from({ length: 50 }, (_, n) => post(auth, "write_note", { text: `${n}` }));
    expect(await tally(writes)).toEqual({ 200: 50 });
    expect(handler.opened).toBe(1);
    expect(mcp.tools.notes).toHaveLength(50);
    expect(as.tokenRequests("authorization_code")).toHaveLength(1);
  });

  test("two managers on one store: one browser", async () => {
    const { server, store, clock, auth, handler } = await steppedServer();
    const other = manager(server, { store, clock, loginHandler: handler });
    expect(await tally([post(auth, "write_note", { text: "a" }), post(other.auth, "write_note", { text: "b" })])).toEqual({ 200: 2 });
    expect(handler.opened).toBe(1);
  });

  test("REQ-STEP-03: a server that is never content is asked three times in all, then its 403 is the answer", async () => {
    const { auth, events, mcp, handler } = await steppedServer();
    mcp.intercept(when(toolCall("add"), insufficient("mcp:write")));
    const response = await auth.fetch(auth.serverUrl, toolRequest("add", { a: 1, b: 2 }));
    expect([response.status, await response.json()]).toEqual([403, { error: "insufficient_scope" }]);
    expect(mcp.calls("add")).toHaveLength(3);
    expect(handler.opened).toBe(2);
    expect(auth.lastError).toBeInstanceOf(InsufficientScopeError);
    expect(stepUps(events).map(({ type }) => type)).toEqual([
      ...["step-up.started", "step-up.finished", "step-up.started", "step-up.finished"],
      "step-up.failed",
    ]);
    // Remembered per operation: at once the next time, while another operation may still ask.
    expect(await post(auth)).toBe(403);
    expect(handler.opened).toBe(2);
    expect(await post(auth, "write_note", { text: "x" })).toBe(200);
  });

  test("the attempts are forgotten after a while", async () => {
    const { auth, mcp, handler, clock } = await steppedServer();
    mcp.intercept(when(toolCall("count"), insufficient("mcp:write")));
    expect(await post(auth, "count", { id: "x" })).toBe(403);
    expect(handler.opened).toBe(2);
    clock.shift(minutes(11));
    expect(await post(auth, "count", { id: "x" })).toBe(403);
    expect(handler.opened).toBe(4);
  });

  test("a refusal of scopes is remembered for a while, and nothing else is disturbed", async () => {
    const { auth, as, events, handler, clock, mcp } = await steppedServer();
    as.nextDecision = "deny";
    const denied = await failure(post(auth, "write_note", { text: "x" }));
    expect(denied.code).toBe("authorization_denied");
    expect(await tally([post(auth, "write_note", { text: "y" }), post(auth, "write_note", { text: "z" })])).toEqual({
      authorization_denied: 2,
    });
    // What is remembered is no further event.
    const denial = { type: "step-up.failed", scopes: ["mcp:write"], code: "authorization_denied" };
    expect(stepUps(events)).toMatchObject([{ type: "step-up.started" }, denial]);
    expect(handler.opened).toBe(1);
    // The login that was there before is as good as before.
    expect(await post(auth)).toBe(200);
    expect(as.liveLogins).toBe(1);
    clock.shift(minutes(11));
    expect(await post(auth, "write_note", { text: "w" })).toBe(200);
    expect(handler.opened).toBe(2);
    expect(mcp.tools.notes).toEqual(["w"]);
  });

  test("a server that grants less than was asked: the 403 is the answer, the narrower scope is the truth", async () => {
    const { auth, as, mcp, store, server, handler } = await steppedServer();
    as.grantScopes = (requested) => requested.filter((scope) => scope !== "mcp:write");
    expect(await post(auth, "write_note", { text: "x" })).toBe(403);
    expect(mcp.tools.notes).toEqual([]);
    expect(handler.opened).toBe(2);
    const record = await store.get(`tokens/default/${server.url}`);
    expect(record?.scope).toBe("mcp:read");
  });

  test("without a user it is an error at once that names the scopes, for a GET as well", async () => {
    const { server, store, mcp } = await seeded();
    const { auth, events } = manager(server, { store });
    const error = await failure(post(auth, "write_note", { text: "x" }));
    expect(stepUps(events)).toMatchObject([{ type: "step-up.failed", scopes: ["mcp:write"], code: "insufficient_scope" }]);
    expect(error).toBeInstanceOf(InsufficientScopeError);
    expect((error as InsufficientScopeError).requiredScopes).toEqual(["mcp:write"]);
    mcp.intercept(when(({ method }) => method === "GET", insufficient("mcp:write")));
    const stream = await auth.fetch(auth.serverUrl, { headers: { accept: "text/event-stream" } });
    expect([stream.status, await stream.json()]).toEqual([403, { error: "insufficient_scope" }]);
  });

  test("without a user, but another process has asked one: its login is used", async () => {
    const { auth, server, store, clock, handler, mcp } = await steppedServer();
    const other = manager(server, { store, clock });
    expect(await post(other.auth)).toBe(200);
    expect(await post(auth, "write_note", { text: "x" })).toBe(200);
    expect(await post(other.auth, "write_note", { text: "y" })).toBe(200);
    expect([handler.opened, mcp.tools.notes]).toEqual([1, ["x", "y"]]);
  });

  test("a 403 for a token that has been replaced meanwhile is repeated with the new one, without a user", async () => {
    const { auth, mcp, handler } = await steppedServer();
    const late = gate(({ tool, body }) => tool === "write_note" && body.includes("late"), "after");
    mcp.intercept(late.hook);
    const held = post(auth, "write_note", { text: "late" });
    await late.reached(1);
    expect(await post(auth, "write_note", { text: "early" })).toBe(200);
    expect(handler.opened).toBe(1);
    late.open();
    expect(await held).toBe(200);
    expect(handler.opened).toBe(1);
    expect(mcp.tools.notes).toEqual(["early", "late"]);
  });
});

test("a refresh ahead that runs during a step-up does not overwrite the new login", async () => {
  const { auth, as, handler, clock, store, server } = await steppedServer();
  const decision = Promise.withResolvers<void>();
  handler.until = decision.promise;
  expect(await post(auth)).toBe(200);
  clock.shift(minutes(3.5));
  const refresh = gate(({ grantType }) => grantType === "refresh_token", "after");
  as.intercept(refresh.hook);
  const write = post(auth, "write_note", { text: "x" });
  await refresh.reached(1);
  await expect.poll(() => handler.opened).toBe(1);
  decision.resolve();
  await expect.poll(() => as.tokenRequests("authorization_code").length).toBe(1);
  refresh.open();
  expect(await write).toBe(200);
  const record = (await store.get(`tokens/default/${server.url}`)) as { scope?: string } | undefined;
  expect(record?.scope?.split(" ").sort()).toEqual(["mcp:read", "mcp:write"]);
});
