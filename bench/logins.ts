import { mkdtempSync, readdirSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { TokenManager } from "mcp-client-auth";
import { createMcpAuth, sqliteStore } from "mcp-client-auth/node";
import { median, rounded } from "./numbers.ts";
import { startTimes } from "./starts.ts";

/** What a program pays for the logins of other users. */
export interface LoginsCost {
  "logins stored": number;
  /** A fresh process, from `createMcpAuth` with its import to the first token, above an empty program. */
  "start to first token, ms": number;
  /** In a process that has a `createMcpAuth` for each of them: that of one more user. */
  "first token of a further user, ms": number;
  /** What one of those takes that has its token and is idle. */
  "memory a user, bytes": number;
  /** How often a process with all of them has the database open. */
  "databases open": number;
}

/** What many writes at once cost. */
export interface WritesCost {
  "writes at once": number;
  "in all, ms": number;
  "one alone, ms": number;
  "longest block of the event loop, ms": number;
}

const serverUrl = "https://mcp.example/mcp";
const accessToken = "a".repeat(800);

/** With so many logins stored, and so many users in one process. */
export async function manyLogins(counts: readonly number[] = [1, 1000, 10_000], turns = 21): Promise<LoginsCost[]> {
  const rows: LoginsCost[] = [];
  for (const count of counts) rows.push(await withLogins(count, (folder) => costWith(count, folder, turns)));
  return rows;
}

async function withLogins<T>(count: number, measure: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "bench-logins-"));
  try {
    const store = sqliteStore({ app: "bench", folder, keychain: false });
    await inPortions(count, async (n) => {
      await using auth = new TokenManager({ serverUrl, account: account(n), store });
      await auth.setTokens({ accessToken, expiresIn: 36_000 });
    });
    return await measure(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function costWith(count: number, folder: string, turns: number): Promise<LoginsCost> {
  const env = { MCP_AUTH_DATA_DIR: folder, DISPLAY: ":0", CI: "" };
  const { above } = await startTimes({ called }, turns, env);
  const further = 50;
  const open = (n: number) => createMcpAuth(serverUrl, { app: "bench", folder, keychain: false, interactive: false, account: account(n) });
  const users: TokenManager[] = [];
  const before = memory();
  await inPortions(count, async (n) => {
    const auth = open(n);
    users.push(auth);
    await auth.getAccessToken();
  });
  const memoryEach = (memory() - before) / count;
  const databases = databasesOpen();
  const times: number[] = [];
  for (let n = 0; n < further; n++) {
    const started = performance.now();
    const auth = open(n % count);
    if ((await auth.getAccessToken()) !== accessToken) throw new Error("no token");
    times.push(performance.now() - started);
    users.push(auth);
  }
  await Promise.all(users.map((auth) => auth.dispose()));
  return {
    "logins stored": count,
    "start to first token, ms": above.called?.["minimum, ms"] ?? Number.NaN,
    "first token of a further user, ms": rounded(median(times), 2),
    "memory a user, bytes": count < 100 ? Number.NaN : Math.round(memoryEach / 10) * 10,
    "databases open": databases,
  };
}

const called = `import { createMcpAuth } from "mcp-client-auth/node";
const auth = createMcpAuth(${JSON.stringify(serverUrl)}, { app: "bench", account: ${JSON.stringify(account(0))} });
if ((await auth.getAccessToken()).length !== 800) throw new Error("no token");`;

/** So many records written at the same time, as after a storm of refreshes. */
export async function manyWrites(count = 2000): Promise<WritesCost> {
  const folder = mkdtempSync(join(tmpdir(), "bench-writes-"));
  try {
    const store = sqliteStore({ app: "bench", folder, keychain: false });
    const record = (n: number) => ({ v: 1, n, accessToken, refreshToken: "r".repeat(40) });
    const alone: number[] = [];
    for (let n = 0; n < 60; n++) {
      const started = performance.now();
      await store.set("alone", record(n));
      alone.push(performance.now() - started);
    }
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    const started = performance.now();
    await Promise.all(Array.from({ length: count }, (_, n) => store.set(account(n), record(n))));
    const total = performance.now() - started;
    // What has blocked the loop is noted when it is free again.
    await new Promise((resolve) => setTimeout(resolve, 5));
    delay.disable();
    return {
      "writes at once": count,
      "in all, ms": Math.round(total),
      "one alone, ms": rounded(median(alone), 2),
      "longest block of the event loop, ms": rounded(delay.max / 1e6),
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function account(n: number): string {
  return `user-${n}`;
}

async function inPortions(count: number, work: (n: number) => Promise<void>): Promise<void> {
  for (let first = 0; first < count; first += 64)
    await Promise.all(Array.from({ length: Math.min(64, count - first) }, (_, i) => work(first + i)));
}

/** Bytes in use, after what is not needed any more has gone. */
function memory(): number {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

function databasesOpen(): number {
  if (process.platform !== "linux") return Number.NaN;
  const links = readdirSync("/proc/self/fd").map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return "";
    }
  });
  return links.filter((path) => path.endsWith("records.sqlite")).length;
}
