import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { MemoryStore, type Store, TokenManager } from "mcp-client-auth";
import { sqliteStore } from "mcp-client-auth/node";
import { FullProvider } from "./sdk.ts";

export interface SteadyState {
  what: string;
  value: number;
  unit: string;
}

const serverUrl = "https://mcp.example/mcp";
const tokens = { accessToken: "a".repeat(800), expiresIn: 3600 };

/** How much is measured. */
interface Effort {
  /** Calls in one of seven rounds. */
  calls: number;
  /** Objects whose memory is measured at once. */
  objects: number;
}

/**
 * What a call costs when the token is valid and known, without any network.
 *
 * @param effort less of it counts the same operations, and measures nothing
 * @throws Error when a call reads the store
 */
export async function steadyState(effort: Effort = { calls: 20_000, objects: 10_000 }): Promise<SteadyState[]> {
  const answer = new Response("{}", { headers: { "content-type": "application/json" } });
  const fetch: typeof globalThis.fetch = async () => answer;
  const folder = mkdtempSync(join(tmpdir(), "bench-steady-"));
  const { store, operations } = counting(sqliteStore({ app: "bench", folder, keychain: false }));
  await using auth = new TokenManager({ serverUrl, fetch, store });
  await auth.setTokens(tokens);

  // What the SDKs' transports hand to `fetch`.
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: "count", arguments: {} } });
  const { signal } = new AbortController();
  const url = new URL(serverUrl);
  const request = () => ({
    method: "POST",
    headers: new Headers({ "content-type": "application/json", accept: "application/json, text/event-stream" }),
    body,
    signal,
  });

  await auth.fetch(url, request());
  const before = operations();
  if (before === 0) throw new Error("the store's operations are not counted");
  const [plain, authorized] = await times(
    effort.calls,
    () => fetch(url, request()),
    () => auth.fetch(url, request()),
  );
  const [nothing, token, provided] = await times(
    effort.calls,
    async () => "token",
    () => auth.getAccessToken(),
    () => auth.headers({ method: "POST", url }),
  );
  const operationsInCalls = operations() - before;
  if (operationsInCalls > 0) throw new Error(`calls with a valid token asked the store ${operationsInCalls} times`);
  rmSync(folder, { recursive: true });
  const shared = new MemoryStore();
  return [
    { what: "auth.fetch above a plain fetch", value: round((authorized as number) - (plain as number)), unit: "ns" },
    { what: "… where the request alone, with its Headers, costs", value: round(plain as number), unit: "ns" },
    { what: "getAccessToken() above an async function", value: round((token as number) - (nothing as number)), unit: "ns" },
    { what: "headers() above an async function", value: round((provided as number) - (nothing as number)), unit: "ns" },
    { what: "operations of the default store in all these calls", value: operationsInCalls, unit: "" },
    {
      what: "memory a TokenManager, one store for all",
      value: memory(effort.objects, () => new TokenManager({ serverUrl, fetch, store: shared })),
      unit: "bytes",
    },
    {
      what: "memory a TokenManager with a store of its own",
      value: memory(effort.objects, () => new TokenManager({ serverUrl, fetch })),
      unit: "bytes",
    },
    { what: "memory an SDK OAuthClientProvider", value: memory(effort.objects, () => new FullProvider()), unit: "bytes" },
  ];
}

/** ns a call: the best of several rounds in which all take turns. */
async function times(calls: number, ...functions: (() => Promise<unknown>)[]): Promise<number[]> {
  const best = functions.map(() => Number.POSITIVE_INFINITY);
  for (let round = 0; round < 7; round++) {
    for (const [i, call] of functions.entries()) {
      const start = process.hrtime.bigint();
      for (let n = 0; n < calls; n++) await call();
      best[i] = Math.min(best[i] as number, Number(process.hrtime.bigint() - start) / calls);
    }
  }
  return best;
}

function memory(count: number, create: () => unknown): number {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const objects: unknown[] = Array.from({ length: count }, create);
  objects.length = 0;
  collect();
  const before = process.memoryUsage().heapUsed;
  for (let i = 0; i < count; i++) objects.push(create());
  collect();
  const bytes = (process.memoryUsage().heapUsed - before) / objects.length;
  return Math.round(bytes / 10) * 10;
}

function counting(inner: Store): { store: Store; operations(): number } {
  let count = 0;
  const store = new Proxy(inner, {
    get: (target, name) => {
      const method = Reflect.get(target, name) as (...args: unknown[]) => unknown;
      return (...args: unknown[]) => {
        count++;
        return method.apply(target, args);
      };
    },
  });
  return { store, operations: () => count };
}

const round = (ns: number) => Math.round(ns);
