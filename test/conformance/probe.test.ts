/** The one MCP message of our own, `server/discover`, at real servers of every kind: valid, and without a trace. */
import { execFile } from "node:child_process";
import { globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Server } from "@modelcontextprotocol/sdk/server/index.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import { describe, expect, onTestFinished, test } from "vitest";
import { createMcpAuth } from "../../src/node/index.ts";
import { startMcpServer } from "../fixture/index.ts";

/** What `authorize()` says, with everything that was sent to the server and answered in full. */
async function ask(url: string) {
  const exchanges: { method: string; status: number; session: string | null; answer: string }[] = [];
  const recording: typeof fetch = async (input, init) => {
    const response = await fetch(input, init);
    // A stream is never read to its end.
    const isStream = init?.method !== "POST";
    if (new URL(input as URL).pathname === new URL(url).pathname) {
      const answer = isStream ? "" : await response.clone().text();
      exchanges.push({
        method: init?.method ?? "GET",
        status: response.status,
        session: response.headers.get("mcp-session-id"),
        answer,
      });
    }
    return response;
  };
  const auth = createMcpAuth(url, { interactive: false, fetch: recording });
  onTestFinished(() => auth.dispose());
  return { outcome: await auth.authorize(), exchanges };
}

/** A server of the SDK v1 alone, which knows nothing of 2026-07-28. */
async function startOlderServer(sessions: boolean) {
  const transport = new StreamableHTTPServerTransport({
    sessionIdGenerator: sessions ? () => "a-session" : undefined,
  } as ConstructorParameters<typeof StreamableHTTPServerTransport>[0]);
  // The SDK's own classes do not agree with its interfaces under exactOptionalPropertyTypes.
  await new Server({ name: "older", version: "1" }, { capabilities: {} }).connect(transport as Parameters<Server["connect"]>[0]);
  const methods: (string | undefined)[] = [];
  const http = createServer((req, res) => {
    if (req.url !== "/mcp") return res.writeHead(404).end();
    methods.push(req.method);
    return transport.handleRequest(req, res);
  });
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  onTestFinished(async () => {
    await transport.close();
    http.closeAllConnections();
    await new Promise((resolve) => http.close(resolve));
  });
  return { url: `http://127.0.0.1:${(http.address() as AddressInfo).port}/mcp`, transport, methods };
}

describe("asking whether a login is needed", () => {
  test("2026-07-28: the message is valid, its headers are complete, and the server answers it", async () => {
    await using server = await startMcpServer();
    const { outcome, exchanges } = await ask(server.url);
    expect([outcome, exchanges.map(({ status }) => status)]).toEqual(["not-required", [200]]);
    expect(JSON.parse(exchanges[0]?.answer ?? "")).toMatchObject({
      id: "mcp-client-auth",
      result: { supportedVersions: ["2026-07-28"], capabilities: { tools: {} } },
    });

    const [request] = server.calls("server/discover");
    expect(request?.headers).toMatchObject({
      "mcp-protocol-version": "2026-07-28",
      "mcp-method": "server/discover",
      "content-type": "application/json",
      accept: "application/json, text/event-stream",
    });
    expect(request?.headers["mcp-session-id"]).toBeUndefined();
    expect([server.openStreams, server.inFlight]).toEqual([0, 0]);
  });

  test.each([
    ["with sessions", true],
    ["without sessions", false],
  ])("2025-11-25, %s: it answers, and no session is opened", async (_name, sessions) => {
    const server = await startOlderServer(sessions);
    const { outcome, exchanges } = await ask(server.url);
    expect(outcome).toBe("not-required");
    expect(exchanges.map(({ status, session }) => [status < 500, session])).toEqual([[true, null]]);
    expect([server.methods, server.transport.sessionId]).toEqual([["POST"], undefined]);
  });

  test("SSE only: the refused POST is repeated as a GET, whose stream is closed at once", async () => {
    await using server = await startMcpServer();
    const { outcome, exchanges } = await ask(server.sseUrl);
    expect([outcome, exchanges.map(({ method, status }) => [method, status])]).toEqual([
      "not-required",
      [
        ["POST", 405],
        ["GET", 200],
      ],
    ]);
    await expect.poll(() => server.openStreams).toBe(0);
  });
});

test("the official JSON schema of 2026-07-28 accepts the message", async () => {
  const folder = mkdtempSync(join(tmpdir(), "probe-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const root = join(import.meta.dirname, "../..");
  // The scenario as a whole asks for tool calls and fails without; its check of messages is what counts here.
  const command = ["client", "--command", "node test/conformance/probe-client.ts", "--scenario", "tools_call"];
  await new Promise<void>((done) => {
    const options = [...command, "--spec-version", "2026-07-28", "--output-dir", folder];
    execFile(join(root, "node_modules/.bin/conformance"), options, { cwd: root }, () => done());
  });
  const [report = ""] = globSync("**/checks.json", { cwd: folder });
  const checks = JSON.parse(readFileSync(join(folder, report), "utf8")) as { id: string; status: string; details?: object }[];
  expect(checks).toContainEqual(
    expect.objectContaining({ id: "wire-schema-valid", status: "SUCCESS", details: expect.objectContaining({ violations: [] }) }),
  );
  expect(checks.find(({ id }) => id === "wire-schema-valid")?.details).toMatchObject({
    messagesValidated: expect.toSatisfy((count) => count > 0),
  });
});
