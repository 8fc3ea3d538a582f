/** No timer and no socket of ours keeps a process alive once a failure has been told. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, expect, onTestFinished, test } from "vitest";
import { answer, type ProtectedServer, startProtectedServer, tokenRequest, when } from "../fixture/index.ts";

let server: ProtectedServer;
beforeAll(async () => {
  server = await startProtectedServer({ authorizationServer: { deviceFlow: true } });
});
afterEach(() => server.reset());
afterAll(() => server.close());

const program = fileURLToPath(new URL("failing-program.ts", import.meta.url));
/** From the last word to the end, in ms: less than any time limit or keep-alive of ours or Node's. */
const promptly = 3500;

test.each<[scenario: string, result: string, prepare?: () => void]>([
  ["no user", "login_required"],
  ["a login without an answer", "login_timeout"],
  ["a login that a request has not waited for", "login_pending"],
  ["a device code that nobody enters", "login_timeout"],
  ["a device code that no request has waited for", "login_pending"],
  ["a login whose caller gave up", "ok"],
  [
    "a login that ends otherwise",
    "authorization_denied",
    () => {
      server.authorizationServer.nextDecision = "deny";
    },
  ],
  [
    "a login that ends otherwise",
    "discovery_failed",
    () => {
      server.authorizationServer.metadata = "none";
    },
  ],
  ["a login that ends otherwise", "server_error", () => server.authorizationServer.intercept(when(tokenRequest(), answer(503)))],
  ["a refresh that fails", "server_error", () => server.authorizationServer.intercept(when(tokenRequest("refresh_token"), answer(503)))],
  [
    "a refresh that fails",
    "login_required",
    () => server.authorizationServer.intercept(when(tokenRequest("refresh_token"), answer(400, { error: "invalid_grant" }))),
  ],
  ["tokens that are kept fresh", "ok"],
  ["tokens that cannot be stored", "ok"],
])("%s (%s): the program ends by itself", async (scenario, result, prepare) => {
  prepare?.();
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", program, scenario, server.url], { stdio: "pipe" });
  onTestFinished(() => void child.kill("SIGKILL"));
  let said = "";
  let saidAt = 0;
  child.stdout.on("data", (chunk: Buffer) => {
    said += chunk;
    saidAt = performance.now();
  });
  let complained = "";
  child.stderr.on("data", (chunk: Buffer) => {
    complained += chunk;
  });
  const [code] = await once(child, "close");
  expect({ said: said.trim(), complained, code }).toEqual({ said: JSON.stringify(result), complained: "", code: 0 });
  expect(performance.now() - saidAt).toBeLessThan(promptly);
});
