/** Rule 4 of tokens: what a process that ends during a refresh leaves behind. Real processes, a store in files. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { describe, expect, onTestFinished, test } from "vitest";
import type { McpAuthError } from "../../src/index.ts";
import { gate, type ProtectedServer, tokenRequest } from "../fixture/index.ts";
import { failure, manager, minutes, seed, shiftedClock, startServer } from "../storm/support.ts";
import { FileStore } from "./file-store.ts";

/** A server, and a store in files that holds a login of some age: at 3.5 of 5 minutes the next call refreshes ahead. */
async function loginOfAge(ageMinutes: number) {
  const server = await startServer();
  const folder = await mkdtemp(join(tmpdir(), "mcp-client-auth-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const store = new FileStore(folder);
  const then = shiftedClock();
  then.shift(-minutes(ageMinutes));
  const tokens = await seed(server, store, { clock: then });
  const refresh = gate(tokenRequest("refresh_token"), "after");
  server.authorizationServer.intercept(refresh.hook);
  const record = async () => (await store.get(`tokens/default/${server.url}`)) as Record<string, unknown>;
  return { server, as: server.authorizationServer, folder, store, tokens, refresh, record };
}

/** Starts the program; its lines can be waited for. */
function start(server: ProtectedServer, folder: string, mode: string) {
  const child = spawn(process.execPath, [fileURLToPath(new URL("program.ts", import.meta.url))], {
    env: { ...process.env, SERVER_URL: server.url, STORE: folder, MODE: mode, NODE_OPTIONS: "" },
    stdio: ["pipe", "pipe", "inherit"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const lines: string[] = [];
  createInterface({ input: child.stdout }).on("line", (line) => lines.push(line));
  const ended = once(child, "close") as Promise<[number | null, NodeJS.Signals | null]>;
  return { child, lines, ended, said: (line: string) => expect.poll(() => lines, { timeout: 45_000 }).toContain(line) };
}

const alive = ({ exitCode, signalCode }: ChildProcess) => exitCode === null && signalCode === null;

/** What must be true when the answer was waited for: the rotated token is stored, and serves the next process. */
async function expectRotated({ server, as, store, tokens, record }: Awaited<ReturnType<typeof loginOfAge>>): Promise<void> {
  const stored = await record();
  expect(stored.refreshToken).not.toBe(tokens.refreshToken);
  expect(stored.accessToken).not.toBe(tokens.accessToken);
  expect(stored.refreshStartedAt).toBeUndefined();
  expect(as.tokenRequests().map(({ status }) => status)).toEqual([200]);
  const clock = shiftedClock();
  clock.shift(minutes(6));
  expect(await manager(server, { store, clock }).auth.getAccessToken()).toBeTruthy();
  expect(as.liveLogins).toBe(1);
}

describe("a process that ends during a refresh waits for it until it is stored", () => {
  test("the program comes to its end", async () => {
    const login = await loginOfAge(3.5);
    const { child, lines, ended, said } = start(login.server, login.folder, "ends");
    await said("end of program");
    await login.refresh.reached(1);
    expect(alive(child)).toBe(true);
    login.refresh.open();
    expect(await ended).toEqual([0, null]);
    expect(lines).toEqual(["authorised true", "end of program", "refresh.started", "refresh.finished"].sort(byOrderIn(lines)));
    await expectRotated(login);
  });

  test("`await auth.dispose(); process.exit()`", async () => {
    const login = await loginOfAge(3.5);
    const { child, ended, said } = start(login.server, login.folder, "disposes");
    await login.refresh.reached(1);
    child.stdin?.write("go\n");
    await said("disposing");
    expect(alive(child)).toBe(true);
    login.refresh.open();
    expect(await ended).toEqual([0, null]);
    await expectRotated(login);
  });

  test.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)("%s: the process ends by that signal, afterwards", async (signal) => {
    const login = await loginOfAge(3.5);
    const { child, ended, said } = start(login.server, login.folder, "waits-for-signal");
    await login.refresh.reached(1);
    await said("end of program");
    child.kill(signal);
    await said("ending");
    expect(alive(child)).toBe(true);
    login.refresh.open();
    expect(await ended).toEqual([null, signal]);
    await expectRotated(login);
  });

  test("SIGTERM while a token that is needed is refreshed: the same", async () => {
    const login = await loginOfAge(6);
    const { child, ended, said } = start(login.server, login.folder, "waits-for-signal");
    await login.refresh.reached(1);
    child.kill("SIGTERM");
    await said("ending");
    login.refresh.open();
    expect(await ended).toEqual([null, "SIGTERM"]);
    await expectRotated(login);
  });

  test("without a refresh in flight a signal ends the process at once", async () => {
    const login = await loginOfAge(0);
    const { child, ended, said } = start(login.server, login.folder, "waits-for-signal");
    await said("end of program");
    child.kill("SIGTERM");
    expect(await ended).toEqual([null, "SIGTERM"]);
    expect(login.as.tokenRequests()).toHaveLength(0);
  });
});

describe("bare `process.exit()` during a refresh cannot wait; what is left can be worked with", () => {
  async function exitDuringRefresh() {
    const login = await loginOfAge(3.5);
    const { child, ended } = start(login.server, login.folder, "exits");
    await login.refresh.reached(1);
    child.stdin?.write("go\n");
    expect(await ended).toEqual([0, null]);
    login.refresh.open();
    // The store opens, holds the old tokens, and says that they may have been spent.
    expect(await login.record()).toMatchObject({
      accessToken: login.tokens.accessToken,
      refreshToken: login.tokens.refreshToken,
      refreshStartedAt: expect.any(Number),
    });
    expect((await readdir(login.folder)).filter((name) => name.startsWith("."))).toEqual([]);
    return login;
  }

  test("the still valid access token is used by the next process", async () => {
    const { server, store, tokens } = await exitDuringRefresh();
    expect(await manager(server, { store }).auth.getAccessToken()).toBe(tokens.accessToken);
  });

  test("a server with a grace window: the next process repeats the refresh, the login lives", async () => {
    const { server, as, store, record } = await exitDuringRefresh();
    as.graceSeconds = 60;
    const clock = shiftedClock();
    clock.shift(minutes(6));
    expect(await manager(server, { store, clock }).auth.getAccessToken()).toBeTruthy();
    // The first answer had nobody to go to.
    expect(as.tokenRequests().map(({ status }) => status)).toEqual([undefined, 200]);
    expect((await record()).refreshStartedAt).toBeUndefined();
    expect(as.liveLogins).toBe(1);
  });

  test("a strict server: a login is needed, and the error says that an earlier refresh was interrupted", async () => {
    const { server, store } = await exitDuringRefresh();
    const clock = shiftedClock();
    clock.shift(minutes(6));
    const { auth } = manager(server, { store, clock });
    const error = await failure(auth.getAccessToken());
    expect(error.code).toBe("login_required");
    expect((error.cause as McpAuthError).code).toBe("invalid_grant");
    expect((error.cause as McpAuthError).message).toContain("an earlier refresh was interrupted");
  });
});

describe("a process that knows that it ends", () => {
  test("starts no refresh ahead", async () => {
    const { server, folder, as, refresh } = await loginOfAge(0);
    const { lines, ended } = start(server, folder, "calls-before-exit");
    const outcome = await ended;
    expect(outcome).toEqual([0, null]);
    expect(lines).toEqual(["authorised true", "end of program", "authorised true", "called before the exit"]);
    expect(as.tokenRequests()).toHaveLength(0);
    refresh.open();
  });

  test("refreshes all the same when a call needs it, and waits for it", async () => {
    const login = await loginOfAge(0);
    const { lines, ended } = start(login.server, login.folder, "needs-token-before-exit");
    await login.refresh.reached(1);
    login.refresh.open();
    expect(await ended).toEqual([0, null]);
    expect(lines).toContain("called before the exit");
    await expectRotated(login);
  });
});

/** The same lines, in the order in which they came: some have none that is promised. */
function byOrderIn(lines: string[]): (a: string, b: string) => number {
  return (a, b) => lines.indexOf(a) - lines.indexOf(b);
}
