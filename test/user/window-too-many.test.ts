/** A user is asked when no refresh helps: what another process has got, or is getting, is tried first. */
import { expect, test } from "vitest";
import { MemoryStore, TokenManager } from "../../src/index.ts";
import { gate, tokenRequest } from "../fixture/index.ts";
import { manager, post, startServer, userAtHand } from "../storm/support.ts";

/** Two managers of one login. @param onShared called once, when the second one has found what the first has got */
async function two(onShared: (revokeAll: () => void) => void = () => {}) {
  const server = await startServer();
  const { authorizationServer: as, mcpServer: mcp } = server;
  const [store, handler] = [new MemoryStore(), userAtHand()];
  const { auth: a } = manager(server, { store, loginHandler: handler });
  let isNews = true;
  const b = new TokenManager({
    serverUrl: server.url,
    store,
    loginHandler: handler,
    onEvent: ({ type }) => {
      if (type !== "refresh.shared" || !isNews) return;
      isNews = false;
      onShared(mcp.revokeAll);
    },
  });
  await a.authorize();
  expect([await post(a), await post(b)]).toEqual([200, 200]);
  mcp.revokeAll();
  return { as, mcp, handler, a, b };
}

test("what another has got is refused as well: it is refreshed, and nobody is asked", async () => {
  const { as, handler, a, b } = await two((revokeAll) => revokeAll());
  expect([await post(a), await post(b)]).toEqual([200, 200]);
  expect([handler.opened, as.tokenRequests("refresh_token").length]).toEqual([1, 2]);
});

test("what one has got itself is refused while another refreshes: that is waited for, and nobody is asked", async () => {
  const { as, mcp, handler, a, b } = await two();
  expect(await post(a)).toBe(200);
  // The first finds its own new token refused, untried; the second, which shares it, has begun to refresh it.
  await b.getAccessToken();
  mcp.revokeAll();
  expect(await post(b)).toBe(200);
  const held = gate(tokenRequest("refresh_token"));
  as.intercept(held.hook);
  mcp.revokeAll();
  const [second, first] = [post(b), held.reached(1).then(() => post(a))];
  await held.reached(1);
  held.open();
  expect([await second, await first]).toEqual([200, 200]);
  expect(handler.opened).toBe(1);
});
