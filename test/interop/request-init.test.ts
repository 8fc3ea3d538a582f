/** `requestInit: auth.requestInit()` in the official SDKs' transports. */
import { describe, expect, test } from "vitest";
import { allKinds, type Kind, later, managerFor, rejection, startServer, tokenRequests, urlFor } from "./support.ts";

const lastToken = (requests: { tokenJti?: string | undefined }[]) => requests.at(-1)?.tokenJti;

async function connected(kind: Kind) {
  const server = await startServer();
  const { auth } = managerFor(kind, server);
  await auth.authorize();
  const requestInit = auth.requestInit();
  const sdk = kind.create(urlFor(kind, server.mcpServer), { requestInit });
  await sdk.connect();
  return { server, auth, requestInit, sdk };
}

describe.each(allKinds)("%s", (_name, kind) => {
  test("the headers are live: after a refresh the next call has the new token", async () => {
    const { server, auth, sdk } = await connected(kind);
    const { mcpServer: mcp } = server;
    expect(await sdk.call("add", { a: 1, b: 2 })).toBe(3);
    const first = lastToken(mcp.calls("add"));
    later(301);
    await auth.getAccessToken();
    expect(await sdk.call("add", { a: 1, b: 2 })).toBe(3);
    expect(lastToken(mcp.calls("add"))).not.toBe(first);
    expect(tokenRequests(server)).toEqual(["authorization_code 200", "refresh_token 200"]);
  });

  test("a call in the second half of the token's life starts the refresh that the next one profits from", async () => {
    const { server, auth, sdk } = await connected(kind);
    const { mcpServer: mcp } = server;
    await sdk.call("add", { a: 1, b: 2 });
    const first = lastToken(mcp.calls("add"));
    later(240);
    await sdk.call("add", { a: 1, b: 2 });
    expect(lastToken(mcp.calls("add"))).toBe(first);
    // The refresh may still be under way.
    await expect.poll(() => tokenRequests(server)).toEqual(["authorization_code 200", "refresh_token 200"]);
    await auth.dispose();
  });

  test("without a token, connect fails with login_required, and nothing is sent", async () => {
    const server = await startServer();
    const { auth, behaviour } = managerFor(kind, server);
    const sdk = kind.create(urlFor(kind, server.mcpServer), { requestInit: auth.requestInit() });
    const error = await rejection(sdk.connect());
    if (kind.sse) expect(String(error)).toContain("A login is needed");
    else expect(error).toMatchObject({ code: "login_required" });
    expect([server.mcpServer.requests, behaviour.logins]).toEqual([[], 0]);
  });

  test("after dispose() calls fail with `disposed`", async () => {
    const { requestInit, sdk } = await connected(kind);
    requestInit.dispose();
    expect(await rejection(sdk.call("add", { a: 1, b: 2 }))).toMatchObject({ code: "disposed" });
  });

  test("a copy of the object keeps the token that it was copied with", async () => {
    const server = await startServer();
    const { auth } = managerFor(kind, server);
    await auth.authorize();
    const sdk = kind.create(urlFor(kind, server.mcpServer), { requestInit: { ...auth.requestInit() } });
    await sdk.connect();
    later(301);
    await auth.getAccessToken();
    await rejection(sdk.call("add", { a: 1, b: 2 }));
    expect(server.mcpServer.requests.at(-1)?.status).toBe(401);
  });
});
