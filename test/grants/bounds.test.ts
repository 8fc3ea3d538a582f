import type { ServerResponse } from "node:http";
import { expect, onTestFinished, test } from "vitest";
import type { McpAuthErrorCode } from "../../src/errors.ts";
import { refreshGrant } from "../../src/grants/refresh.ts";
import { createHttp, type HttpOptions } from "../../src/http/http.ts";
import { failure } from "../discovery/support.ts";
import { listen } from "../fixture/http-server.ts";

const answer = JSON.stringify({ access_token: "new-access", token_type: "Bearer", refresh_token: "new-refresh" });

test.each<[string, McpAuthErrorCode, (res: ServerResponse) => void, HttpOptions]>([
  ["a token endpoint that never answers", "timeout", () => {}, { timeoutMs: 30 }],
  ["one that sends headers, then nothing", "timeout", (res) => void res.writeHead(200).write('{"access'), { timeoutMs: 30 }],
  ["one that closes the connection in place of an answer", "network_error", (res) => void res.socket?.destroy(), {}],
  [
    "one whose connection breaks in the body",
    "network_error",
    (res) => void res.writeHead(200, { "content-length": "1000" }).write(answer, () => res.socket?.destroy()),
    {},
  ],
])("%s: %s, which may pass", async (_what, code, misbehave, options) => {
  let requests = 0;
  const { origin, close } = await listen((_req, res) => {
    requests++;
    misbehave(res);
  });
  onTestFinished(close);
  const server = { issuer: origin, token_endpoint: `${origin}/token` };
  const client = { clientId: "client-1", tokenEndpointAuthMethod: "none" } as const;
  const error = await failure(refreshGrant({ server, client, http: createHttp(options), refreshToken: "the-old-refresh-token" }));
  expect(error).toMatchObject({ code, passing: true });
  expect(requests).toBe(1);
});
