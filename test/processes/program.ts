/** A program with a login, one of several that share it: does what its parent tells it, and tells what happens. */
import { appendFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type GivenTokens, McpAuthError, type Store, systemClock, type TokenManager } from "../../src/index.ts";
import { createMcpAuth, sqliteStore } from "../../src/node/index.ts";
import type { WrongStore } from "../chaos/wrong-stores.ts";
import { toolRequest } from "../fixture/tool-request.ts";
import type { Moment } from "./moments.ts";
import { textOf } from "./text.ts";

/** How a program is told to work. */
export interface ProgramSettings {
  serverUrl: string;
  /** Of all apps' data; `openBrowser` counts its calls there, too. */
  folder: string;
  /** How far its clock is ahead of the machine's, in ms. */
  aheadMs?: number;
  /** Divides the times for which it waits for locks and answers, so that a test need not wait as long. */
  hurry?: number;
  /** Tells of each lock that it wants. Default: when it is in a hurry. */
  tellLocks?: boolean;
  interactive?: boolean;
  /** It runs in a session over SSH, without a display: what it prints is for the user. */
  overSsh?: boolean;
  keepFresh?: boolean;
  /** Blocks its event loop, once, at a moment of a refresh. */
  block?: { at: Moment; ms: number };
  /** A store that breaks promises, to show that this is found. */
  wrongStore?: WrongStore;
}

/** What a program tells on its own. */
export type ProgramNews =
  | { news: "event"; type: string; code?: string | undefined }
  | { news: "browser"; url: string }
  | { news: "printed"; text: string }
  /** How long it would wait for a lock, in ms. */
  | { news: "lock"; key: string; lockTimeout: number | undefined }
  /** It holds the lock of the counter; it has counted; it begins to write a record; the record is written. */
  | { news: "inside" | "counted" | "writing" | "written"; key: string; n: number };

export interface ProgramRequest {
  id: number;
  method: keyof typeof methods;
  args: unknown[];
}

export type ProgramAnswer = { id: number; value?: unknown } | { id: number; code: string };

let auth: TokenManager | undefined;
let store: Store = sqliteStore();
let aheadMs = 0;

const methods = {
  async open(settings: ProgramSettings) {
    const { hurry = 1, tellLocks = hurry > 1 } = settings;
    aheadMs = settings.aheadMs ?? 0;
    process.env.MCP_AUTH_DATA_DIR = settings.folder;
    for (const name of ["SSH_CONNECTION", "SSH_TTY", "DISPLAY", "WAYLAND_DISPLAY"]) delete process.env[name];
    if (settings.overSsh) process.env.SSH_CONNECTION = "192.0.2.7 50000 192.0.2.8 22";
    const { wrongStore } = settings;
    store = wrongStore ? (await import("../chaos/wrong-stores.ts")).wrongStores[wrongStore](settings.folder) : sqliteStore();
    if (tellLocks) store = impatient(store, hurry);
    const blocking = settings.block && blockAt(settings.block);
    if (blocking) store = blocking.store(store);
    auth = createMcpAuth(settings.serverUrl, {
      interactive: settings.interactive ?? false,
      keepFresh: settings.keepFresh,
      print: (text) => tell({ news: "printed", text }),
      ...(!settings.overSsh && {
        async openBrowser(url: URL) {
          appendFileSync(join(settings.folder, "windows"), `${process.pid}\n`);
          tell({ news: "browser", url: url.href });
        },
      }),
      clock: { now: () => Date.now() + aheadMs, sleep: (ms, options) => systemClock.sleep(ms / hurry, options) },
      onEvent: (event) => tell({ news: "event", type: event.type, ...("code" in event && { code: event.code }) }),
      // Otherwise the default, which is the same.
      ...((tellLocks || wrongStore || blocking) && { store }),
      ...(blocking && { fetch: blocking.fetch }),
    });
  },
  /** How often each outcome came: statuses, error codes. */
  async call(count: number): Promise<Record<string, number>> {
    const counts: Record<string, number> = {};
    for (const outcome of await Promise.all(Array.from({ length: count }, callOnce))) counts[outcome] = (counts[outcome] ?? 0) + 1;
    return counts;
  },
  authorize: () => opened().authorize(),
  token: () => opened().getAccessToken(),
  setTokens: (tokens: GivenTokens) => opened().setTokens(tokens),
  stored: (key: string) => sqliteStore().get(key),
  async setAhead(ms: number) {
    aheadMs = ms;
  },
  /** Counts on under a lock, so many times. */
  async count(key: string, turns: number) {
    for (let turn = 0; turn < turns; turn++) {
      await store.withLock(key, async (held) => {
        const n = 1 + Number((await store.get(key))?.n ?? 0);
        tell({ news: "inside", key, n });
        await held.set(key, { v: 1, n });
        tell({ news: "counted", key, n });
      });
    }
  },
  /** Writes a record again and again. */
  async write(key: string, times: number) {
    for (let n = 1; n <= times; n++) {
      tell({ news: "writing", key, n });
      await store.set(key, { v: 1, n, text: textOf(n) });
      tell({ news: "written", key, n });
    }
  },
  async fillDisk(isFull: boolean) {
    const path = join(process.env.MCP_AUTH_DATA_DIR ?? "", "filler");
    rmSync(path, { force: true });
    for (const piece of isFull ? [65_536, 4096, 1] : []) fillBy(path, Buffer.alloc(piece));
  },
  async close() {
    await auth?.dispose();
  },
};

function fillBy(path: string, piece: Buffer): void {
  try {
    for (;;) appendFileSync(path, piece);
  } catch (error) {
    if (Reflect.get(error as Error, "code") !== "ENOSPC") throw error;
  }
}

function opened(): TokenManager {
  if (!auth) throw new Error("not opened");
  return auth;
}

async function callOnce(): Promise<string> {
  try {
    const response = await opened().fetch(opened().serverUrl, toolRequest("add", { a: 1, b: 2 }));
    await response.arrayBuffer();
    return String(response.status);
  } catch (error) {
    return codeOf(error);
  }
}

function codeOf(error: unknown): string {
  return error instanceof McpAuthError ? error.code : String(error);
}

function impatient(store: Store, hurry: number): Store {
  return {
    get: (key) => store.get(key),
    set: (key, value) => store.set(key, value),
    delete: (key) => store.delete(key),
    take: (key) => store.take(key),
    keys: (prefix) => store.keys(prefix),
    withLock: (key, action, options) => {
      tell({ news: "lock", key, lockTimeout: options?.lockTimeout });
      return store.withLock(key, action, { ...options, lockTimeout: (options?.lockTimeout ?? 60_000) / hurry });
    },
  };
}

/** Blocks the event loop when a refresh comes to a moment for the first time. */
function blockAt({ at, ms }: { at: Moment; ms: number }): { store(store: Store): Store; fetch: typeof fetch } {
  let isOver = false;
  const reached = (moment: Moment) => {
    if (moment !== at || isOver) return;
    isOver = true;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
  };
  let isNoted = false;
  return {
    store: (store) => ({
      get: (key) => store.get(key),
      set: (key, value) => store.set(key, value),
      delete: (key) => store.delete(key),
      take: (key) => store.take(key),
      keys: (prefix) => store.keys(prefix),
      withLock: (key, action, options) =>
        store.withLock(
          key,
          (held) => {
            if (key.startsWith("refresh/")) reached("lock");
            const set: typeof held.set = async (name, value) => {
              const [before, after]: [Moment, Moment] = isNoted ? ["store", "stored"] : ["note", "noted"];
              reached(before);
              const writing = held.set(name, value);
              isNoted = true;
              await writing;
              reached(after);
            };
            return action({ signal: held.signal, delete: (name) => held.delete(name), check: () => held.check?.(), set });
          },
          options,
        ),
    }),
    async fetch(url, init) {
      if (!String(init?.body ?? "").includes("refresh_token=")) return fetch(url, init);
      reached("send");
      const answering = fetch(url, init);
      reached("sent");
      const response = await answering;
      reached("answered");
      const body = await response.arrayBuffer();
      reached("read");
      return new Response(body, response);
    },
  };
}

/** Written at once: what was told before SIGKILL arrives. */
function tell(news: ProgramNews | ProgramAnswer): void {
  process.send?.(news, () => {
    // The parent may be gone.
  });
}

process.on("message", async ({ id, method, args }: ProgramRequest) => {
  try {
    const work = methods[method] as (...args: unknown[]) => Promise<unknown>;
    tell({ id, value: await work(...args) });
  } catch (error) {
    tell({ id, code: codeOf(error) });
  }
});

process.on("disconnect", () => process.exit());
