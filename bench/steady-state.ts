import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Store, TokenManager } from "mcp-client-auth";
import { sqliteStore } from "mcp-client-auth/node";

export interface SteadyState {
  what: string;
  value: number;
  unit: string;
}

const serverUrl = "https://mcp.example/mcp";
const tokens = { accessToken: "a".repeat(800), expiresIn: 3600 };

/**
 * What a call costs when the token is valid and known, without any network.
 *
 * @param calls in one of seven rounds: few count the same operations, and measure nothing
 * @throws Error when a call reads the store
 */
export async function steadyState(calls = 20_000): Promise<SteadyState[]> {
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
    calls,
    () => fetch(url, request()),
    () => auth.fetch(url, request()),
  );
  const [nothing, token, provided] = await times(
    calls,
    async () => "token",
    () => auth.getAccessToken(),
    () => auth.headers({ method: "POST", url }),
  );
  const operationsInCalls = operations() - before;
  if (operationsInCalls > 0) throw new Error(`calls with a valid token asked the store ${operationsInCalls} times`);
  rmSync(folder, { recursive: true });
  return [
    { what: "auth.fetch above a plain fetch", value: round((authorized as number) - (plain as number)), unit: "ns" },
    { what: "… where the request alone, with its Headers, costs", value: round(plain as number), unit: "ns" },
    { what: "getAccessToken() above an async function", value: round((token as number) - (nothing as number)), unit: "ns" },
    { what: "headers() above an async function", value: round((provided as number) - (nothing as number)), unit: "ns" },
    { what: "operations of the default store in all these calls", value: operationsInCalls, unit: "" },
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
