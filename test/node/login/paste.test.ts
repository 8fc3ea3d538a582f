import { userInfo } from "node:os";
import { PassThrough } from "node:stream";
import { describe, expect, test, vi } from "vitest";
import { McpAuthError } from "../../../src/errors.ts";
import { type PasteLoginOptions, pasteLogin } from "../../../src/node/index.ts";
import { authorizationUrl, send, startSession, waitFor } from "./loopback/login.ts";

const env = { SSH_CONNECTION: "192.0.2.9 50000 192.0.2.1 22" };

/** A login at a terminal whose user the test plays. */
async function terminalLogin(options: PasteLoginOptions = {}, result: () => Promise<void> = async () => {}) {
  const input = new PassThrough();
  let shown = "";
  const print = (text: string) => {
    shown += `${text}\n`;
  };
  const session = await startSession(pasteLogin({ input, print, env, ...options }));
  const controller = new AbortController();
  const received: URLSearchParams[] = [];
  const outcome = session
    .authorize(
      authorizationUrl,
      async (parameters) => {
        received.push(parameters);
        if (parameters.get("state") !== "right") throw new McpAuthError("state_mismatch");
        await result();
      },
      controller.signal,
    )
    .then(
      () => "ok",
      (error: unknown) => error,
    );
  const port = Number(new URL(session.redirectUri).port);
  await waitFor(() => expect(shown).toContain(authorizationUrl.href));
  return { session, port, input, outcome, received, controller, shown: () => shown };
}

describe("what is printed", () => {
  test.each([
    ["sshd's address and our name", "192.0.2.9 50000 192.0.2.1 22", "192.0.2.1", ""],
    ["an IPv6 address", "2001:db8::9 50000 2001:db8::1 22", "2001:db8::1", ""],
    ["another port of sshd", "192.0.2.9 50000 192.0.2.1 2222", "192.0.2.1", "-p 2222 "],
    ["no SSH", undefined, "<host>", ""],
    ["a variable that sshd did not write", "x 1 $(id) 22", "<host>", ""],
  ])("the exact ssh line: %s", async (_case, connection, host, option) => {
    const login = await terminalLogin({ env: { SSH_CONNECTION: connection } });
    expect(login.shown()).toContain(`\n  ssh -L ${login.port}:127.0.0.1:${login.port} ${option}${userInfo().username}@${host}\n`);
  });

  test("the address stands alone on its line", async () => {
    const login = await terminalLogin();
    expect(login.shown()).toContain(`\n  ${authorizationUrl.href}\n`);
  });

  test("no ssh line where the app has a redirect URI of its own", async () => {
    const login = await terminalLogin({ redirectUri: "https://dev.example/cb" });
    expect(login.shown()).not.toContain("ssh -L");
  });

  test("stdin that is no terminal is not read: it may carry a protocol", async () => {
    const isTTY = Object.getOwnPropertyDescriptor(process.stdin, "isTTY");
    Object.defineProperty(process.stdin, "isTTY", { value: undefined, configurable: true });
    const listeners = vi.spyOn(process.stdin, "on");
    const login = await terminalLogin({ input: undefined });
    expect(login.shown()).not.toContain("paste it here");
    expect(listeners).not.toHaveBeenCalled();
    if (isTTY) Object.defineProperty(process.stdin, "isTTY", isTTY);
    else Reflect.deleteProperty(process.stdin, "isTTY");
  });
});

describe("what is pasted", () => {
  test.each([
    ["the whole redirect", "http://127.0.0.1:PORT/callback?code=abc&state=right"],
    ["… with a fragment", "http://127.0.0.1:PORT/callback?code=abc&state=right#_=_"],
    ["… in quotes and blanks", `  "http://127.0.0.1:PORT/callback?code=abc&state=right"  `],
    ["… in angle brackets", "<http://127.0.0.1:PORT/callback?code=abc&state=right>"],
    ["only its query", "?code=abc&state=right"],
    ["… without question mark", "code=abc&state=right"],
    ["without scheme, as some browsers copy it", "127.0.0.1:PORT/callback?code=abc&state=right"],
    ["a code of 6,000 characters", `http://127.0.0.1:PORT/callback?code=${"x".repeat(6000)}&state=right`],
  ])("%s ends the login and is not shown", async (_case, text) => {
    const login = await terminalLogin();
    login.input.write(`${text.replace("PORT", String(login.port))}\n`);
    expect(await login.outcome).toBe("ok");
    expect(login.received.map((parameters) => [...parameters.keys()])).toEqual([["code", "state"]]);
    expect(login.shown()).not.toMatch(/abc|xxx/);
  });

  test.each([
    ["nonsense", "hello", "not the address of the last page"],
    ["the address of the login page", authorizationUrl.href, "not the address of the last page"],
    ["a redirect of another login", "?code=abc&state=wrong", "belongs to another login"],
  ])("%s: says what is expected and asks again", async (_case, text, answer) => {
    const login = await terminalLogin();
    login.input.write(`\n${text}\n`);
    await waitFor(() => expect(login.shown()).toContain(answer));
    login.input.write("?code=abc&state=right\n");
    expect(await login.outcome).toBe("ok");
  });

  test("an error in it ends the login with that error", async () => {
    const error = new McpAuthError("authorization_denied");
    const login = await terminalLogin({}, () => Promise.reject(error));
    login.input.write("?error=access_denied&state=right\n");
    expect(await login.outcome).toBe(error);
  });
});

describe("whichever comes first", () => {
  test("the browser through the forwarded port: the terminal is left alone", async () => {
    const login = await terminalLogin();
    expect((await send(login.port, "/callback?code=1&state=right")).status).toBe(200);
    expect(await login.outcome).toBe("ok");
    await waitFor(() => expect(login.input.isPaused()).toBe(true));
    expect(login.received).toHaveLength(1);
  });

  test("pasted while the browser's response is looked at: the code is exchanged once", async () => {
    let finish = () => {};
    const login = await terminalLogin({}, () => new Promise<void>((resolve) => (finish = resolve)));
    const page = send(login.port, "/callback?code=1&state=right");
    await waitFor(() => expect(login.received).toHaveLength(1));
    login.input.write("?code=2&state=right\n");
    finish();
    expect((await page).text).toContain("You’re logged in");
    expect(await login.outcome).toBe("ok");
    expect(login.received).toHaveLength(1);
  });

  test("a terminal that ends leaves the port open", async () => {
    const login = await terminalLogin();
    login.input.end();
    await send(login.port, "/nothing");
    expect((await send(login.port, "/callback?code=1&state=right")).status).toBe(200);
    expect(await login.outcome).toBe("ok");
  });

  test("a login that is given up stops reading", async () => {
    const login = await terminalLogin();
    const reason = new McpAuthError("login_timeout");
    login.controller.abort(reason);
    expect(await login.outcome).toBe(reason);
    await waitFor(() => expect(login.input.isPaused()).toBe(true));
  });
});
