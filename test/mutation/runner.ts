/** Runs tests in a process of its own, which is replaced when it does not answer any more. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { Outcome, Selection } from "./host.ts";

/** Above what Vitest's own limits can end: a loop that never yields. */
const limitMs = 90_000;

export class Runner {
  readonly #folder: string;
  readonly #isRecording: boolean;
  #host: ChildProcess | undefined;

  constructor(folder: string, { isRecording = false } = {}) {
    this.#folder = folder;
    this.#isRecording = isRecording;
  }

  async run(selection: Selection): Promise<Outcome> {
    this.#host ??= await this.#start();
    const host = this.#host;
    const answer = new AbortController();
    const timer = setTimeout(() => answer.abort(), limitMs);
    try {
      host.send(selection);
      const [outcome] = (await once(host, "message", { signal: answer.signal })) as [Outcome];
      return outcome;
    } catch {
      this.dispose();
      return { failed: [selection.file], message: "never ends", isTimeout: true };
    } finally {
      clearTimeout(timer);
    }
  }

  dispose(): void {
    const pid = this.#host?.pid;
    this.#host = undefined;
    // A group of its own: workers that loop do not end by themselves.
    if (pid !== undefined) process.kill(-pid, "SIGKILL");
  }

  async #start(): Promise<ChildProcess> {
    // What Vitest says of itself to its workers is not meant for another Vitest.
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(VITEST|TEST$|MUTATION_TEST)/.test(name)));
    const host = fork(join(import.meta.dirname, "host.ts"), this.#isRecording ? ["record"] : [], {
      cwd: this.#folder,
      env,
      detached: true,
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
    await once(host, "message");
    return host;
  }
}
