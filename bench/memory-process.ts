/** Makes so many managers, and prints how many bytes of the heap each keeps: `memory.ts` starts it. */
import { MemoryStore, type Store, systemClock, TokenManager, TokenManagers } from "mcp-client-auth";
import { createMcpAuth, sqliteStore } from "mcp-client-auth/node";
import type { ManagerKind } from "./memory.ts";
import { FullProvider } from "./sdk.ts";

const serverUrl = "https://mcp.example/mcp";
const accessToken = "a".repeat(800);

const [, , kind, wanted, folder = ""] = process.argv as unknown as [string, string, ManagerKind, string, string?];
const count = Number(wanted);

let aheadMs = 0;
const clock = { ...systemClock, now: () => Date.now() + aheadMs };
const fetch: typeof globalThis.fetch = async () => new Response("{}");
const shared = new MemoryStore();
const users = new TokenManagers({ serverUrl, fetch, clock, store: shared });

function create(account: string): TokenManager {
  if (kind === "family") return users.forAccount(account);
  if (kind === "createMcpAuth") return createMcpAuth(serverUrl, { account, folder, keychain: false, fetch, clock });
  return new TokenManager({ serverUrl, account, fetch, clock, ...(kind === "shared store" && { store: shared }) });
}

/** The heap, when everything that can go has gone. */
async function settled(stillNeeded: () => unknown = () => {}): Promise<number> {
  for (let i = 0; i < 3; i++) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    globalThis.gc?.();
  }
  const { heapUsed } = process.memoryUsage();
  stillNeeded();
  return heapUsed;
}

async function seed(size: number): Promise<void> {
  if (kind === "own store") return;
  const store: Store = kind === "createMcpAuth" ? sqliteStore({ folder, keychain: false }) : shared;
  for (let i = 0; i < size; i++)
    await new TokenManager({ serverUrl, account: `user-${i}`, store }).setTokens({ accessToken, expiresIn: 36_000 });
}

/** Uses a manager once, as a request does. */
async function use(auth: TokenManager): Promise<TokenManager> {
  if (kind === "own store") await auth.setTokens({ accessToken, expiresIn: 36_000 });
  const response = await auth.fetch(auth.serverUrl, { method: "POST", body: "{}" });
  await response.arrayBuffer();
  return auth;
}

/** Bytes of the heap for each of so many objects. */
async function bytes(size: number, make: (i: number) => unknown, afterwards: () => unknown = () => {}): Promise<number> {
  const kept: unknown[] = new Array(size).fill(undefined);
  const before = await settled();
  for (let i = 0; i < size; i++) kept[i] = await make(i);
  await afterwards();
  return ((await settled(() => kept.length)) - before) / size;
}

/** What is left alone is noticed by the calls of others. */
async function leaveAlone(): Promise<void> {
  for (let i = 0; i < 2; i++) {
    aheadMs += 600_000;
    await use(create("another"));
  }
}

/** The median of several rounds, of which the first warms up. */
async function median(measure: () => Promise<number>): Promise<number> {
  await measure();
  const results = [await measure(), await measure(), await measure()].sort((a, b) => a - b);
  return Math.round(results[1] as number);
}

if (kind === "provider") {
  console.log(JSON.stringify({ unused: await median(() => bytes(count, () => new FullProvider())) }));
} else {
  const unused = await median(() => bytes(count, (i) => create(`user-${i}`)));
  // Each login of the default store is a durable write.
  const size = kind === "createMcpAuth" ? Math.min(count, 500) : count;
  await seed(size);
  const idle = await median(() => bytes(size, (i) => use(create(`user-${i}`)), leaveAlone));
  console.log(JSON.stringify({ unused, idle }));
}
process.exit();
