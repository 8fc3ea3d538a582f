/** Several real processes that share the default store, and a server that counts. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, onTestFinished } from "vitest";
import manifest from "../../package.json" with { type: "json" };
import { sqliteStore } from "../../src/node/index.ts";
import { type ProtectedServerOptions, person } from "../fixture/index.ts";
import { manager, minutes, seed, shiftedClock, startServer } from "../storm/support.ts";
import { type Child, startChild } from "./child.ts";
import type { ProgramSettings } from "./program.ts";

/** Programs that have nothing to do: starting one costs more than most tests. */
const idle: Child[] = [];
afterAll(() => Promise.all(idle.map((child) => child.kill())));

async function putBack(child: Child): Promise<void> {
  if (!child.isAlive) return;
  await child.close();
  idle.push(child);
}

/** A server, and a folder in which programs of one user keep their logins. */
export async function computer(options?: ProtectedServerOptions) {
  const server = await startServer(options);
  const folder = mkdtempSync(join(tmpdir(), "mcp-client-auth-processes-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  // Programs that do not say `app` share logins with all of their package.
  const store = () => sqliteStore({ app: manifest.name, folder });
  const record = async () => (await store().get(`tokens/default/${server.url}`)) as Record<string, unknown> | undefined;

  async function start(settings: Partial<ProgramSettings> = {}, ...launcher: string[]): Promise<Child> {
    const child = (launcher.length > 0 ? undefined : idle.pop()) ?? (await startChild(...launcher));
    onTestFinished(() => (launcher.length > 0 ? child.kill() : putBack(child)));
    await child.open({ serverUrl: server.url, folder, ...settings });
    return child;
  }
  return {
    server,
    as: server.authorizationServer,
    mcp: server.mcpServer,
    folder,
    store,
    record,
    start,
    startAll: (count: number, settings?: Partial<ProgramSettings>) => Promise.all(Array.from({ length: count }, () => start(settings))),
    /** Puts a login into the store whose access token has some minutes to live. */
    logIn: () => seed(server, store()),
    /** Browser windows that opened so far, in all processes: whose. */
    windows: () =>
      existsSync(join(folder, "windows")) ? readFileSync(join(folder, "windows"), "utf8").trim().split("\n").map(Number) : [],
    /** The login that is stored can be refreshed: what the processes left behind is the newest. */
    async expectAlive(aheadMs = 0) {
      expect(server.authorizationServer.liveLogins).toBe(1);
      const clock = shiftedClock();
      clock.shift(aheadMs + minutes(20));
      const { auth } = manager(server, { store: store(), clock });
      expect(await auth.getAccessToken()).toBeTruthy();
    },
  };
}

/** The address to which this program's browser was sent, once it was. */
export async function browserOf(...children: Child[]): Promise<string> {
  const addresses = () => children.flatMap(({ news }) => news).filter((piece) => piece.news === "browser");
  await expect.poll(() => addresses().length, { timeout: 45_000 }).toBeGreaterThan(0);
  return addresses().at(-1)?.url ?? "";
}

/** What the user does whose browser was sent there; the page at the end is shown. */
export const answerBrowser = (url: string) => person(url);
