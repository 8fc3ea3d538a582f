/** Options of the WebSocket transport: what cannot be is refused when it is made, before a handshake. */
import { expect, test } from "vitest";
import { idleWebSocketOptions } from "../../../src/transports/websocket/options.ts";
import { WebSocketTransport, type WebSocketTransportOptions } from "../../../src/transports/websocket/websocket.ts";
import { describeOptions, secret } from "../../option-table.ts";

const create = (options: object) => new WebSocketTransport("wss://mcp.example/ws", options);

describeOptions<WebSocketTransportOptions>({
  name: "WebSocketTransport",
  call: create,
  needed: {},
  bad: {
    credential: [secret, {}, { headers: { authorization: secret } }],
    webSocket: [{}, "ws"],
    subprotocol: ["bearer", {}],
    query: [secret, true],
    fetch: ["x", {}],
    allowInsecure: ["mcp.example", [1]],
    clock: [{}, Date],
  },
  idle: [idleWebSocketOptions, { query: { parameter: "token", exposeTokenInUrls: true }, subprotocol: (token) => token }],
});

test.each<[rule: string, query: object, text: RegExp]>([
  ["a token in the URL needs consent", { parameter: "token" }, /logs.*exposeTokenInUrls/],
  ["in this very form", { parameter: "token", exposeTokenInUrls: "yes" }, /logs.*exposeTokenInUrls/],
  ["and a parameter", { exposeTokenInUrls: true }, /`query\.parameter` is empty/],
  ["with a name", { parameter: "", exposeTokenInUrls: true }, /`query\.parameter` is empty/],
])("%s", (_rule, query, text) => {
  let error: unknown;
  try {
    create({ query });
  } catch (thrown) {
    error = thrown;
  }
  expect(error).toMatchObject({ code: "invalid_option" });
  expect(String(error) + (error as { hint: string }).hint).toMatch(text);
});
