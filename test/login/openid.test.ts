import { expect, onTestFinished, test } from "vitest";
import { MemoryStore, TokenManager } from "../../src/index.ts";
import { loopbackLogin } from "../../src/node/login/on-demand.ts";
import { person, startProtectedServer } from "../fixture/index.ts";

test("a real OpenID provider takes the nonce and gives it back", async () => {
  const server = await startProtectedServer({ authorizationServer: { configuration: { scopes: ["openid", "mcp:read"] } } });
  onTestFinished(() => server.close());
  const events: string[] = [];
  const auth = new TokenManager({
    serverUrl: server.url,
    store: new MemoryStore(),
    scopes: ["openid", "mcp:read"],
    loginHandler: loopbackLogin({ print: () => {}, openBrowser: async (url) => void person(url) }),
    onEvent: ({ type }) => events.push(type),
  });
  expect(await auth.authorize()).toBe("authorized");
  const asked = server.authorizationServer.requests.find(({ path }) => path === "/authorize");
  expect(asked?.query.get("nonce")).toMatch(/^[\w-]{43}$/);
  expect(events).not.toContain("discovery.concession");
  await auth.dispose();
});
