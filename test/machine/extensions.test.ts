/** REQ-EXT-01: what an app declares with our identifiers is what a real server gets to see. */
import { Client as CurrentClient, StreamableHTTPClientTransport as CurrentTransport } from "@modelcontextprotocol/client";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js";
import { expect, onTestFinished, test } from "vitest";
import { extensions } from "../../src/machine/index.ts";
import { program, startServer } from "./support.ts";

const info = { name: "test", version: "1" };
const capabilities = { extensions: { [extensions.clientCredentials]: {} } };
const declared = { extensions: { "io.modelcontextprotocol/oauth-client-credentials": {} } };

interface Message {
  params?: { capabilities?: object; _meta?: Record<string, unknown> };
}

test("REQ-EXT-01 SDK v1 declares them in `initialize`", async () => {
  const server = await startServer();
  const client = new Client(info, { capabilities });
  onTestFinished(() => client.close());
  await client.connect(new StreamableHTTPClientTransport(new URL(server.url), { fetch: program(server).auth.fetch }) as Transport);
  const sent = server.mcpServer.calls("initialize").map(({ json }) => (json as Message).params?.capabilities);
  // The first one was refused, since it went without a token.
  expect(sent.length).toBeGreaterThan(0);
  for (const capabilities of sent) expect(capabilities).toMatchObject(declared);
});

test("REQ-EXT-01 SDK v2 declares them in each request of 2026-07-28", async () => {
  const server = await startServer();
  const client = new CurrentClient(info, { capabilities, versionNegotiation: { mode: "auto" } });
  onTestFinished(() => client.close());
  await client.connect(new CurrentTransport(new URL(server.url), { fetch: program(server).auth.fetch }));
  await client.listTools();
  const sent = server.mcpServer.calls("tools/list").map(({ json }) => (json as Message).params?._meta);
  expect(sent).toHaveLength(1);
  expect(sent[0]).toMatchObject({
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": declared,
  });
});
