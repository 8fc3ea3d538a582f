import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { GivenTokens, StoredRecord } from "../../src/index.ts";
import type { ProgramAnswer, ProgramNews, ProgramRequest, ProgramSettings } from "./program.ts";

/** A program in a process of its own. What it was asked rejects with its error's code, or with `died`. */
export interface Child {
  readonly pid: number;
  /** What it has told since it was opened, in order. */
  readonly news: readonly ProgramNews[];
  readonly isAlive: boolean;
  /** Makes it use another server and store. */
  open(settings: ProgramSettings): Promise<void>;
  /** So many calls at once; how often each outcome came. */
  call(count: number): Promise<Record<string, number>>;
  authorize(): Promise<string>;
  token(): Promise<string>;
  setAhead(ms: number): Promise<void>;
  /** Takes over tokens, as after a login. */
  setTokens(tokens: GivenTokens): Promise<void>;
  /** The record, as it is in the store now. */
  stored(key: string): Promise<StoredRecord | undefined>;
  /** Writes a file until the disk is full, or deletes it. */
  fillDisk(isFull: boolean): Promise<void>;
  /** Counts on under a lock, so many times. */
  count(key: string, turns: number): Promise<void>;
  /** Writes a record again and again. */
  write(key: string, times: number): Promise<void>;
  close(): Promise<void>;
  /** Told of each piece of news from now on. */
  listen(listener: (news: ProgramNews) => void): void;
  signal(signal: NodeJS.Signals): void;
  /** SIGKILL; resolves when it is dead, and all that it has told has arrived. */
  kill(): Promise<void>;
  /** How often it told of an event. */
  saw(type: string): number;
}

/**
 * Starts a program; what it imports is loaded when this resolves.
 *
 * @param launcher a command that runs it, for a program in other circumstances
 */
export async function startChild(...launcher: string[]): Promise<Child> {
  const path = fileURLToPath(new URL("program.ts", import.meta.url));
  const [command = "", ...args] = [...launcher, process.execPath, "--no-warnings", path];
  const env = { ...process.env, NODE_OPTIONS: "", MCP_AUTH_KEYCHAIN: "off" };
  const child = spawn(command, args, { env, stdio: ["ignore", "inherit", "inherit", "ipc"] });
  let news: ProgramNews[] = [];
  let listeners: ((news: ProgramNews) => void)[] = [];
  const asked = new Map<number, PromiseWithResolvers<never>>();
  let count = 0;

  child.on("message", (message: ProgramNews | ProgramAnswer) => {
    if ("news" in message) {
      news.push(message);
      for (const listener of listeners) listener(message);
      return;
    }
    const question = asked.get(message.id);
    asked.delete(message.id);
    if ("code" in message) question?.reject(new Error(message.code));
    else question?.resolve(message.value as never);
  });
  const gone = once(child, "disconnect").then(() => {
    for (const { reject } of asked.values()) reject(new Error("died"));
    asked.clear();
  });
  const ended = Promise.all([gone, once(child, "exit")]);

  const ask =
    (method: ProgramRequest["method"]) =>
    (...args: unknown[]): Promise<never> => {
      const question = Promise.withResolvers<never>();
      // Whoever is killed answers nobody; not everybody waits for an answer.
      question.promise.catch(() => {});
      const id = ++count;
      asked.set(id, question);
      if (child.connected) child.send({ id, method, args } satisfies ProgramRequest);
      else question.reject(new Error("died"));
      return question.promise;
    };
  const open = ask("open");
  const started: Child = {
    pid: child.pid as number,
    get news() {
      return news;
    },
    get isAlive() {
      return child.exitCode === null && child.signalCode === null;
    },
    open(settings) {
      [news, listeners] = [[], []];
      return open(settings);
    },
    call: ask("call"),
    authorize: ask("authorize"),
    token: ask("token"),
    setAhead: ask("setAhead"),
    setTokens: ask("setTokens"),
    stored: ask("stored"),
    fillDisk: ask("fillDisk"),
    count: ask("count"),
    write: ask("write"),
    close: ask("close"),
    listen: (listener) => void listeners.push(listener),
    signal: (signal) => void child.kill(signal),
    async kill() {
      child.kill("SIGKILL");
      await ended;
    },
    saw: (type) => news.filter((piece) => piece.news === "event" && piece.type === type).length,
  };
  await started.setAhead(0);
  return started;
}
