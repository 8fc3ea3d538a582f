/** Runs tests in a process of its own, which is replaced when it does not answer any more. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { Outcome, Selection } from "./host.ts";

/** Above what Vitest's own limits can end: a loop that never yields. Recording runs whole files. */
const limits = { trying: 40_000, recording: 90_000 };

export class Runner {
  readonly #folder: string;
  readonly #isRecording: boolean;
  #host: ChildProcess | undefined;

  constructor(folder: string, { isRecording = false } = {}) {
    this.#folder = folder;
    this.#isRecording = isRecording;
  }

  /** A process that does not answer is replaced, once: it is a loop only if the next one does not answer either. */
  async run(selection: Selection): Promise<Outcome> {
    const outcome = (await this.#ask(selection)) ?? (await this.#ask(selection));
    return outcome ?? { failed: [selection.file], message: "never ends", isTimeout: true };
  }

  /** @returns `undefined` when there is no answer in time, or the process has ended */
  async #ask(selection: Selection): Promise<Outcome | undefined> {
    const end = new AbortController();
    const timer = setTimeout(() => end.abort(), this.#isRecording ? limits.recording : limits.trying);
    try {
      const host = this.#host ?? (await this.#start(end));
      host.send(selection);
      const [outcome] = (await once(host, "message", { signal: end.signal })) as [Outcome];
      return outcome;
    } catch {
      this.dispose();
      return undefined;
    } finally {
      clearTimeout(timer);
    }
  }

  dispose(): void {
    const pid = this.#host?.pid;
    this.#host = undefined;
    if (pid === undefined) return;
    try {
      // A group of its own: workers that loop do not end by themselves.
      process.kill(-pid, "SIGKILL");
    } catch {
      // It has ended by itself.
    }
  }

  async #start(end: AbortController): Promise<ChildProcess> {
    // What Vitest says of itself to its workers is not meant for another Vitest.
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(VITEST|TEST$|MUTATION_TEST)/.test(name)));
    const host = fork(join(import.meta.dirname, "host.ts"), this.#isRecording ? ["record"] : [], {
      cwd: this.#folder,
      env,
      detached: true,
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
    this.#host = host;
    host.once("exit", () => end.abort());
    await once(host, "message", { signal: end.signal });
    return host;
  }
}
