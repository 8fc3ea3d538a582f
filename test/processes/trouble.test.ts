/** Disks, folders and clocks that misbehave: tokens in memory keep working, nothing is spent in vain, and the app is told. */
import { chmodSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import manifest from "../../package.json" with { type: "json" };
import { gate, logInByHand, tokenRequest } from "../fixture/index.ts";
import { minutes } from "../storm/support.ts";
import type { Child } from "./child.ts";
import { computer } from "./support.ts";

const statuses = ({ as }: Awaited<ReturnType<typeof computer>>) => as.tokenRequests().map(({ status }) => status);
const saw = (child: Child, type: string) => expect.poll(() => child.saw(type), { timeout: 45_000 }).toBeGreaterThan(0);
const day = minutes(24 * 60);

describe("a disk that is full", () => {
  /** A program whose data folder is a disk of its own, 256 kB large, with a login on it. */
  async function smallDisk() {
    const desk = await computer();
    const mount = 'mount -t tmpfs -o size=256k tmpfs "$0" && exec "$@"';
    // A name space for mounts needs no privileges.
    const child = await desk.start({}, "unshare", "--map-root-user", "--mount", "sh", "-c", mount, desk.folder);
    const { as, mcp, server } = desk;
    const tokens = await logInByHand(as, { resource: mcp.resource, scope: "mcp:read" });
    await child.setTokens({ ...tokens, issuer: as.issuer, resource: mcp.resource });
    as.requests.length = 0;
    return { ...desk, child, tokens, stored: () => child.stored(`tokens/default/${server.url}`) };
  }

  test("is found before the refresh token is spent; the valid token is used meanwhile; afterwards all is well", async () => {
    const disk = await smallDisk();
    const { child, as, tokens, stored } = disk;
    await child.fillDisk(true);
    expect(await child.call(5)).toEqual({ 200: 5 });
    await child.setAhead(minutes(3.5));
    expect(await child.call(5)).toEqual({ 200: 5 });
    await child.setAhead(minutes(6));
    expect(await child.call(5)).toEqual({ store_failed: 5 });
    expect(statuses(disk)).toEqual([]);
    expect(await stored()).toMatchObject({ refreshToken: tokens.refreshToken });

    await child.fillDisk(false);
    expect(await child.call(5)).toEqual({ 200: 5 });
    expect(statuses(disk)).toEqual([200]);
    expect(as.liveLogins).toBe(1);
  });

  test("while the refresh is under way: the new tokens are used from memory, and written once there is space", async () => {
    const disk = await smallDisk();
    const { child, as, tokens, stored } = disk;
    const refresh = gate(tokenRequest("refresh_token"));
    as.intercept(refresh.hook);
    await child.setAhead(minutes(6));
    const calls = child.call(5);
    await refresh.reached(1);
    await child.fillDisk(true);
    refresh.open();
    expect(await calls).toEqual({ 200: 5 });
    expect([child.saw("tokens.unsaved"), child.saw("tokens.saved")]).toEqual([1, 0]);
    expect(await stored()).toMatchObject({ refreshToken: tokens.refreshToken });

    await child.fillDisk(false);
    await saw(child, "tokens.saved");
    expect((await stored())?.accessToken).toBe(await child.token());
    await child.setAhead(minutes(12));
    expect(await child.call(5)).toEqual({ 200: 5 });
    expect(statuses(disk)).toEqual([200, 200]);
    expect(as.liveLogins).toBe(1);
  });
});

describe("a folder that is read-only", () => {
  // Modes bind root, too, without these capabilities.
  const weak = "-dac_override,-dac_read_search";
  const launcher = process.getuid?.() === 0 ? ["setpriv", `--bounding-set=${weak}`, `--inh-caps=${weak}`] : [];

  async function ordinaryUser() {
    const desk = await computer();
    const start = () => desk.start({ interactive: true }, ...launcher);
    const app = join(desk.folder, manifest.name);
    const setMode = (mode: number) => {
      for (const folder of [desk.folder, app, join(app, "locks")]) chmodSync(folder, mode);
    };
    return { ...desk, start, app, setMode };
  }

  test("a stored token is used; nothing is spent when it has to be refreshed; afterwards all is well", async () => {
    const desk = await ordinaryUser();
    const { as, mcp, start, setMode, windows } = desk;
    const first = await start();
    const tokens = await logInByHand(as, { resource: mcp.resource, scope: "mcp:read" });
    await first.setTokens({ ...tokens, issuer: as.issuer, resource: mcp.resource });
    as.requests.length = 0;
    onTestFinished(() => setMode(0o700));
    setMode(0o500);
    const second = await start();
    // From minute 4.5 a refresh is needed, from minute 5 the token is of no use.
    for (const child of [first, second]) {
      expect(await child.call(5)).toEqual({ 200: 5 });
      await child.setAhead(minutes(4.6));
      expect(await child.call(5)).toEqual({ 200: 5 });
      await child.setAhead(minutes(6));
      expect(await child.call(5)).toEqual({ store_denied: 5 });
    }
    expect([statuses(desk), windows()]).toEqual([[], []]);

    setMode(0o700);
    for (const child of [first, second]) expect(await child.call(5)).toEqual({ 200: 5 });
    expect(statuses(desk)).toEqual([200]);
    expect(as.liveLogins).toBe(1);
  });

  test("where nothing can be stored nobody is asked to log in", async () => {
    const { folder, start, windows, as } = await ordinaryUser();
    onTestFinished(() => chmodSync(folder, 0o700));
    chmodSync(folder, 0o500);
    const child = await start();
    await expect(child.authorize()).rejects.toThrow("store_denied");
    expect([windows(), as.registrations]).toEqual([[], []]);
  });
});

describe("the folder is deleted while programs run", () => {
  test("between two refreshes: the login in memory is written again, and the app is told", async () => {
    const desk = await computer();
    const { logIn, start, folder, expectAlive } = desk;
    await logIn();
    const child = await start();
    expect(await child.call(1)).toEqual({ 200: 1 });
    rmSync(join(folder, manifest.name), { recursive: true });
    expect(await child.call(5)).toEqual({ 200: 5 });
    await child.setAhead(minutes(6));
    expect(await child.call(5)).toEqual({ 200: 5 });
    expect(child.saw("store.restarted")).toBe(1);
    expect(statuses(desk)).toEqual([200]);
    await expectAlive();
  });

  test("while a refresh is under way: the new tokens are used, and written again", async () => {
    const desk = await computer();
    const { as, logIn, start, folder, record, expectAlive } = desk;
    await logIn();
    const refresh = gate(tokenRequest("refresh_token"));
    as.intercept(refresh.hook);
    const child = await start({ aheadMs: minutes(6) });
    const calls = child.call(5);
    await refresh.reached(1);
    rmSync(join(folder, manifest.name), { recursive: true });
    refresh.open();
    expect(await calls).toEqual({ 200: 5 });
    await saw(child, "tokens.unsaved");
    await saw(child, "tokens.saved");
    const token = await child.token();
    await expect.poll(async () => (await record())?.accessToken).toBe(token);
    expect(statuses(desk)).toEqual([200]);
    await expectAlive();
  });

  test("something else takes its place: an error, nothing is spent, and the valid token is used meanwhile", async () => {
    const desk = await computer();
    const { logIn, start, folder } = desk;
    await logIn();
    const child = await start();
    expect(await child.call(1)).toEqual({ 200: 1 });
    rmSync(join(folder, manifest.name), { recursive: true });
    writeFileSync(join(folder, manifest.name), "");
    expect(await child.call(5)).toEqual({ 200: 5 });
    await child.setAhead(minutes(6));
    expect(await child.call(5)).toEqual({ store_unusable: 5 });
    expect(statuses(desk)).toEqual([]);
  });
});

describe("clocks", () => {
  test("set back by a day: the token stays in use, and no refresh comes of it", async () => {
    const desk = await computer();
    await desk.logIn();
    const child = await desk.start();
    expect(await child.call(5)).toEqual({ 200: 5 });
    await child.setAhead(-day);
    expect(await child.call(5)).toEqual({ 200: 5 });
    expect(statuses(desk)).toEqual([]);
  });

  test("processes whose clocks differ by an hour share a login: nobody is refused, nothing is lost", async () => {
    const desk = await computer();
    await desk.logIn();
    const [early, late] = [await desk.start(), await desk.start({ aheadMs: minutes(60) })];
    expect(await late.call(5)).toEqual({ 200: 5 });
    expect(await early.call(5)).toEqual({ 200: 5 });
    await early.setAhead(minutes(6));
    expect(await early.call(5)).toEqual({ 200: 5 });
    expect(await late.call(5)).toEqual({ 200: 5 });
    expect(statuses(desk).every((status) => status === 200)).toBe(true);
    expect(desk.as.liveLogins).toBe(1);
  });

  test("the computer sleeps for a day, timers do not fire: one refresh for all programs, no login page", async () => {
    const desk = await computer();
    await desk.logIn();
    const children = await desk.startAll(4, { interactive: true });
    for (const child of children) expect(await child.call(1)).toEqual({ 200: 1 });
    desk.mcp.revokeAll();
    await Promise.all(children.map((child) => child.setAhead(day)));
    expect(await Promise.all(children.map((child) => child.call(10)))).toEqual(children.map(() => ({ 200: 10 })));
    expect([statuses(desk), desk.windows()]).toEqual([[200], []]);
    expect(desk.as.liveLogins).toBe(1);
  });

  test("timers fire late, together with the calls after waking: no call fails, no login page, the login lives", async () => {
    const desk = await computer({ authorizationServer: { accessTokenTtlSeconds: 2 } });
    await desk.logIn();
    const child = await desk.start({ interactive: true, keepFresh: true });
    expect(await child.call(1)).toEqual({ 200: 1 });
    const since = performance.now();
    child.signal("SIGSTOP");
    // The token expires in its sleep, long after the moment at which the timer was to refresh it.
    await expect.poll(() => performance.now() - since, { timeout: 45_000 }).toBeGreaterThan(2500);
    const calls = child.call(20);
    child.signal("SIGCONT");
    expect(await calls).toEqual({ 200: 20 });
    await child.close();
    expect(new Set(statuses(desk))).toEqual(new Set([200]));
    expect([desk.windows(), desk.as.liveLogins]).toEqual([[], 1]);
  });
});
