import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { HeldLock, Store } from "mcp-client-auth";
import { sqliteStore } from "mcp-client-auth/node";
import { median, rounded } from "./numbers.ts";

export interface LockingCost {
  what: string;
  "minimum, ms": number;
  "median, ms": number;
}

const rounds = 60;
const record = { v: 1, accessToken: "a".repeat(800), refreshToken: "r".repeat(40) };

/** What the default store adds to a refresh: its lock, and two durable writes. */
export async function lockingCosts(): Promise<LockingCost[]> {
  const folder = mkdtempSync(join(tmpdir(), "bench-locking-"));
  try {
    const store = sqliteStore({ app: "bench", folder, keychain: false });
    await store.set("tokens", record);
    return [
      await cost(store, "the lock: taken and freed", async () => {}),
      await cost(store, "… and the login read under it", async () => void (await store.get("tokens"))),
      await cost(store, "… and two durable writes: mark, tokens", async (held) => {
        await store.get("tokens");
        await held.set("tokens", record);
        await held.set("tokens", record);
      }),
    ];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function cost(store: Store, what: string, action: (held: HeldLock) => Promise<void>): Promise<LockingCost> {
  const times: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const start = performance.now();
    await store.withLock("refresh", action);
    times.push(performance.now() - start);
  }
  return { what, "minimum, ms": rounded(Math.min(...times), 2), "median, ms": rounded(median(times), 2) };
}
