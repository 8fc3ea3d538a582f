import { expect, onTestFinished, test } from "vitest";
import { createMcpAuth } from "../../src/node/index.ts";
import { person, recordingFetch, startProtectedServer } from "../fixture/index.ts";

const wellKnown = "/.well-known/oauth-protected-resource";

test.each([
  ["default: every place, beside the first request", undefined, ["/mcp", `${wellKnown}/mcp`, wellKnown]],
  ["off: only the place that the refusal names, after it (REQ-DISC-02)", false, ["/mcp", `${wellKnown}/mcp`]],
] as const)("metadata of the resource, `speculate` %s", async (_name, speculate, asked) => {
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
  expect(await auth.authorize()).toBe("authorized");
  const requests = fetch.log.filter(({ url }) => url.origin === server.mcpServer.origin);
  expect(requests.map(({ url }) => url.pathname).sort()).toEqual([...asked].sort());
  const refused = requests.find(({ url }) => url.pathname === "/mcp")?.end ?? Number.NaN;
  for (const { url, start } of requests) if (url.pathname !== "/mcp") expect(start < refused).toBe(speculate === undefined);
});
