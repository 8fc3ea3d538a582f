import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, test, vi } from "vitest";
import type { LoginHandlerRequest } from "../../../../src/authorization/login-handler.ts";
import { McpAuthError } from "../../../../src/errors.ts";
import { loopbackLogin } from "../../../../src/node/login/loopback/loopback-login.ts";
import { authorizationUrl, isOpen, send, startSession, waitFor, waitingLogin } from "./login.ts";

const good = "/callback?code=abc&state=right";
const wrong = "/callback?code=abc&state=wrong";

describe("which response ends a login", () => {
  test("the page is shown only after the code was exchanged", async () => {
    let finish = () => {};
    const login = await waitingLogin({}, () => new Promise<void>((resolve) => (finish = resolve)));
    const settled = vi.fn();
    const page = send(login.port, good);
    void page.then(settled);
    await waitFor(() => expect(login.received).toHaveLength(1));
    await send(login.port, "/other");
    expect(settled).not.toHaveBeenCalled();
    finish();
    expect(await page).toMatchObject({ status: 200, text: expect.stringContaining("You’re logged in") });
    expect(await login.outcome).toBe("ok");
    expect(Object.fromEntries(login.received[0] ?? [])).toEqual({ code: "abc", state: "right" });
  });

  test("REQ-AUTHZ-05 a wrong state is answered 400 and does not end the flow", async () => {
    const login = await waitingLogin();
    for (const path of [wrong, "/callback", "/callback?", "/callback?code=abc", "/callback?error=access_denied"]) {
      const answer = await send(login.port, path);
      expect(answer.status).toBe(400);
      expect(answer.text).toContain("This page belongs to another login");
    }
    expect((await send(login.port, good)).status).toBe(200);
    expect(await login.outcome).toBe("ok");
  });

  test.each([
    ["authorization_denied", "Access was not allowed"],
    ["issuer_mismatch", "The login did not work"],
    ["authorization_error", "The login did not work"],
    ["invalid_grant", "The login did not work"],
    ["login_timeout", "This login has expired"],
  ] as const)("%s ends it, and the page says so", async (code, title) => {
    const error = new McpAuthError(code);
    const login = await waitingLogin({}, () => Promise.reject(error));
    const answer = await send(login.port, good);
    expect(answer.status).toBe(400);
    expect(answer.text).toContain(`<h1>${title}</h1>`);
    expect(await login.outcome).toBe(error);
  });

  test("the first outcome wins, a later response does no harm", async () => {
    const login = await waitingLogin();
    const answers = await Promise.all([send(login.port, good), send(login.port, `${good}&again=1`)]);
    expect(await login.outcome).toBe("ok");
    expect(answers.map(({ status }) => status)).toEqual([200, 200]);
    expect(answers.filter(({ text }) => text.includes("You’re logged in"))).toHaveLength(1);
    expect(answers.filter(({ text }) => text.includes("This login has already finished"))).toHaveLength(1);
    expect(login.received).toHaveLength(1);
  });

  test("a page that is loaded again while the code is exchanged gets the same answer, and the code is exchanged once", async () => {
    let finish = () => {};
    const login = await waitingLogin({}, () => new Promise<void>((resolve) => (finish = resolve)));
    const pages = [send(login.port, good), send(login.port, good)];
    await waitFor(() => expect(login.received).toHaveLength(1));
    finish();
    for (const page of await Promise.all(pages)) expect(page.text).toContain("You’re logged in");
    expect(login.received).toHaveLength(1);
  });

  test("before there is an authorization request, a response belongs to another login", async () => {
    const session = await startSession(loopbackLogin());
    const answer = await send(Number(new URL(session.redirectUri).port), good);
    expect(answer).toMatchObject({ status: 400, text: expect.stringContaining("another login") });
  });
});

describe("the process", () => {
  test.each([
    ["a finished login lets it end, and kept it alive before", "finish", "ok"],
    ["a finished login whose page the user may not have seen lets it end", "prefetch", "ok"],
    ["a login that timed out lets it end", "expire", "login_timeout"],
    ["a start that is closed at once lets it end", "close", "closed"],
    ["a terminal's login lets it end", "paste", "ok"],
  ])("%s", async (_rule, mode, said) => {
    const program = fileURLToPath(new URL("login-process.ts", import.meta.url));
    const { stdout } = await promisify(execFile)(process.execPath, [program, mode]);
    expect(stdout).toBe(`${said}\n`);
  });

  test("loading the handlers loads neither the opener nor a server", async () => {
    const program = fileURLToPath(new URL("login-process.ts", import.meta.url));
    const { stdout } = await promisify(execFile)(process.execPath, [program, "load"]);
    expect(JSON.parse(stdout)).toEqual([]);
  });
});

describe("a browser that loads the page before the user goes there", () => {
  /** A login that a prefetch has ended, closed by whoever asked for it. */
  async function prefetched(headers: Record<string, string>, request: Partial<LoginHandlerRequest> = {}) {
    const login = await waitingLogin({}, undefined, request);
    const page = await send(login.port, good, { headers });
    expect(await login.outcome).toBe("ok");
    await login.session.close();
    return { ...login, page };
  }
  const ahead = { "sec-purpose": "prefetch" };

  test.each<[header: string, headers: Record<string, string>, isServed: boolean]>([
    ["Sec-Purpose: prefetch", ahead, true],
    ["Sec-Purpose: prefetch;prerender", { "sec-purpose": "prefetch;prerender" }, true],
    ["Purpose: prefetch", { purpose: "prefetch" }, true],
    ["X-moz: prefetch", { "x-moz": "prefetch" }, true],
    ["another purpose", { "sec-purpose": "navigate" }, false],
    ["none", {}, false],
  ])("%s", async (_header, headers, isServed) => {
    const { port, page, received } = await prefetched(headers);
    expect(await isOpen(port)).toBe(isServed);
    if (!isServed) return;
    expect(await send(port, good)).toMatchObject({ status: 200, text: page.text });
    expect((await send(port, `${good}&again=1`)).text).toContain("This login has already finished");
    expect((await send(port, good)).text).toBe(page.text);
    expect(received).toHaveLength(1);
  });

  test("three seconds later the port is free", async () => {
    const timers = vi.spyOn(globalThis, "setTimeout");
    const { port } = await prefetched(ahead);
    const close = timers.mock.calls.find(([, ms]) => ms === 3000)?.[0];
    expect(await isOpen(port)).toBe(true);
    close?.();
    await waitFor(async () => expect(await isOpen(port)).toBe(false));
  });

  test("the next login at the same port has it at once", async () => {
    const { port } = await prefetched(ahead);
    const next = await waitingLogin({ port });
    expect(next.port).toBe(port);
    expect((await send(port, good)).text).toContain("You’re logged in");
    expect(next.received).toHaveLength(1);
  });

  test("whoever closes again, or gives up, waits for no navigation", async () => {
    const controller = new AbortController();
    const [one, other] = [await prefetched(ahead), await prefetched(ahead, { signal: controller.signal })];
    await one.session.close();
    controller.abort(new Error("enough"));
    for (const { port } of [one, other]) await waitFor(async () => expect(await isOpen(port)).toBe(false));
  });
});

describe("a login that is given up", () => {
  test("by its signal: a browser that waits is told that it has expired", async () => {
    const login = await waitingLogin({}, () => new Promise(() => {}));
    const page = send(login.port, good);
    await waitFor(() => expect(login.received).toHaveLength(1));
    const reason = new McpAuthError("login_timeout");
    login.abort(reason);
    expect(await login.outcome).toBe(reason);
    await login.session.close();
    expect(await page).toMatchObject({ status: 400, text: expect.stringContaining("This login has expired") });
  });

  test("by its signal before it began", async () => {
    const session = await startSession(loopbackLogin());
    const reason = new Error("no");
    await expect(session.authorize(authorizationUrl, async () => {}, AbortSignal.abort(reason))).rejects.toBe(reason);
  });

  test("before the port was taken", async () => {
    const reason = new Error("no");
    await expect(startSession(loopbackLogin(), { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });

  test("while it waits, by the signal given at the start: the port is freed", async () => {
    const controller = new AbortController();
    const login = await waitingLogin({}, undefined, { signal: controller.signal });
    const reason = new Error("no");
    controller.abort(reason);
    expect(await login.outcome).toBe(reason);
    await waitFor(async () => expect(await isOpen(login.port)).toBe(false));
  });

  test("by close: the login ends", async () => {
    const login = await waitingLogin();
    await login.session.close();
    expect(await login.outcome).toMatchObject({ name: "AbortError" });
  });
});

describe("bringing the user to the address", () => {
  test("it is always printed, and then opened", async () => {
    const openBrowser = vi.fn(async () => {});
    const login = await waitingLogin({ openBrowser });
    expect(login.printed).toEqual([`Open this address to log in: ${authorizationUrl.href}`]);
    expect(openBrowser).toHaveBeenCalledWith(authorizationUrl);
  });

  test("a browser that can't be opened does not end a login whose address the app prints", async () => {
    const login = await waitingLogin({ openBrowser: () => Promise.reject(new McpAuthError("browser_failed")) });
    await waitFor(() => expect(login.printed.join("\n")).toContain("No browser could be opened"));
    await send(login.port, good);
    expect(await login.outcome).toBe("ok");
  });

  test.each([
    [
      "our error as it is",
      new McpAuthError("browser_failed", { detail: "gone" }),
      { code: "browser_failed", message: expect.stringContaining("gone") },
    ],
    ["the app's own as the cause", new Error("gone"), { code: "browser_failed", cause: expect.objectContaining({ message: "gone" }) }],
  ])("where nobody sees the address it ends it: %s", async (_case, error, expected) => {
    const stderr = vi.spyOn(process.stderr, "write").mockReturnValue(true);
    const isTTY = Object.getOwnPropertyDescriptor(process.stderr, "isTTY");
    Object.defineProperty(process.stderr, "isTTY", { value: false, configurable: true });
    try {
      const login = await waitingLogin({ openBrowser: () => Promise.reject(error), print: undefined });
      expect(await login.outcome).toMatchObject(expected);
      expect(stderr).toHaveBeenCalledWith(`Open this address to log in: ${authorizationUrl.href}\n`);
    } finally {
      stderr.mockRestore();
      if (isTTY) Object.defineProperty(process.stderr, "isTTY", isTTY);
      else Reflect.deleteProperty(process.stderr, "isTTY");
    }
  });

  test("the opener may take as long as it likes: the response counts", async () => {
    const login = await waitingLogin({ openBrowser: () => new Promise(() => {}) });
    await send(login.port, good);
    expect(await login.outcome).toBe("ok");
  });

  test("one that fails while the response is looked at does not end the login", async () => {
    let finish = () => {};
    let fail: (reason: unknown) => void = () => {};
    const session = await startSession(loopbackLogin({ openBrowser: () => new Promise((_, reject) => (fail = reject)) }));
    const stderr = vi.spyOn(process.stderr, "write").mockReturnValue(true);
    let received = 0;
    const outcome = session.authorize(
      authorizationUrl,
      () => {
        received++;
        return new Promise<void>((resolve) => (finish = resolve));
      },
      new AbortController().signal,
    );
    const page = send(Number(new URL(session.redirectUri).port), good);
    await waitFor(() => expect(received).toBe(1));
    fail(new Error("gone"));
    await send(Number(new URL(session.redirectUri).port), "/other");
    finish();
    await expect(outcome).resolves.toBeUndefined();
    expect((await page).status).toBe(200);
    stderr.mockRestore();
  });
});
