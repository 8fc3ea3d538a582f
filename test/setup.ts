/** What every test promises beside its own assertions: no rejection without a handler, no listener left open. */
import { randomUUID } from "node:crypto";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeEach, expect, vi } from "vitest";

const unhandled: unknown[] = [];
// The real one, also while a test has replaced the timers.
const { setImmediate } = globalThis;
process.on("unhandledRejection", (reason) => unhandled.push(reason));

/** Logins of tests never meet those of the machine's user, nor each other, nor the user's keychain. Created by who needs them. */
const folders = join(tmpdir(), `mcp-client-auth-${randomUUID()}`);
beforeEach(() => {
  process.env.MCP_AUTH_DATA_DIR = join(folders, randomUUID());
  process.env.MCP_AUTH_KEYCHAIN = "off";
});

afterEach(async () => {
  // Node reports an unhandled rejection after the microtasks of the turn in which it happened.
  await new Promise((resolve) => setImmediate(resolve));
  expect(unhandled.splice(0), "unhandled rejections").toEqual([]);
});

afterAll(() => rm(folders, { recursive: true, force: true }));

afterAll(async () => {
  // A listener counts until its close has finished.
  const open = () => process.getActiveResourcesInfo().filter((resource) => resource === "TCPServerWrap").length;
  await vi.waitFor(() => expect(open(), "listeners that nobody closed").toBe(0), { timeout: 45_000 });
});
