import { abortable, deadline } from "../../async.ts";
import { systemClock } from "../../clock.ts";
import { McpAuthError, type McpAuthErrorCode } from "../../errors.ts";
import type { Connection, Send } from "./client.ts";

/** How often a command may take effect, if it is not known whether it did. */
export type Effect = "once" | "repeatable";

/** The first pause before a command is sent again, in ms; each is twice as long as the one before. */
const firstPauseMs = 20;

/** What Redis answers while it starts, fails over or moves keys. The command had no effect. */
const passing = /^(LOADING|CLUSTERDOWN|MASTERDOWN|READONLY|TRYAGAIN|UNBLOCKED) /;
/** An answer of Redis, other than a failure of the connection: begins with a word in capitals. */
const answered = /^[A-Z][A-Z0-9]+ /;

/** What Redis will answer again, and what can be done about it. All other failures are transient. */
const final: readonly (readonly [answer: RegExp, code: McpAuthErrorCode, hint: string])[] = [
  [
    /^(NOAUTH|WRONGPASS|NOPERM) /,
    "store_denied",
    "Give the client a user of Redis that may use these keys, and run EVAL, HMGET, HGET and SCAN.",
  ],
  [/^(MOVED|ASK|CROSSSLOT) /, "store_unusable", "Redis is a cluster: pass a client for clusters."],
  [/^WRONGTYPE /, "store_unusable", "Something else uses these keys of Redis: pass another `prefix`."],
];

/** Sends commands to Redis. Each has a time limit, and its failures are typed errors. */
export class Commands {
  readonly #connection: Connection;
  readonly #timeoutMs: number;

  constructor(connection: Connection, timeoutMs: number) {
    this.#connection = connection;
    this.#timeoutMs = timeoutMs;
  }

  /**
   * Sends a command to the node that holds this key. One whose connection broke is sent again within the time limit where its
   * effect is `repeatable`; one that Redis could not execute yet always is.
   *
   * @throws McpAuthError `store_failed`; `store_denied`, `store_unusable`
   */
  send(key: string, command: readonly string[], effect: Effect, timeoutMs = this.#timeoutMs): Promise<unknown> {
    return this.#within(timeoutMs, (limit) => repeat(this.#connection.to(key), command, effect, limit));
  }

  /** Sends a Lua script. It touches `keys`, which are in one slot; what it does is done as a whole, or not at all. */
  run(script: string, keys: readonly [string, ...string[]], args: readonly (string | number)[], effect: Effect, timeoutMs?: number) {
    // Not EVALSHA: a Redis that was restarted does not know the scripts, and their texts are shorter than a record.
    return this.send(keys[0], ["EVAL", script, String(keys.length), ...keys, ...args.map(String)], effect, timeoutMs);
  }

  /** Each node that holds keys. */
  async nodes(): Promise<((command: readonly string[]) => Promise<unknown>)[]> {
    const nodes = await this.#within(this.#timeoutMs, () => this.#connection.nodes());
    return nodes.map((node) => (command) => this.#within(this.#timeoutMs, (limit) => repeat(node, command, "repeatable", limit)));
  }

  async #within<T>(timeoutMs: number, work: (limit: Limit) => Promise<T>): Promise<T> {
    const late = () => new McpAuthError("store_failed", { detail: `Redis did not answer within ${timeoutMs} ms`, hint: unreachable });
    let failure: unknown;
    // Why the last attempt failed says more than that the time is over.
    const limit = deadline(systemClock, timeoutMs, () => failure ?? late());
    const failed = (error: unknown) => {
      failure = error;
    };
    try {
      return await abortable(work({ signal: limit.signal, failed }), limit.signal);
    } catch (error) {
      throw typed(error);
    } finally {
      limit.stop();
    }
  }
}

const unreachable = "Check that Redis runs and can be reached, and that its client is connected; then try again.";

interface Limit {
  readonly signal: AbortSignal;
  /** Takes why an attempt failed that is followed by another. */
  failed(error: unknown): void;
}

async function repeat(send: Send, command: readonly string[], effect: Effect, { signal, failed }: Limit): Promise<unknown> {
  for (let pauseMs = firstPauseMs; ; pauseMs *= 2) {
    try {
      return await send(command, signal);
    } catch (error) {
      const { message } = error as Error;
      const mayRepeat = passing.test(message) || (effect === "repeatable" && !answered.test(message));
      if (!mayRepeat) throw error;
      failed(error);
    }
    await systemClock.sleep(pauseMs, { signal, background: true });
  }
}

function typed(cause: unknown): McpAuthError {
  if (cause instanceof McpAuthError) return cause;
  const message = String(Reflect.get(Object(cause), "message"));
  const [, code, hint] = final.find(([answer]) => answer.test(message)) ?? [];
  if (code) return new McpAuthError(code, { detail: "Redis refuses", hint, cause });
  const detail = answered.test(message) ? "Redis refuses the command now" : "Redis cannot be reached";
  return new McpAuthError("store_failed", { detail, hint: unreachable, cause });
}

/** A text in an answer: some clients are set to give bytes. */
export function textIn(answer: unknown): string | undefined {
  if (answer === null || answer === undefined) return undefined;
  return ArrayBuffer.isView(answer) ? new TextDecoder().decode(answer) : String(answer);
}
