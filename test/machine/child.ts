/** Programs in processes of their own that share the default store, as the steps of a job do. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** How a program is told to call a tool, one line of its input each; it answers each with a line. */
export interface Order {
  /** How far its clock is ahead of the machine's from now on, in ms. */
  aheadMs?: number;
}

/** A running program. */
export interface MachineProcess {
  /** Resolves once it wants a lock; it tells when `TELL_LOCKS` is among its variables. */
  readonly waiting: Promise<void>;
  /** Its answer: the status, or the error's code. Rejects when it ends without one. */
  ask(order?: Order): Promise<string>;
  /** Lets it end by itself; gives its exit code. */
  end(): Promise<number | null>;
  kill(): Promise<void>;
}

/** Starts a program with these variables; it is ready when this resolves. */
export async function startProcess(variables: Record<string, string>): Promise<MachineProcess> {
  const path = fileURLToPath(new URL("process.ts", import.meta.url));
  const env = { ...process.env, NODE_OPTIONS: "", ...variables };
  const child = spawn(process.execPath, ["--no-warnings", path], { env, stdio: ["pipe", "pipe", "inherit"] });
  const ended = once(child, "exit") as Promise<[number | null]>;
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const waiting = Promise.withResolvers<void>();
  const line = async (): Promise<string> => {
    const { value, done } = await lines.next();
    if (done) throw new Error("died");
    if (value !== "waiting") return value;
    waiting.resolve();
    return line();
  };
  await line();
  return {
    waiting: waiting.promise,
    ask(order = {}) {
      child.stdin.write(`${JSON.stringify(order)}\n`);
      return line();
    },
    async end() {
      child.stdin.end();
      const [code] = await ended;
      return code;
    },
    async kill() {
      child.kill("SIGKILL");
      await ended;
    },
  };
}
