/** A process of a platform that acts for many users. By IPC it is asked to store logins, to refresh them all at once, and for a bare loop. */
import { readdirSync } from "node:fs";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { MemoryStore, type Store, TokenManagers } from "mcp-client-auth";
import { sqliteStore } from "mcp-client-auth/node";
import { firstTokens } from "./strict-server.ts";

/** Where logins are, and at which server. */
export interface ProgramSettings {
  /** The authorization server; the protected one is beside it. */
  issuer: string;
  store: { kind: "memory" } | { kind: "sqlite"; folder: string } | { kind: "redis"; url: string };
  logins: number;
  /** The name of the first login at the server. */
  prefix: string;
}

/** What a storm has come to. */
export interface StormReport {
  tokens: number;
  failures: Record<string, number>;
  ms: number;
  firstTokenMs: number;
  /** Longest block of the event loop, in ms. */
  blockedMs: number;
  /** File descriptors, at most. */
  descriptors: number;
}

const clientId = "platform";
let close: () => Promise<void> = async () => {};
let kept: Store | undefined;

async function openStore(settings: ProgramSettings["store"]): Promise<Store> {
  if (settings.kind === "sqlite") return sqliteStore({ app: "storm", folder: settings.folder, keychain: false });
  if (settings.kind === "memory") {
    kept ??= new MemoryStore();
    return kept;
  }
  const [{ createClient }, { redisStore }] = await Promise.all([import("redis"), import("mcp-client-auth/redis")]);
  const client = createClient({ url: settings.url });
  await client.connect();
  close = async () => void (await client.close());
  return redisStore({ client, keys: ["A".repeat(43)], prefix: "storm" });
}

async function open(settings: ProgramSettings) {
  const store = await openStore(settings.store);
  return new TokenManagers({ serverUrl: `${settings.issuer}/mcp`, store, clientId });
}

const names = ({ logins, prefix }: ProgramSettings) => Array.from({ length: logins }, (_, n) => `${prefix}${n}`);

const methods = {
  /** Stores logins whose access tokens have expired. */
  async seed(settings: ProgramSettings) {
    await using users = await open(settings);
    const all = names(settings);
    for (let n = 0; n < all.length; n += 500) {
      await Promise.all(
        all.slice(n, n + 500).map(async (name) => {
          await users.forAccount(name).setTokens({ ...firstTokens(name), expiresIn: 0.001, issuer: settings.issuer, clientId });
        }),
      );
    }
    await close();
  },
  async storm(settings: ProgramSettings): Promise<StormReport> {
    await using users = await open(settings);
    const delay = monitorEventLoopDelay({ resolution: 5 });
    let descriptors = 0;
    const watching = setInterval(() => {
      descriptors = Math.max(descriptors, readdirSync("/proc/self/fd").length);
    }, 50);
    delay.enable();
    const began = performance.now();
    let firstTokenMs = 0;
    const outcomes = await Promise.all(
      names(settings).map((name) =>
        users
          .forAccount(name)
          .getAccessToken()
          .then((token) => {
            firstTokenMs ||= performance.now() - began;
            return token === `access.${name}.1` ? "token" : "another token";
          })
          .catch((error: { code?: string }) => error.code ?? String(error)),
      ),
    );
    const ms = performance.now() - began;
    delay.disable();
    clearInterval(watching);
    const { token: tokens = [], ...others } = Object.groupBy(outcomes, (outcome) => outcome);
    const failures = Object.fromEntries(Object.entries(others).map(([outcome, all]) => [outcome, all?.length ?? 0]));
    await close();
    return { tokens: tokens.length, failures, ms, firstTokenMs, blockedMs: delay.max / 1e6, descriptors };
  },
  /** The same number of token requests, so many in flight, and nothing else. */
  async bare(settings: ProgramSettings, inFlight: number): Promise<number> {
    const waiting = names(settings);
    const began = performance.now();
    await Promise.all(
      Array.from({ length: inFlight }, async () => {
        for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
          const body = new URLSearchParams({
            grant_type: "refresh_token",
            refresh_token: firstTokens(name).refreshToken,
            client_id: clientId,
          });
          const response = await fetch(`${settings.issuer}/token`, { method: "POST", body });
          if (!(await response.json()).access_token) throw new Error("no token");
        }
      }),
    );
    return performance.now() - began;
  },
};
export type Methods = typeof methods;

process.on("message", async ({ method, args }: { method: keyof Methods; args: [ProgramSettings, number] }) => {
  try {
    process.send?.({ value: await methods[method](...args) });
  } catch (error) {
    process.send?.({ error: String((error as Error).stack) });
  }
});
process.on("disconnect", () => process.exit());
