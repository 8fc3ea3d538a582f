/** A process of a platform that acts for many users. By IPC it is asked to store logins, to refresh them all at once, and for a bare loop. */
import { appendFileSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { MemoryStore, type Store, TokenManagers } from "mcp-client-auth";
import { sqliteStore } from "mcp-client-auth/node";
import { firstTokens } from "./strict-server.ts";

/** Where logins are, and at which server. */
export interface ProgramSettings {
  /** The authorization servers; beside each is a protected one, where each user has a login. */
  issuers: readonly string[];
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

/** The users of each server. */
async function open(settings: ProgramSettings) {
  const store = await openStore(settings.store);
  const servers = settings.issuers.map((issuer) => ({ issuer, users: new TokenManagers({ serverUrl: `${issuer}/mcp`, store, clientId }) }));
  return { servers, [Symbol.asyncDispose]: async () => void (await Promise.all(servers.map(({ users }) => users.dispose()))) };
}

const names = ({ logins, prefix }: ProgramSettings) => Array.from({ length: logins }, (_, n) => `${prefix}${n}`);

function fill(path: string): void {
  for (const size of [65_536, 4096, 1]) {
    try {
      for (;;) appendFileSync(path, Buffer.alloc(size));
    } catch (error) {
      if (Reflect.get(error as Error, "code") !== "ENOSPC") throw error;
    }
  }
}

function counted(outcomes: readonly string[]): Pick<StormReport, "tokens" | "failures"> {
  const { token: tokens = [], ...others } = Object.groupBy(outcomes, (outcome) => outcome);
  return {
    tokens: tokens.length,
    failures: Object.fromEntries(Object.entries(others).map(([outcome, all]) => [outcome, all?.length ?? 0])),
  };
}

const methods = {
  /** Stores logins whose access tokens have expired. */
  async seed(settings: ProgramSettings) {
    await using opened = await open(settings);
    for (const { issuer, users } of opened.servers) {
      const all = names(settings);
      while (all.length > 0) {
        const portion = all.splice(0, 500).map(async (name) => {
          await users.forAccount(name).setTokens({ ...firstTokens(name), expiresIn: 0.001, issuer, clientId });
        });
        await Promise.all(portion);
      }
    }
    await close();
  },
  async storm(settings: ProgramSettings): Promise<StormReport> {
    await using opened = await open(settings);
    const delay = monitorEventLoopDelay({ resolution: 5 });
    let descriptors = 0;
    const watching = setInterval(() => {
      descriptors = Math.max(descriptors, readdirSync("/proc/self/fd").length);
    }, 50);
    delay.enable();
    const began = performance.now();
    let firstTokenMs = 0;
    const outcomes = await Promise.all(
      names(settings).flatMap((name) =>
        opened.servers.map(({ users }) =>
          users
            .forAccount(name)
            .getAccessToken()
            .then((token) => {
              firstTokenMs ||= performance.now() - began;
              return token === `access.${name}.1` ? "token" : "another token";
            })
            .catch((error: { code?: string }) => error.code ?? String(error)),
        ),
      ),
    );
    const ms = performance.now() - began;
    delay.disable();
    clearInterval(watching);
    await close();
    return { ...counted(outcomes), ms, firstTokenMs, blockedMs: delay.max / 1e6, descriptors };
  },
  /** The disk is full from the first third of the tokens on, for a while; who gets an error asks again afterwards. */
  async fullDisk(settings: ProgramSettings): Promise<Pick<StormReport, "tokens" | "failures">> {
    const filler = join(settings.store.kind === "sqlite" ? settings.store.folder : "", "filler");
    const freed = Promise.withResolvers<void>();
    const errors: string[] = [];
    let count = 0;
    await using opened = await open(settings);
    const ask = async (users: TokenManagers, name: string): Promise<string> => {
      try {
        const token = await users.forAccount(name).getAccessToken();
        if (++count === Math.floor(settings.logins / 3)) {
          fill(filler);
          setTimeout(() => {
            rmSync(filler);
            freed.resolve();
          }, 1500);
        }
        return token === `access.${name}.1` ? "token" : "another token";
      } catch (error) {
        errors.push((error as { code?: string }).code ?? String(error));
        if (errors.length > settings.logins * 2) return "error";
        await freed.promise;
        return ask(users, name);
      }
    };
    const outcomes = await Promise.all(names(settings).flatMap((name) => opened.servers.map(({ users }) => ask(users, name))));
    // What could not be written is in memory alone: it is written now.
    await freed.promise;
    await new Promise((resolve) => setTimeout(resolve, 1000));
    return { tokens: counted(outcomes).tokens, failures: counted(errors).failures };
  },
  /** The same with a plain provider object of the SDK for each login. */
  async sdk(settings: ProgramSettings): Promise<StormReport> {
    const [{ auth }, { FullProvider }] = await Promise.all([import("@modelcontextprotocol/sdk/client/auth.js"), import("../sdk.ts")]);
    const logins = names(settings).flatMap((name) =>
      settings.issuers.map((issuer) => {
        const provider = new FullProvider();
        const { accessToken, refreshToken } = firstTokens(name);
        provider.saveClientInformation({ client_id: clientId, issuer });
        provider.saveTokens({ access_token: accessToken, refresh_token: refreshToken, token_type: "Bearer", issuer });
        return { provider, name, issuer };
      }),
    );
    const delay = monitorEventLoopDelay({ resolution: 5 });
    delay.enable();
    const began = performance.now();
    let firstTokenMs = 0;
    const outcomes = await Promise.all(
      logins.map(async ({ provider, name, issuer }) => {
        try {
          await auth(provider as never, { serverUrl: `${issuer}/mcp` });
        } catch (error) {
          return (error as Error).name;
        }
        firstTokenMs ||= performance.now() - began;
        return (provider.tokens() as { access_token?: string }).access_token === `access.${name}.1` ? "token" : "no token";
      }),
    );
    const ms = performance.now() - began;
    delay.disable();
    return { ...counted(outcomes), ms, firstTokenMs, blockedMs: delay.max / 1e6, descriptors: 0 };
  },
  /** The same number of token requests, so many in flight, and nothing else. */
  async bare(settings: ProgramSettings, inFlight: number): Promise<number> {
    const waiting = names(settings).flatMap((name) => settings.issuers.map((issuer) => ({ name, issuer })));
    const began = performance.now();
    await Promise.all(
      Array.from({ length: inFlight * settings.issuers.length }, async () => {
        for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
          const { refreshToken } = firstTokens(next.name);
          const body = new URLSearchParams({ grant_type: "refresh_token", refresh_token: refreshToken, client_id: clientId });
          const response = await fetch(`${next.issuer}/token`, { method: "POST", body });
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
