/** Makes so many managers, and prints how many bytes of the heap each keeps: `memory.ts` starts it. */
import { MemoryStore, type Store, systemClock, TokenManager } from "mcp-client-auth";
import { createMcpAuth, sqliteStore } from "mcp-client-auth/node";
import type { ManagerKind } from "./memory.ts";
import { FullProvider } from "./sdk.ts";

const serverUrl = "https://mcp.example/mcp";
const accessToken = "a".repeat(800);
const rounds = 3;

const [, , kind, wanted, folder = ""] = process.argv as unknown as [string, string, ManagerKind, string, string?];
const count = Number(wanted);

let aheadMs = 0;
const clock = { ...systemClock, now: () => Date.now() + aheadMs };
const fetch: typeof globalThis.fetch = async () => new Response("{}");
const shared = new MemoryStore();

function create(account: string): TokenManager {
  if (kind === "createMcpAuth") return createMcpAuth(serverUrl, { account, folder, keychain: false, fetch, clock });
  return new TokenManager({ serverUrl, account, fetch, clock, ...(kind === "manager, one store for all" && { store: shared }) });
}

/** Bytes of the heap that `make` adds, for each of so many. */
async function bytes(size: number, make: (i: number) => unknown): Promise<number> {
  const kept: unknown[] = new Array(size).fill(undefined);
  const before = await settled();
  for (let i = 0; i < size; i++) kept[i] = await make(i);
  return (await settled(() => kept.length)) / size - before / size;
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
  if (kind === "manager, a store of its own") return;
  const store: Store = kind === "createMcpAuth" ? sqliteStore({ folder, keychain: false }) : shared;
  for (let i = 0; i < size; i++)
    await new TokenManager({ serverUrl, account: `user-${i}`, store }).setTokens({ accessToken, expiresIn: 36_000 });
}

/** Uses a manager once, as a request does. */
async function use(auth: TokenManager): Promise<TokenManager> {
  if (kind === "manager, a store of its own") await auth.setTokens({ accessToken, expiresIn: 36_000 });
  const response = await auth.fetch(auth.serverUrl, { method: "POST", body: "{}" });
  await response.arrayBuffer();
  return auth;
}

async function idle(size: number): Promise<number> {
  const all: TokenManager[] = [];
  await seed(size);
  const before = await settled();
  for (let i = 0; i < size; i++) all.push(await use(create(`user-${i}`)));
  // What is left alone is noticed by calls of others.
  for (let i = 0; i < 2; i++) {
    aheadMs += 1_200_000;
    await use(create("user-0"));
  }
  return ((await settled(() => all.length)) - before) / size;
}

const best = async (measure: () => Promise<number>) => {
  const results: number[] = [];
  for (let i = 0; i < rounds; i++) results.push(await measure());
  return Math.round(Math.min(...results));
};

if (kind === "SDK provider") {
  console.log(JSON.stringify({ unused: await best(() => bytes(count, () => new FullProvider())) }));
} else {
  const unused = await best(() => bytes(count, (i) => create(`user-${i}`)));
  // Each login of the default store is a durable write.
  const size = kind === "createMcpAuth" ? Math.min(count, 500) : count;
  console.log(JSON.stringify({ unused, idle: await best(() => idle(size)) }));
}
process.exit();
