import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import type { MachineAnswer, MachineRequest, MachineSettings } from "./program.ts";
import { keys, type RedisServer } from "./support.ts";

/** A machine in a process of its own. What it was asked rejects with its error's code. */
export interface Machine {
  /** Events of its managers, in order. */
  readonly events: readonly string[];
  hold(key: string): Promise<void>;
  set(key: string, n: number): Promise<void>;
  check(): Promise<void>;
  isSignalled(): Promise<boolean>;
  release(): Promise<void>;
  count(key: string, turns: number): Promise<void>;
  open(serverUrl: string, accounts: readonly string[], stopAfterWriting?: string): Promise<void>;
  tokens(): Promise<Record<string, number>>;
  token(): Promise<string>;
  dispose(): Promise<void>;
  signal(signal: NodeJS.Signals): void;
  /** SIGKILL; resolves when it is dead. */
  kill(): Promise<void>;
}

/** Starts one; it is killed with the test. */
export async function startMachine(server: RedisServer, settings: Partial<MachineSettings> = {}): Promise<Machine> {
  const machine: MachineSettings = { port: server.port, keys, lease: 60_000, aheadMs: 0, ...settings };
  const child = fork(fileURLToPath(new URL("program.ts", import.meta.url)), {
    execArgv: ["--no-warnings"],
    env: { ...process.env, NODE_OPTIONS: "", MACHINE: JSON.stringify(machine) },
  });
  const events: string[] = [];
  const asked = new Map<number, PromiseWithResolvers<never>>();
  let count = 0;
  child.on("message", (message: MachineAnswer) => {
    if ("event" in message) return void events.push(message.event);
    const question = asked.get(message.id);
    asked.delete(message.id);
    if ("code" in message) question?.reject(new Error(message.code));
    else question?.resolve(message.value as never);
  });
  const ended = once(child, "exit");
  const ask =
    (method: MachineRequest["method"]) =>
    (...args: unknown[]): Promise<never> => {
      const question = Promise.withResolvers<never>();
      // Who is killed answers nobody; not everybody waits for an answer.
      question.promise.catch(() => {});
      const id = ++count;
      asked.set(id, question);
      child.send({ id, method, args } satisfies MachineRequest);
      return question.promise;
    };
  const kill = async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
    await ended;
  };
  onTestFinished(kill);
  const started: Machine = {
    events,
    hold: ask("hold"),
    set: ask("set"),
    check: ask("check"),
    isSignalled: ask("isSignalled"),
    release: ask("release"),
    count: ask("count"),
    open: ask("open"),
    tokens: ask("tokens"),
    token: ask("token"),
    dispose: ask("dispose"),
    signal: (signal) => void child.kill(signal),
    kill,
  };
  await ask("ready")();
  return started;
}
