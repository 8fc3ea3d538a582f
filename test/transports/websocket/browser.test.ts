/** The WebSocket transport where handshakes carry no headers: a real Chromium. */
import { join } from "node:path";
import { build } from "esbuild";
import { describe, expect, onTestFinished, test } from "vitest";
import type { BearerCredential } from "../../../src/credentials/index.ts";
import type { WebSocketTransport } from "../../../src/transports/websocket/websocket.ts";
import { hasChromium, launch, openPage } from "../../browser/chromium.ts";
import { startWebSocketServer } from "../../fixture/index.ts";

/** What the page's script leaves there. */
declare const lib: { BearerCredential: typeof BearerCredential; WebSocketTransport: typeof WebSocketTransport };

async function page() {
  const { outputFiles } = await build({
    stdin: {
      contents: `export { BearerCredential } from "./src/credentials/index.ts"; export { WebSocketTransport } from "./src/transports/websocket/websocket.ts";`,
      resolveDir: join(import.meta.dirname, "../../.."),
    },
    bundle: true,
    write: false,
    format: "iife",
    globalName: "lib",
    platform: "browser",
    external: ["tough-cookie"],
  });
  const browser = await launch();
  onTestFinished(() => browser.close());
  const { page } = await openPage(browser);
  await page.addScriptTag({ content: outputFiles[0]?.text ?? "" });
  return page;
}

describe.runIf(hasChromium)("in a browser", () => {
  test("a subprotocol carries the token; without it nothing is sent, and the error says what to choose", { timeout: 120_000 }, async () => {
    const server = await startWebSocketServer({
      tokenOf: ({ protocols }) => protocols.find((name) => name.startsWith("bearer."))?.slice(7),
      protection: {
        check: async ({ headers }) =>
          headers.authorization === "Bearer token-1"
            ? { caller: { sub: "ann", jti: undefined, clientId: undefined, scopes: [], claims: {} } }
            : { status: 401, headers: {} },
      },
    });
    onTestFinished(() => server.close());
    const there = await page();

    const code = await there.evaluate(async (url) => {
      const credential = new lib.BearerCredential({ serverUrl: url.replace(/^ws/, "http"), token: "token-1" });
      return new lib.WebSocketTransport(url, { credential }).start().catch((error: { code: string }) => error.code);
    }, server.url);
    expect(code).toBe("invalid_option");
    expect(server.handshakes).toEqual([]);

    const answer = await there.evaluate(async (url) => {
      const credential = new lib.BearerCredential({ serverUrl: url.replace(/^ws/, "http"), token: "token-1" });
      const transport = new lib.WebSocketTransport(url, { credential, subprotocol: (token) => `bearer.${token}` });
      const answered = new Promise((resolve) => {
        transport.onmessage = resolve;
      });
      await transport.start();
      await transport.send({ jsonrpc: "2.0", id: 1, method: "ping" });
      const message = await answered;
      await transport.close();
      return message;
    }, server.url);
    expect(answer).toEqual({ jsonrpc: "2.0", id: 1, result: {} });
  });
});
