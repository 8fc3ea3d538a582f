import { execFile } from "node:child_process";
import { connect } from "node:net";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { McpAuthError } from "../../../../src/errors.ts";
import { freePort, isOpen, send, waitFor, waitingLogin } from "./login.ts";

const good = "/callback?code=abc&state=right";

describe("what the listener answers before it looks at a response", () => {
  test.each([
    // rule,                                               method,    path,                                   Host,                 status
    ["a response is a GET on the callback path", "GET", good, undefined, 200],
    ["localhost is our name, too", "GET", good, "localhost:PORT", 200],
    ["names have no case", "GET", good, "LocalHost:PORT", 200],
    ["so is [::1]", "GET", good, "[::1]:PORT", 200],
    ["a rebound name is refused", "GET", good, "evil.example:PORT", 403],
    ["our name with another port is refused", "GET", good, "127.0.0.1:1", 403],
    ["our name without port is refused", "GET", good, "127.0.0.1", 403],
    ["a name that begins like ours is refused", "GET", good, "localhost.evil:PORT", 403],
    ["HEAD brings no response", "HEAD", good, undefined, 405],
    ["OPTIONS brings no response", "OPTIONS", good, undefined, 405],
    ["POST brings no response", "POST", good, undefined, 405],
    ["another path is unknown", "GET", "/other?code=abc&state=right", undefined, 404],
    ["a path below is unknown", "GET", "/callback/x?code=abc&state=right", undefined, 404],
    ["the path has case", "GET", "/Callback?code=abc&state=right", undefined, 404],
    ["a second slash makes another path", "GET", "//callback?code=abc&state=right", undefined, 404],
    ["dots make another path", "GET", "/x/../callback?code=abc&state=right", undefined, 404],
    ["an absolute target is unknown", "GET", `http://127.0.0.1${good}`, undefined, 404],
    ["there is no icon, at once", "GET", "/favicon.ico", undefined, 404],
  ])("%s", async (_rule, method, path, host, status) => {
    const login = await waitingLogin();
    const answer = await send(login.port, path, { method, ...(host && { host: host.replace("PORT", String(login.port)) }) });
    expect(answer.status).toBe(status);
    expect(login.received).toHaveLength(status === 200 ? 1 : 0);
    if (status !== 200) expect(answer.text).toBe("");
    if (status === 405) expect(answer.headers.allow).toBe("GET");
    expect(answer.headers.connection).toBe("close");
    // However it was answered, the real response still arrives.
    expect((await send(login.port, good)).status).toBe(200);
    expect(await login.outcome).toBe("ok");
  });

  test.each([
    ["a good response", good],
    ["a response of another login", "/callback?code=abc&state=wrong"],
    ["an unknown path", "/nothing"],
  ])("%s is neither stored nor framed nor sniffed nor referred", async (_case, path) => {
    const login = await waitingLogin();
    const { headers } = await send(login.port, path);
    expect(headers).toMatchObject({
      "cache-control": "no-store",
      "x-content-type-options": "nosniff",
      "referrer-policy": "no-referrer",
    });
    expect(headers["content-security-policy"]).toContain("default-src 'none'");
    expect(headers["content-security-policy"]).toContain("frame-ancestors 'none'");
    expect(headers["access-control-allow-origin"]).toBeUndefined();
  });

  test("the page's policy allows exactly one style and one script, by hash", async () => {
    const login = await waitingLogin();
    const policy = (await send(login.port, good)).headers["content-security-policy"];
    expect(policy).toMatch(
      /^default-src 'none'; style-src 'sha256-[\w+/]{43}='; img-src data:; script-src 'sha256-[\w+/]{43}='; frame-ancestors 'none'; base-uri 'none'; form-action 'none'$/,
    );
  });
});

describe("connections", () => {
  test("one that sends its headers too slowly is cut off", async () => {
    const login = await waitingLogin();
    const socket = connect(login.port, "127.0.0.1");
    socket.write("GET /callback HTTP/1.1\r\nHost: 127.0.0.1");
    const text = await new Promise<string>((resolve) => {
      let all = "";
      socket.on("data", (chunk) => {
        all += chunk;
      });
      socket.on("close", () => resolve(all));
    });
    expect(text).toMatch(/^HTTP\/1\.1 408 /);
    expect((await send(login.port, good)).status).toBe(200);
  }, 10_000);

  test("headers beyond 64 KiB are refused, the cookies of other programs on localhost are not", async () => {
    const login = await waitingLogin();
    const withCookies = (size: number) =>
      fetch(`http://127.0.0.1:${login.port}/callback?state=wrong`, { headers: { cookie: "c".repeat(size) } }).then(
        (response) => response.status,
        () => "cut off",
      );
    expect(await withCookies(40_000)).toBe(400);
    expect([431, "cut off"]).toContain(await withCookies(70_000));
    expect((await send(login.port, good)).status).toBe(200);
  });

  test("an open connection does not keep `close` waiting", async () => {
    const login = await waitingLogin();
    const sockets = [connect(login.port, "127.0.0.1"), connect(login.port, "127.0.0.1")];
    await Promise.all(sockets.map((socket) => new Promise((resolve) => socket.once("connect", resolve))));
    const gone = sockets.map((socket) => new Promise((resolve) => socket.on("error", () => {}).once("close", resolve)));
    await login.session.close();
    await Promise.all(gone);
    expect(await isOpen(login.port)).toBe(false);
  });

  test("a page on its way out is sent before the port is freed", async () => {
    const login = await waitingLogin();
    const page = send(login.port, good);
    await login.outcome;
    await Promise.all([login.session.close(), login.session.close()]);
    expect((await page).text).toContain("You’re logged in");
    expect(await isOpen(login.port)).toBe(false);
    expect(await isOpen(login.port, "::1")).toBe(false);
  });

  test("who has hung up while the code was exchanged does not matter", async () => {
    let finish = () => {};
    const login = await waitingLogin({}, () => new Promise<void>((resolve) => (finish = resolve)));
    const socket = connect(login.port, "127.0.0.1");
    socket.write(`GET ${good} HTTP/1.1\r\nHost: 127.0.0.1:${login.port}\r\n\r\n`);
    await waitFor(() => expect(login.received).toHaveLength(1));
    socket.destroy();
    finish();
    expect(await login.outcome).toBe("ok");
    await login.session.close();
  });

  test("of two workers of a cluster one has the port: the other would get its response", async () => {
    const port = await freePort();
    const program = fileURLToPath(new URL("cluster-process.ts", import.meta.url));
    const { stdout } = await promisify(execFile)(process.execPath, [program, String(port)]);
    expect(JSON.parse(stdout)).toEqual(["the port", "nothing"]);
  });

  test("an address that this machine does not have is an invalid option", async () => {
    const started = waitingLogin({ bindAddress: "192.0.2.1" });
    await expect(started).rejects.toMatchObject({ code: "invalid_option" });
    await expect(started).rejects.toBeInstanceOf(McpAuthError);
  });
});
