/** Many processes without a login: one browser window, one registration; the others wait for its result. */
import { describe, expect, test } from "vitest";
import { toolRequest } from "../fixture/tool-request.ts";
import type { Child } from "./child.ts";
import { answerBrowser, browserOf, computer } from "./support.ts";

/** Programs that all want the lock of the login; one of them has it, and has sent the user to the browser. */
async function waiting(programs: number) {
  const desk = await computer();
  const children = await desk.startAll(programs, { interactive: true, tellLocks: true });
  const logins = children.map((child) => outcomeOf(child.authorize()));
  const url = await browserOf(...children);
  const wants = (child: Child) => child.news.some((piece) => piece.news === "lock" && piece.key.startsWith("login/"));
  await expect.poll(() => children.every(wants), { timeout: 45_000 }).toBe(true);
  const [owner] = desk.windows();
  return { ...desk, children, logins, url, owner: children.find(({ pid }) => pid === owner) as Child };
}

const outcomeOf = (login: Promise<string>) => login.catch((error: Error) => error.message);

describe("8 processes without a login", () => {
  test("one window, one registration, one exchange: the others take the result", async () => {
    const { as, logins, url, windows, children, expectAlive } = await waiting(8);
    await answerBrowser(url);
    expect(await Promise.all(logins)).toEqual(children.map(() => "authorized"));
    expect(windows()).toHaveLength(1);
    expect(as.registrations).toHaveLength(1);
    expect(as.tokenRequests().map(({ grantType }) => grantType)).toEqual(["authorization_code"]);
    const tokens = await Promise.all(children.map((child) => child.token()));
    expect(new Set(tokens).size).toBe(1);
    await expectAlive();
  });

  test("calls that are refused open one window as well, and are all sent with its result", async () => {
    const { as, mcp, startAll, windows } = await computer();
    const children = await startAll(8, { interactive: true });
    const calls = children.map((child) => child.call(5));
    const url = await browserOf(...children);
    await expect.poll(() => mcp.calls("add").length, { timeout: 45_000 }).toBe(40);
    await answerBrowser(url);
    expect(await Promise.all(calls)).toEqual(children.map(() => ({ 200: 5 })));
    expect([windows().length, as.registrations.length, as.tokenRequests().length]).toEqual([1, 1, 1]);
  });

  test("the process with the window is killed: one other takes over, with one window of its own and, as there was no answer, another registration", async () => {
    const { as, children, logins, owner, windows, expectAlive } = await waiting(8);
    await owner.kill();
    const others = children.filter((child) => child !== owner);
    const url = await browserOf(...others);
    await answerBrowser(url);
    expect((await Promise.all(logins)).sort()).toEqual([...others.map(() => "authorized"), "died"]);
    expect(windows()).toHaveLength(2);
    expect(new Set(windows()).size).toBe(2);
    expect(as.registrations).toHaveLength(2);
    expect(as.tokenRequests()).toHaveLength(1);
    await expectAlive();
  });

  test("one after the other is killed: the last one logs in", async () => {
    const { as, children, windows, logins, expectAlive } = await waiting(4);
    const left = new Set(children);
    for (let round = 1; round < 4; round++) {
      await expect.poll(() => windows().length, { timeout: 45_000 }).toBe(round);
      const owner = [...left].find(({ pid }) => pid === windows().at(-1)) as Child;
      left.delete(owner);
      await owner.kill();
    }
    await answerBrowser(await browserOf(...left));
    expect((await Promise.all(logins)).sort()).toEqual(["authorized", "died", "died", "died"]);
    expect(as.registrations).toHaveLength(4);
    await expectAlive();
  });

  test("the user says no: all are told, no second window opens", async () => {
    const { as, url, logins, windows, children } = await waiting(8);
    as.nextDecision = "deny";
    await answerBrowser(url);
    expect(await Promise.all(logins)).toEqual(children.map(() => "authorization_denied"));
    expect(windows()).toHaveLength(1);
  });
});

describe("while a valid token is stored no window opens", () => {
  test("8 processes that start anew", async () => {
    const { as, logIn, startAll, windows } = await computer();
    await logIn();
    const children = await startAll(8, { interactive: true });
    expect(await Promise.all(children.map((child) => child.authorize()))).toEqual(children.map(() => "authorized"));
    expect(await Promise.all(children.map((child) => child.call(5)))).toEqual(children.map(() => ({ 200: 5 })));
    expect([windows().length, as.requests.length]).toEqual([0, 0]);
  });

  test("processes that have run without a login since before another one logged in", async () => {
    const { server, startAll, windows } = await computer();
    const [first, ...others] = (await startAll(4, { interactive: true })) as [Child, ...Child[]];
    // Each has looked into the store, and found nothing.
    for (const child of others) await expect(child.token()).rejects.toThrow("login_required");
    const login = first.authorize();
    await answerBrowser(await browserOf(first));
    await login;
    expect((await fetch(server.url, toolRequest("add"))).status).toBe(401);
    expect(await Promise.all(others.map((child) => child.call(5)))).toEqual(others.map(() => ({ 200: 5 })));
    expect(windows()).toEqual([first.pid]);
  });
});
