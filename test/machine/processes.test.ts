/** Eight processes of a job, one authorization server: one token request each time. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { gate, type ProtectedServer, tokenRequest } from "../fixture/index.ts";
import { minutes } from "../storm/support.ts";
import { type MachineProcess, startProcess } from "./child.ts";
import { clientId, clientSecret, startServer } from "./support.ts";

const all = Array.from({ length: 8 });
const everyone = (outcome: string) => all.map(() => outcome);

/** A server, and a folder that all processes share. */
async function job(more: Record<string, string> = {}) {
  const server = await startServer();
  const folder = mkdtempSync(join(tmpdir(), "mcp-client-auth-job-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const variables = {
    ...{ MCP_AUTH_SERVER_URL: server.url, MCP_AUTH_CLIENT_ID: clientId, MCP_AUTH_CLIENT_SECRET: clientSecret },
    ...{ MCP_AUTH_DATA_DIR: folder, MCP_AUTH_KEYCHAIN: "off", ...more },
  };
  const start = async () => {
    const started = await startProcess(variables);
    onTestFinished(() => started.kill());
    return started;
  };
  return { server, start, startAll: () => Promise.all(all.map(start)) };
}

const requests = ({ authorizationServer }: ProtectedServer) => authorizationServer.tokenRequests().length;
const callAll = (processes: MachineProcess[], aheadMs?: number) =>
  Promise.all(processes.map((one) => one.ask(aheadMs === undefined ? {} : { aheadMs })));

test("cold, at expiry, and when the token is refused: one token request each time, and no call fails", { timeout: 180_000 }, async () => {
  const { server, startAll } = await job();
  const processes = await startAll();
  expect(await callAll(processes)).toEqual(everyone("200"));
  expect(requests(server)).toBe(1);
  expect(await callAll(processes, minutes(6))).toEqual(everyone("200"));
  expect(requests(server)).toBe(2);
  server.mcpServer.revokeAll();
  expect(await callAll(processes)).toEqual(everyone("200"));
  expect(requests(server)).toBe(3);
});

test("with a wrong secret: one token request, and everybody is told", { timeout: 180_000 }, async () => {
  const { server, startAll } = await job({ MCP_AUTH_CLIENT_SECRET: "a wrong secret", TELL_LOCKS: "1" });
  const held = gate(tokenRequest());
  server.authorizationServer.intercept(held.hook);
  const processes = await startAll();
  const outcomes = callAll(processes);
  await held.reached(1);
  // Whoever asks later has not been told of this refusal, and tries by itself.
  await Promise.all(processes.map(({ waiting }) => waiting));
  held.open();
  expect(await outcomes).toEqual(everyone("invalid_client"));
  expect(requests(server)).toBe(1);
});

test("one that is killed while it asks for the token delays nobody for long", { timeout: 180_000 }, async () => {
  const { server, start, startAll } = await job();
  const held = gate(tokenRequest());
  server.authorizationServer.intercept(held.hook);
  const first = await start();
  // All have started before anything is asked: that takes longer on a busy machine than a request may.
  const others = await startAll();
  first.ask().catch(() => {});
  await held.reached(1);
  const outcomes = callAll(others);
  await first.kill();
  const killedAt = performance.now();
  // The one that takes over.
  await held.reached(2);
  expect(performance.now() - killedAt).toBeLessThan(15_000);
  held.open();
  expect(await outcomes).toEqual(everyone("200"));
  expect(requests(server)).toBe(2);
});

test("short processes, one after the other: one token request", { timeout: 180_000 }, async () => {
  const { server, start } = await job();
  for (let count = 0; count < 12; count++) {
    const one = await start();
    expect(await one.ask()).toBe("200");
    expect(await one.end()).toBe(0);
  }
  expect(requests(server)).toBe(1);
});
