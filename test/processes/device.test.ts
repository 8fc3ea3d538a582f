/** Many processes over SSH, without a login: one code is shown; the others wait for its result. */
import { describe, expect, test } from "vitest";
import { enterDeviceCode, gate, tokenRequest } from "../fixture/index.ts";
import type { Child } from "./child.ts";
import { answerBrowser, browserOf, computer } from "./support.ts";

const grant = "urn:ietf:params:oauth:grant-type:device_code";

/** Programs over SSH ask for the tokens every second, and wait for locks and the user for a minute. */
const overSsh = { interactive: true, overSsh: true, hurry: 5 };

/** A code that a program has shown. */
interface Shown {
  by: Child;
  address: string;
  code: string;
}

async function overSshTo(programs: number) {
  const machine = await computer({ authorizationServer: { deviceFlow: true } });
  const children = await machine.startAll(programs, overSsh);
  /** Everything that was printed, one entry a program and text. */
  const shown = () =>
    children.flatMap((by) =>
      by.news.flatMap((piece): Shown[] => {
        if (piece.news !== "printed") return [];
        const [, address = ""] = /^ {2}(http\S+)$/m.exec(piece.text) ?? [];
        const [, code = ""] = /^ {2}([A-Z]{4}-[A-Z]{4})$/m.exec(piece.text) ?? [];
        return [{ by, address, code }];
      }),
    );
  const known = new Set<string>();
  /** The next code, once it is shown, and all others wait for its result. */
  async function nextCode(): Promise<Shown> {
    const fresh = () => shown().filter(({ code }) => !known.has(code));
    await expect.poll(() => fresh().length, { timeout: 45_000 }).toBe(1);
    const wants = (child: Child) => child.news.some((piece) => piece.news === "lock" && piece.key.startsWith("login/"));
    await expect.poll(() => children.every((child) => wants(child) || !child.isAlive), { timeout: 45_000 }).toBe(true);
    const [next] = fresh() as [Shown];
    known.add(next.code);
    return next;
  }
  return { ...machine, children, shown, nextCode };
}

const enter = ({ address, code }: Shown, options?: { deny: boolean }) => enterDeviceCode(address, code, options);
const outcomeOf = (login: Promise<string>) => login.catch((error: Error) => error.message);

describe("8 processes over SSH without a login", () => {
  test("one code, one registration, one login: all calls are sent with its result", async () => {
    const { as, children, nextCode, shown, expectAlive } = await overSshTo(8);
    const calls = children.map((child) => child.call(5));
    await enter(await nextCode());
    expect(await Promise.all(calls)).toEqual(children.map(() => ({ 200: 5 })));
    const asked = as.requests.filter(({ path }) => path === "/device/auth");
    expect([shown().length, asked.length, as.registrations.length]).toEqual([1, 1, 1]);
    const polled = as.tokenRequests(grant).map(({ form }) => form.get("device_code"));
    expect([new Set(polled).size, as.tokenRequests().length]).toEqual([1, polled.length]);
    const tokens = await Promise.all(children.map((child) => child.token()));
    expect(new Set(tokens).size).toBe(1);
    await expectAlive();
  });

  test("the user says no: all are told, no second code", async () => {
    const { children, nextCode, shown } = await overSshTo(8);
    const logins = children.map((child) => outcomeOf(child.authorize()));
    await enter(await nextCode(), { deny: true });
    expect(await Promise.all(logins)).toEqual(children.map(() => "authorization_denied"));
    expect(shown()).toHaveLength(1);
  });

  test.each<[how: string, end: (child: Child) => unknown]>([
    ["killed", (child) => child.kill()],
    ["ended by Ctrl-C, at once", (child) => child.signal("SIGINT")],
  ])("the one that shows the code is %s: another takes over, with a code of its own and the same registration", async (_how, end) => {
    const { as, children, nextCode, shown, expectAlive } = await overSshTo(8);
    const logins = children.map((child) => outcomeOf(child.authorize()));
    const first = await nextCode();
    await end(first.by);
    await expect.poll(() => first.by.isAlive).toBe(false);
    const second = await nextCode();
    expect(second.by).not.toBe(first.by);
    expect(second.code).not.toBe(first.code);
    // Whoever types the old one by mistake gives nobody a login.
    await enter(first);
    await enter(second);
    expect((await Promise.all(logins)).sort()).toEqual([...Array(7).fill("authorized"), "died"]);
    expect([shown().length, as.registrations.length]).toEqual([2, 1]);
    await expectAlive();
  });

  test("killed when the user has typed its code, before it has the tokens: it is asked for once more", async () => {
    const { as, children, nextCode, record } = await overSshTo(4);
    const logins = children.map((child) => outcomeOf(child.authorize()));
    const first = await nextCode();
    const polls = gate(tokenRequest(grant));
    as.intercept(polls.hook);
    await enter(first);
    await polls.reached(1);
    await first.by.kill();
    const second = await nextCode();
    await enter(second);
    polls.open();
    expect((await Promise.all(logins)).sort()).toEqual([...Array(3).fill("authorized"), "died"]);
    // The other one is what the server had sent to the one that was killed.
    expect([as.liveLogins, as.tokenRequests(grant).filter(({ status }) => status === 200).length]).toEqual([2, 2]);
    expect(await record()).toMatchObject({ accessToken: await (children.find((child) => child.isAlive) as Child).token() });
  });
});

test("a program at the desktop has a window open: over SSH no code is shown, its login is taken", async () => {
  const { start, children, shown, windows } = await overSshTo(3);
  const desktop = await start({ interactive: true });
  const login = desktop.authorize();
  const url = await browserOf(desktop);
  const calls = children.map((child) => child.call(2));
  const wants = (child: Child) => child.news.some((piece) => piece.news === "lock" && piece.key.startsWith("login/"));
  await expect.poll(() => children.every(wants), { timeout: 45_000 }).toBe(true);
  await answerBrowser(url);
  expect(await login).toBe("authorized");
  expect(await Promise.all(calls)).toEqual(children.map(() => ({ 200: 2 })));
  expect([shown().length, windows()]).toEqual([0, [desktop.pid]]);
});
