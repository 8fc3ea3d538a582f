import type { ServerResponse } from "node:http";
import { expect, onTestFinished, test } from "vitest";
import type { McpAuthErrorCode } from "../../src/errors.ts";
import { refreshTokens } from "../../src/grants/refresh.ts";
import { createHttp } from "../../src/http/http.ts";
import { failure } from "../discovery/support.ts";
import { listen } from "../fixture/http-server.ts";
import { manualClock } from "../storm/support.ts";

const answer = JSON.stringify({ access_token: "new-access", token_type: "Bearer", refresh_token: "new-refresh" });

test.each<[string, McpAuthErrorCode, (res: ServerResponse) => void]>([
  ["a token endpoint that never answers", "timeout", () => {}],
  ["one that sends headers, then nothing", "timeout", (res) => void res.writeHead(200).write('{"access')],
  ["one that closes the connection in place of an answer", "network_error", (res) => void res.socket?.destroy()],
  [
    "one whose connection breaks in the body",
    "network_error",
    (res) => void res.writeHead(200, { "content-length": "1000" }).write(answer, () => res.socket?.destroy()),
  ],
])("%s: %s, which may pass", async (_what, code, misbehave) => {
  let requests = 0;
  const { origin, close } = await listen((_req, res) => {
    requests++;
    misbehave(res);
  });
  onTestFinished(close);
  const server = { issuer: origin, token_endpoint: `${origin}/token` };
  const client = { clientId: "client-1", tokenEndpointAuthMethod: "none" } as const;
  const clock = manualClock();
  const refreshing = failure(refreshTokens({ server, client, http: createHttp({ clock }), refreshToken: "the-old-refresh-token" }));
  await expect.poll(() => requests).toBe(1);
  if (code === "timeout") clock.advance(30_000);
  const error = await refreshing;
  expect(error).toMatchObject({ code, transient: true });
  expect([requests, clock.timers]).toEqual([1, []]);
});
