/** Several processes that share a store's folder stand for the machines of a web application. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import type { Methods } from "./machine.ts";
import { redirectUri, startServer, visit } from "./support.ts";

type Answer = { id: number; value?: unknown; code?: string };
type Ask = <Name extends keyof Methods>(method: Name, ...args: string[]) => Promise<Awaited<ReturnType<Methods[Name]>>>;
interface Machine {
  process: ChildProcess;
  ask: Ask;
}

/** Rejects with an error's code. */
async function startMachine(folder: string): Promise<Machine> {
  const program = fileURLToPath(new URL("machine.ts", import.meta.url));
  const env = { ...process.env, NODE_OPTIONS: "", MCP_AUTH_KEYCHAIN: "off", STORE: folder, REDIRECT_URI: redirectUri };
  const child = spawn(process.execPath, ["--no-warnings", program], { env, stdio: ["ignore", "inherit", "inherit", "ipc"] });
  onTestFinished(() => void child.kill("SIGKILL"));
  const asked = new Map<number, (answer: Answer) => void>();
  child.on("message", (answer: Answer) => asked.get(answer.id)?.(answer));
  let count = 0;
  const ask = async (method: string, ...args: string[]) => {
    const id = ++count;
    const { promise, resolve } = Promise.withResolvers<Answer>();
    asked.set(id, resolve);
    child.send({ id, method, args });
    const { value, code } = await promise;
    if (code !== undefined) throw new Error(code);
    return value;
  };
  await once(child, "message");
  return { process: child, ask: ask as Ask };
}

async function startMachines(count: number): Promise<Machine[]> {
  const folder = await mkdtemp(join(tmpdir(), "hosted-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return Promise.all(Array.from({ length: count }, () => startMachine(folder)));
}

test("a login that begins in one process is finished in another, and serves a third", { timeout: 60_000 }, async () => {
  const server = await startServer();
  const [first, second, third] = (await startMachines(3)) as [Machine, Machine, Machine];
  const { url, binding } = await first.ask("begin", server.url, "ann");
  const callback = await visit(new URL(url));
  // What began it need not be there any more.
  first.process.kill("SIGKILL");
  expect(await second.ask("finish", callback, binding)).toMatchObject({ account: "ann", returnTo: "https://app.example/done" });
  expect(await third.ask("token", server.url, "ann")).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+$/);
});

test("callbacks that arrive at all processes at once: exactly one finishes the login", { timeout: 120_000 }, async () => {
  const server = await startServer();
  const machines = await startMachines(3);
  const [first] = machines as [Machine, ...Machine[]];
  for (let round = 1; round <= 5; round++) {
    const { url, binding } = await first.ask("begin", server.url, `user-${round}`);
    const callback = await visit(new URL(url));
    const ends = await Promise.all(
      [...machines, ...machines].map(({ ask }) =>
        ask("finish", callback, binding).then(
          () => "finished",
          (error: Error) => error.message,
        ),
      ),
    );
    expect(ends.toSorted()).toEqual(["finished", ...Array.from({ length: 5 }, () => "state_mismatch")]);
    expect(server.authorizationServer.tokenRequests("authorization_code")).toHaveLength(round);
    expect(server.authorizationServer.liveLogins).toBe(round);
  }
  expect(server.authorizationServer.registrations).toHaveLength(1);
});

test("a process that dies while it sends the code leaves no login that another could finish", { timeout: 60_000 }, async () => {
  const server = await startServer();
  const [first, second] = (await startMachines(2)) as [Machine, Machine];
  const { url, binding } = await first.ask("begin", server.url, "ann");
  const callback = await visit(new URL(url));
  server.authorizationServer.intercept((request) => {
    if (request.grantType === "authorization_code") first.process.kill("SIGKILL");
    return false;
  });
  void first.ask("finish", callback, binding);
  await once(first.process, "exit");
  await expect(second.ask("finish", callback, binding)).rejects.toThrow("state_mismatch");
  expect(server.authorizationServer.tokenRequests("authorization_code")).toHaveLength(1);
});
