/** A program that does nothing but log in, played by `loopback-login.test.ts`. It never calls `process.exit`. */
import { McpAuthError } from "../../../../src/errors.ts";
import { loopbackLogin } from "../../../../src/node/login/loopback/loopback-login.ts";
import { pasteLogin } from "../../../../src/node/login/paste.ts";

const [mode] = process.argv.slice(2);

/** The user, a moment later. Nothing but the login keeps the process alive until then. */
const answer = (port: string) =>
  setTimeout(
    () =>
      void fetch(
        `http://127.0.0.1:${port}/callback?code=1&state=right`,
        mode === "prefetch" ? { headers: { purpose: "prefetch" } } : {},
      ).catch(() => {}),
    50,
  ).unref();

async function run(): Promise<string> {
  const handler = mode === "paste" ? pasteLogin() : loopbackLogin({ openBrowser: async () => {}, print: () => {} });
  const session = await handler.start({ serverUrl: "https://mcp.example/mcp", fixed: false, signal: new AbortController().signal });
  try {
    if (mode === "close") return "closed";
    const controller = new AbortController();
    if (mode === "expire") setTimeout(() => controller.abort(new McpAuthError("login_timeout")), 50).unref();
    else answer(new URL(session.redirectUri).port);
    await session.authorize(new URL("https://as.example/authorize"), async () => {}, controller.signal);
    return "ok";
  } catch (error) {
    return (error as McpAuthError).code;
  } finally {
    await session.close();
  }
}

if (mode === "load") {
  const loaded = (process as unknown as { moduleLoadList: string[] }).moduleLoadList;
  console.log(JSON.stringify(loaded.filter((name) => /^NativeModule (http|_http_server|child_process|readline|os)$/.test(name))));
} else {
  console.log(await run());
}
